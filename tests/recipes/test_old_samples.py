"""What the first version wrote is still read: links, files, a saved run, a Library. See samples/README.md."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from pathlib import Path

import pytest
from summaries import close, summary

import steering as t
from steering.experiments import parse
from steering.library.store import Store
from steering.recipes.building import build
from steering.recipes.links import decode, encode
from steering.recipes.steps import from_data
from steering.recipes.tables import recipe_of
from steering.recipes.workbench import Workbench
from steering.ui.steer import export

SAMPLES = Path(__file__).parent / "samples"
LINKS = json.loads((SAMPLES / "links.json").read_text(encoding="utf-8"))
FILES = sorted(path.stem for path in SAMPLES.glob("*.toml"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    home = tmp_path_factory.mktemp("old")
    with sqlite3.connect(home / "tiller.sqlite3") as db:
        db.executescript((SAMPLES / "library.sql").read_text(encoding="utf-8"))
    (home / "directions").mkdir()
    for file in SAMPLES.glob("*.safetensors"):
        (home / "directions" / file.name).write_bytes(file.read_bytes())
    return Store(home)


@pytest.fixture(scope="module")
def bench(store: Store) -> Workbench:
    lm = t.load_model("organism")
    return Workbench(lm, t.load_sae(lm, "organism", "blocks.3.hook_resid_post"), store)


def is_what_it_made(made: tuple[t.Intervention, ...], name: str) -> bool:
    """Whether interventions hold what the first version's did, within rounding of the model's activations."""
    found, expected = [summary(one) for one in made], json.loads(json.dumps(LINKS["summaries"][name]))
    for one in (*found, *expected):  # drawn by the direction's last bit, so another processor draws another plane
        one.get("plane", {}).pop("vector", None)
    return close(found, expected)


@pytest.mark.parametrize("name", list(LINKS["summaries"]))
def test_a_link_makes_what_it_made(name: str, bench: Workbench) -> None:
    (variant,) = decode(LINKS["links"][name])
    assert decode(encode((variant,))) == (variant,)
    assert is_what_it_made(build(bench, variant).interventions, name)


def test_a_link_of_several_variants() -> None:
    first, second = decode(LINKS["links"]["several"])
    assert [step.method for step in first.steps] == ["add", "sara", "add"] and not first.steps[2].on
    assert first.steps[1].alpha == 0.5 and first.steps[1].attract == "It is warm and sunny."
    assert not second.on and second.steps[0].everywhere


@pytest.mark.parametrize("name", FILES)
def test_a_file_makes_what_the_link_beside_it_made(name: str, bench: Workbench) -> None:
    text = (SAMPLES / f"{name}.toml").read_text(encoding="utf-8")
    assert parse(text).model == "organism"
    (variant,) = recipe_of(tomllib.loads(text))
    assert is_what_it_made(build(bench, variant).interventions, name)


def test_a_run_is_read_and_its_python_is_what_it_was(bench: Workbench, tmp_path: Path) -> None:
    run = export.read_bundle((SAMPLES / "run.json").read_bytes())
    recipe = from_data(run.recipe)
    assert [variant.title for variant in recipe] == ["happy", "Regulate + Clamp features", "prompts", "kept"]
    assert export.read_bundle(export.bundle(run)).to_data() == run.to_data()
    namespace: dict = {}
    lines = export.code(run, ("organism", "blocks.3.hook_resid_post")).partition("engine = ")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILLER_HOME", str(bench.store.folder))  # type: ignore[union-attr]
        exec(lines, namespace)
    old = namespace["v1_1_step"].alpha  # the first version wrote numbers with six digits
    assert old == pytest.approx(build(bench, recipe[0]).interventions[0].alpha, rel=1e-5)  # type: ignore[attr-defined]
    assert namespace["v3_2_step"].fingerprint == build(bench, recipe[2]).interventions[1].fingerprint


def test_a_saved_run_and_direction_of_the_library(bench: Workbench, store: Store) -> None:
    (row,) = store.directions()
    assert row.id == LINKS["saved"] and store.direction(row.id).norm > 0
    (run,) = store.runs()
    (made,) = build(bench, from_data(store.run(run.id)["recipe"])[3]).interventions
    assert close(summary(made), LINKS["summaries"]["add_saved"][0])
