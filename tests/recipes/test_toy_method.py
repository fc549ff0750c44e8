"""A method defined here in ten lines is in the editor, a link, a file, Python, Evaluate's form and a grid."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from open_pages import fine, open_page

import steering as t
from steering.engine.engine import Engine
from steering.experiments import Workshop, parse
from steering.interventions import protocol
from steering.interventions.edits import RankOne
from steering.interventions.knobs import Flag, Number, Setup, Vector
from steering.recipes import axes, python
from steering.recipes.building import build
from steering.recipes.controls import controls
from steering.recipes.links import decode, encode
from steering.recipes.sources import Source
from steering.recipes.steps import Step, Variant
from steering.recipes.summary import summary
from steering.recipes.tables import recipe_of, recipe_tables, to_toml
from steering.recipes.workbench import Workbench
from steering.ui.steer import comparing

TEXTS = {"direction": "texts", "positive": "The sun is warm.", "negative": "The rain is cold."}


@pytest.fixture(scope="module")
def toy() -> Iterator[type[t.Intervention]]:
    before = dict(protocol.METHODS)

    @dataclass(frozen=True, eq=False)
    class Wobble(t.Intervention):
        direction: t.Direction
        size: float = 1.0
        upward: bool = True
        setup = Setup(
            "wobble", "Wobble", "Pushes.", (Vector(), Number("size", "Size", 0, 9, 2.0), Flag("upward", "Up", True))
        )

        def placements(self, model: t.Model) -> Sequence[t.interventions.Placement]:
            offset = self.size if self.upward else -self.size
            return [protocol.Placement(self.direction.site, RankOne.make(self.direction.decoded(), offset=offset))]

    globals()["Wobble"] = Wobble  # exported Python imports it from this module
    yield Wobble
    protocol.METHODS.clear()
    protocol.METHODS.update(before)


@pytest.fixture
def recipe(toy: type[t.Intervention]) -> tuple[Variant, ...]:
    return (Variant("", (Step("wobble", size=3.5, upward=False, layer=1, **TEXTS),)),)


def test_in_a_link_a_file_and_python(recipe, tiny_llama: t.Model, checkpoint) -> None:
    bench = Workbench(tiny_llama)
    assert decode(encode(recipe)) == recipe
    assert summary(recipe[0]).startswith("wobble size 3.5")
    text = to_toml(recipe_tables(recipe, bench))
    assert 'method = "Wobble"' in text and "size = 3.5" in text
    built, again = build(bench, recipe[0]), build(bench, recipe_of(tomllib.loads(text))[0])
    assert built.interventions[0].fingerprint == again.interventions[0].fingerprint
    lines, names, _ = python.setups(recipe, [built.numbers])
    namespace: dict = {}
    exec(
        "\n".join([*python.head(recipe, repr(str(checkpoint("llama"))), None), *lines, f"made = {names[0]}"]), namespace
    )
    assert namespace["made"][0].fingerprint == built.interventions[0].fingerprint
    (beside,) = controls(bench, built.interventions, 0)
    assert beside.size == 3.5 and beside.direction.norm == pytest.approx(built.interventions[0].direction.norm)  # type: ignore[attr-defined]


def test_in_an_experiment(recipe, tiny_llama: t.Model) -> None:
    tables = recipe_tables(recipe, Workbench(tiny_llama))
    found = parse(to_toml({"sets": [{"name": "x"}], **tables, "controls": {"random": 2}}))
    with Engine(tiny_llama) as engine:
        arms = Workshop(found, engine).arms()
    assert [arm.name for arm in arms] == ["Baseline", "Wobble", "Random 1 for Wobble", "Random 2 for Wobble"]
    with pytest.raises(ValueError, match="no setting 'sise'"):
        parse(to_toml({"sets": [{"name": "x"}], "arms": [{"name": "x", "method": "Wobble", "sise": 1}]}))


def test_in_a_grid(toy: type[t.Intervention], tiny_llama: t.Model) -> None:
    source = Source(layer=1, **TEXTS)
    assert axes.axes_of(["wobble"]) == {"wobble": {"layer": "layer", "size": "size"}}
    assert axes.labels(["wobble"])["size"] == ("Size", "2")
    step = axes.base("wobble", source, {})
    moved = Source(layer=2, **TEXTS)
    at = axes.at_point(step, {"layer": "layer", "size": "size"}, {"layer": 2, "size": 4.0}, {2: moved})
    made = build(Workbench(tiny_llama), Variant("", (at,))).interventions[0]
    assert made.size == 4.0 and made.direction.site == t.Site(2)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("clean_caches")
def test_in_the_editor_and_on_evaluate(recipe, folder: str) -> None:
    at = fine(
        open_page("pages/steer/compare.py", folder, recipe=encode(recipe), compare_prompt="Hello", compare_tokens="4")
    )
    card = at.session_state[comparing.RECIPE][0]
    prefix = f"{comparing.RECIPE}_{card.id}_{card.steps[0]}"
    assert "Wobble" in at.selectbox(key=f"{prefix}_kind").options
    assert at.toggle(key=f"{prefix}_upward").value is False
    at.session_state[f"{prefix}_size"] = {"value": 7.0}
    fine(at.run())
    assert at.session_state[comparing.RECIPE][0].variant.steps[0].size == 7.0
    fine(at.button(key="compare_go").click().run())
    assert not at.error
    (result,) = at.session_state["compare_results"].values()
    assert [row.kind for row in result.rows] == ["baseline", "steered", "control"]
    at.session_state["evaluate_kind"] = "own"
    at.session_state["evaluate_recipe"] = at.session_state[comparing.RECIPE]
    fine(at.switch_page("pages/measure/evaluate.py").run())
    assert any("Wobble" in code.value and "size = 7.0" in code.value for code in at.code), [e.value for e in at.error]
