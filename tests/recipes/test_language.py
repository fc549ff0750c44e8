"""One language: every method with every option goes page -> link -> file -> Python and stays what it was."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest
import torch
from every_step import every_step

import steering as t
from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.interventions.knobs import Number, Vector
from steering.interventions.protocol import METHODS, fingerprint
from steering.library.store import Store
from steering.recipes import axes, python
from steering.recipes.building import build
from steering.recipes.links import decode, encode
from steering.recipes.sources import Source
from steering.recipes.steps import Recipe, Step, Variant, to_data
from steering.recipes.summary import step_summary
from steering.recipes.tables import recipe_of, recipe_tables, to_toml
from steering.recipes.workbench import Workbench

NAMES = ("positive", "positive_completion", "negative", "negative_completion")
PAIRS = [
    ("the cat is here", " and the king", "a cat was there", " one bird"),
    ("a dog said", " yes it is", "the dog sat", " two trees"),
    ("it is the moon", " said the cat", "he looked up", " is red"),
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [dict(zip(NAMES, row, strict=True)) for row in PAIRS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def saved(store: Store, tiny_llama: t.Model, pairs: str) -> str:
    v = t.random_like(Direction(torch.ones(tiny_llama.d_model), t.Site(1)), 5)
    return store.save_direction(replace(v, provenance={"pairs": {"name": pairs}}), "saved").id


@pytest.fixture(scope="module")
def bench(tiny_llama: t.Model, sae_of, store: Store) -> Workbench:
    return Workbench(tiny_llama, sae_of("standard"), store, pairs=t.PairSet.load)


@pytest.fixture(scope="module")
def recipe(pairs: str, saved: str) -> Recipe:
    return tuple(Variant(name, (step,)) for name, step in every_step(pairs, saved))


def by_link(recipe: Recipe) -> Recipe:
    """Each variant through a link of its own: a link holds a few."""
    return tuple(decode(encode((variant,)))[0] for variant in recipe)


def fingerprints(bench: Workbench, recipe: Recipe) -> list[str]:
    return [fingerprint(list(build(bench, variant).interventions)) for variant in recipe]


def test_every_method_is_in_the_list(recipe: Recipe) -> None:
    assert {variant.steps[0].method for variant in recipe} == set(METHODS)
    assert len({variant.steps[0].key for variant in recipe}) > 80


def test_link_file_and_python_make_the_same_interventions_and_text(
    bench: Workbench, recipe: Recipe, checkpoint, sae_folder, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = by_link(recipe)
    assert linked == recipe
    text = to_toml(recipe_tables(linked, bench))
    from_file = recipe_of(tomllib.loads(text))
    assert to_toml(recipe_tables(from_file, bench)) == text
    expected = fingerprints(bench, recipe)
    assert fingerprints(bench, from_file) == expected

    numbers = [build(bench, variant).numbers for variant in from_file]
    lines, names, records = python.setups(from_file, numbers)
    head = python.head(from_file, repr(str(checkpoint("llama"))), (str(sae_folder("standard")), ""))
    monkeypatch.setenv("TILLER_HOME", str(store.folder))
    namespace: dict = {}
    exec("\n".join([*head, *lines, f"made = [{', '.join(names)}]", f"records = [{', '.join(records)}]"]), namespace)
    assert [fingerprint(list(made)) for made in namespace["made"]] == expected
    assert len(namespace["records"]) == sum(bool(v.steps[0].setup.of(Vector)) for v in recipe)

    options = {"max_new_tokens": 4, "temperature": 1.0, "seed": 3}
    with Engine(bench.lm) as engine, Engine(namespace["lm"]) as other:
        ours = engine.generate("the cat and", [build(bench, v).interventions for v in recipe], **options)
        theirs = other.generate("the cat and", namespace["made"], **options)
    assert [one.tokens for one in ours] == [one.tokens for one in theirs]
    assert len({tuple(one.tokens) for one in ours}) > 10


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_has_points_of_a_grid(method: str, bench: Workbench, pairs: str) -> None:
    source, texts = Source(f"pairs:{pairs}", layer=1), {"positive": "a", "attract": "the cat", "repel": "a dog"}
    own = axes.axes_of([method])[method]
    assert set(own) == set(axes.labels([method])) and (own or method in ("ablate_features", "reconstruct"))
    values = {"layer": 2, "feature": 3, "tau": 0.5}
    point = {axis: values.get(axis, 0.7) for axis in own}
    step = axes.at_point(axes.base(method, source, texts), own, point, {2: replace(source, layer=2)})
    (made,) = build(bench, Variant("", (step,))).interventions
    assert type(made) is METHODS[method]
    numbers = {knob.name for knob in METHODS[method].setup.of(Number)}
    assert all(getattr(step, own[axis]) == point[axis] for axis in own if own[axis] in numbers)


def test_axes_that_mean_different_things_are_apart() -> None:
    own = axes.axes_of(["add", "actadd", "sara"])
    assert own["add"]["alpha"] == own["actadd"]["alpha"] == "alpha"
    assert own["sara"]["sara alpha"] == "alpha" and "alpha" not in own["sara"]


def test_a_summary_names_what_differs(recipe: Recipe) -> None:
    assert step_summary(Step("add", direction="pairs:mood_happy", alpha=0.4)) == "add mood happy +0.40"
    assert step_summary(Step("regulate", direction="pairs:p", tau=60.0, lambda_=2.0)) == "regulate p above 60, lambda 2"
    assert step_summary(Step("rotate", direction="pairs:p", degrees=60.0)) == "rotate p 60 degrees"
    assert step_summary(Step("ablate", everywhere=True, where="generated", direction="pairs:p")) == (
        "ablate p strength 1, at every layer and stream, generated only"
    )
    assert all(step_summary(variant.steps[0]) for variant in recipe)


def test_a_method_that_is_changed_and_changed_back_keeps_its_settings() -> None:
    step = Step("clamp", features={17: 9.0}).but(method="add", alpha=0.3)
    assert step.features == {17: 9.0} and "features" not in to_data((Variant("", (step,)),))[0]["steps"][0]
    assert step.but(method="clamp").features == {17: 9.0}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"method": "fly"}, "method is one of add, "),
        ({"method": ["add"]}, "method is one of"),
        ({"method": "add", "alpha": "1"}, "alpha cannot be '1'"),
        ({"method": "add", "alpha": True}, "alpha cannot be True"),
        ({"method": "add", "alpha": 1e300}, "alpha is a number from"),
        ({"method": "add", "self": 1}, "no setting 'self'"),
        ({"method": "add", "settings": {}}, "no setting 'settings'"),
        ({"method": "add", "where": []}, "where is one of all"),
        ({"method": "add", "contrast": {}}, "contrast is one of"),
        ({"method": "add", "layer": 1.5}, "layer is a block's number"),
        ({"method": "add", "position": "middle"}, "position is one of"),
        ({"method": "add", "start": -1}, "start cannot be -1"),
        ({"method": "add", "positive": "x" * 5000}, "at most 4000 characters"),
        ({"method": "clamp", "features": {"x": 1}}, "numbers with values"),
        ({"method": "clamp", "features": dict.fromkeys(range(65), 1)}, "at most 64 features"),
        ({"method": "sara", "mode": "fast"}, "mode is one of frozen"),
        ({"method": "rotate", "adaptive": 1}, "adaptive cannot be 1"),
        ({"method": "rotate", "plane": "x"}, "table of settings"),
        ({"method": "rotate", "plane": {"x": 1}}, "no setting 'x'"),
        ({"method": "conditional", "then": {"method": "conditional"}}, "none inside it"),
        ({"method": "conditional", "then": 3}, "object with the settings"),
        ({"method": "ablate_features", "space": "residual"}, "in feature space"),
        ({"kind": "fly"}, "method is one of"),
        ({"kind": "add", "speed": 1}, "no setting 'speed'"),
    ],
)
def test_a_wrong_step_is_one_sentence(data: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode(encode_data([{"steps": [data]}]))


def encode_data(data: object) -> str:
    import base64
    import zlib

    return base64.urlsafe_b64encode(zlib.compress(json.dumps(data).encode())).decode().rstrip("=")
