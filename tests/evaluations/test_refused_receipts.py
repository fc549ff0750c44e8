"""Evaluate refuses a run whose edits did not arrive in the model: its numbers would be of another steering."""

from __future__ import annotations

import pytest
from deaf_hooks import deafen
from steered_rows import direction

from steering import evaluations as ev
from steering.engine.engine import Engine
from steering.evaluations import coherence, sweeps
from steering.interventions import ActivationAddition
from steering.models.model import Model

VARIANT = (ActivationAddition(direction(), alpha=6.0),)
ARMS = [ev.BASELINE, ev.Arm("Pushed", VARIANT)]
SAYS = r"a shift of 6 was expected and 0 measured"
SETS = {
    "text": ev.EvaluationSet((ev.Item("the cat"), ev.Item("a dog")), ev.scorer("rule: a"), "open"),
    "options": ev.EvaluationSet(
        (ev.Item("the cat", options=(" yes", " no"), matching=(0,)),), ev.scorer("forced_choice"), "choice"
    ),
}


@pytest.mark.parametrize("kind", SETS)
def test_an_experiment_stops_and_names_arm_site_and_both_numbers(
    kind: str, tiny_llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(tiny_llama) as engine:
        settings = ev.Settings(max_new_tokens=4)
        assert len(ev.run(engine, [SETS[kind]], ARMS, settings)) == 2 * len(SETS[kind])
    deafen(monkeypatch)
    with Engine(tiny_llama) as engine:
        with pytest.raises(ValueError, match=rf"arm 'Pushed': .* at blocks\.1\.hook_resid_post {SAYS}"):
            ev.run(engine, [SETS[kind]], ARMS, settings)
        assert len(ev.run(engine, [SETS[kind]], ARMS[:1], settings)) == len(SETS[kind])


def test_scores_side_effects_and_grids_are_refused_too(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    deafen(monkeypatch)
    with Engine(tiny_llama) as engine:
        asks = (
            lambda: engine.score("the cat", " sat", [(), VARIANT]),
            lambda: coherence.side_effects(engine, ARMS, ["the cat"], {}),
            lambda: sweeps.forced_grid(engine, ["the cat"], " sat", lambda row, column: VARIANT, [1], [1]),
        )
        for ask in asks:
            with pytest.raises(ValueError, match=SAYS):
                ask()
        scores, receipts = engine.score_with_receipts([("the cat", " sat", VARIANT)])[0]
        assert len(scores) > 0 and not receipts[0].agrees


def test_a_row_whose_edit_did_not_arrive_is_not_remembered(tiny_llama: Model) -> None:
    with Engine(tiny_llama) as engine:
        with pytest.MonkeyPatch.context() as patch:
            deafen(patch)
            assert not engine.generate("the cat", [VARIANT], max_new_tokens=3)[0].receipts[0].agrees
        (again,) = engine.generate("the cat", [VARIANT], max_new_tokens=3)
        assert again.receipts[0].agrees and not again.remembered
