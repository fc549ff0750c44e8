"""Evaluation sets, scorers, arms with controls, and trials: laws on tiny models, formulas by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from scipy.stats import binomtest

from steering import evaluations as ev
from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.evaluations import coherence, comparison
from steering.interventions import (
    ActAdd,
    ActivationAddition,
    Conditional,
    FeatureClamp,
    SaeReconstruction,
    Sara,
    ThresholdRegulator,
)
from steering.measurements.numbers import repetition
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site
from steering.statistics import mcnemar

SITE = Site(1)


@pytest.fixture(scope="module")
def engine(tiny_llama: Model) -> Iterator[Engine]:
    with Engine(tiny_llama) as made:
        yield made


@pytest.fixture(scope="module")
def chat_engine(tiny_gemma2: Model) -> Iterator[Engine]:
    with Engine(tiny_gemma2) as made:
        yield made


def direction(model: Model, seed: int = 0, norm: float = 2.0) -> Direction:
    v = torch.randn(model.d_model, generator=torch.Generator().manual_seed(seed))
    return Direction(v * norm / v.norm(), SITE, name=f"v{seed}")


WORDS = ("the cat", "a dog", "the king", "one bird", "two trees", "my house")
OPEN = ev.EvaluationSet(tuple(ev.Item(word) for word in WORDS), ev.scorer("rule: a"), "open")
CHOICE = ev.EvaluationSet(
    tuple(ev.Item(word, options=(" yes", " no"), matching=(0,)) for word in WORDS), ev.scorer("forced_choice"), "choice"
)
SHORT = ev.Settings(max_new_tokens=8)


# Arms -----------------------------------------------------------------------------------------------------------------


def test_a_random_control_has_the_same_norm_and_settings(tiny_llama: Model, sae_of) -> None:
    sae: Sae = sae_of("standard")
    v = Direction(torch.rand(sae.d_sae) + 0.1, sae.site, sae)
    arm = ev.Arm("a", (Conditional(direction(tiny_llama), 0.1, ThresholdRegulator(v, 3.0, 2.0)),))
    control = ev.random_control(arm, 0)
    one = control.interventions[0]
    assert isinstance(one, Conditional) and isinstance(one.then, ThresholdRegulator)
    assert one.then.direction.norm == pytest.approx(v.norm, rel=1e-5) and (one.then.tau, one.then.lambda_) == (3.0, 2.0)
    assert one.condition.norm == pytest.approx(2.0, rel=1e-5)
    assert abs(float(one.then.direction.unit().vector @ v.unit().vector)) < 0.9
    assert (control.kind, control.of) == ("control", "a")
    assert ev.random_control(arm, 0).fingerprint == control.fingerprint != ev.random_control(arm, 1).fingerprint


def test_controls_of_the_other_methods(tiny_llama: Model, sae_of) -> None:
    g = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, tiny_llama.d_model, generator=g)
    (acted,) = ev.random_control(ev.Arm("a", (ActAdd(matrix, SITE),)), 1).interventions
    assert isinstance(acted, ActAdd) and torch.allclose(acted.difference.norm(dim=-1), matrix.norm(dim=-1), rtol=1e-5)
    (scaled,) = ev.random_control(ev.Arm("a", (Sara(matrix, 2 * matrix, SITE),)), 1).interventions
    assert isinstance(scaled, Sara) and torch.allclose(scaled.repel, 2 * scaled.attract)  # shuffled alike
    assert not torch.equal(scaled.attract, matrix) and torch.allclose(scaled.attract.norm(), matrix.norm())
    sae = sae_of("standard")
    (clamped,) = ev.random_control(ev.Arm("a", (FeatureClamp(sae, {3: 1.0, 5: 2.0}),)), 1).interventions
    assert isinstance(clamped, FeatureClamp) and sorted(clamped.values.values()) == [1.0, 2.0]
    assert not {3, 5} & set(clamped.values)


def test_the_controls_of_an_arm(sae_of) -> None:
    sae = sae_of("standard")
    arm = ev.Arm("r", (ThresholdRegulator(Direction(torch.rand(sae.d_sae), sae.site, sae)),))
    random = [ev.random_control(arm, seed) for seed in (0, 1)]
    controls = [ev.prompting("Be honest."), ev.reconstruction(sae), *random]
    assert [control.name for control in controls] == [
        "Prompting", "SAE reconstruction only", "Random 1 for r", "Random 2 for r",
    ]  # fmt: skip
    assert isinstance(controls[1].interventions[0], SaeReconstruction)
    with pytest.raises(ValueError, match="'r' comes twice"):
        comparison.table([], [], [ev.BASELINE, arm, *controls, arm])


def test_an_instruction_goes_where_it_is_told() -> None:
    item = ev.Item("Is it so?", "Be kind.")
    assert item.messages("Be honest.") == [
        {"role": "system", "content": "Be honest. Be kind."},
        {"role": "user", "content": "Is it so?"},
    ]
    assert item.messages("Be honest.", "before")[-1]["content"] == "Be honest. Is it so?"
    assert item.plain("Be honest.", "after") == "Be kind.\nIs it so? Be honest."


# Trials ---------------------------------------------------------------------------------------------------------------


def test_trials_are_what_the_engine_gives_one_at_a_time(engine: Engine) -> None:
    v = ActivationAddition(direction(engine.model))
    arms = [ev.BASELINE, ev.Arm("add", (v,))]
    found = ev.run(engine, [OPEN, CHOICE], arms, SHORT)
    assert len(found) == 2 * 2 * len(WORDS)
    for one in found:
        variant = (v,) if one.arm == "add" else ()
        prompt = WORDS[one.item]
        if one.set == "open":
            alone = engine.generate(prompt, [variant], max_new_tokens=8, top_alternatives=1)[0]
            assert one.text == alone.text and one.measures["tokens"] == len(alone.tokens)
            clean = engine.score(alone.prompt_tokens, alone.tokens)[0]
            assert one.measures["surprise"] == pytest.approx(-sum(clean) / len(clean), abs=1e-4)
        else:
            yes, no = (sum(engine.score(prompt, option, [variant])[0]) for option in (" yes", " no"))
            assert one.measures["p_match"] == pytest.approx(1 / (1 + math.exp(no - yes)), abs=1e-4)
            assert one.measures["logit_diff"] == pytest.approx(yes - no, abs=1e-3)


def test_strength_zero_is_the_baseline_and_chance_is_shared(engine: Engine) -> None:
    arms = [ev.BASELINE, ev.Arm("nothing", (ActivationAddition(direction(engine.model), 0.0),)), ev.again(1)]
    settings = ev.Settings(max_new_tokens=8, temperature=1.0, samples=3)
    found = ev.run(engine, [OPEN, CHOICE], arms, settings)
    texts = {name: [one.text for one in found if one.arm == name] for name in ("Baseline", "nothing", arms[2].name)}
    assert texts["Baseline"] == texts["nothing"] != texts[arms[2].name]
    table = comparison.table(found, [OPEN, CHOICE], arms)
    assert all(change.change == 0 for change in table.changes if change.arm == "nothing")
    assert all(change.verdict.startswith("too few items") for change in table.changes if change.arm == "nothing")


def test_chat_items_go_through_the_template(chat_engine: Engine) -> None:
    item = ev.Item(({"role": "user", "content": "the cat"}, {"role": "assistant", "content": "the"}))
    one = ev.EvaluationSet((item,), ev.scorer("rule: a"), "chat")
    ev.run(chat_engine, [one], [ev.BASELINE], SHORT)
    trial = ev.trials.plan(chat_engine.model, [one], [ev.BASELINE], SHORT)[0]
    prompt = chat_engine.model.text(ev.trials.prompt_of(chat_engine.model, trial, None), special=True)  # type: ignore[arg-type]
    assert prompt.endswith("the") and "model" in prompt
    plain = ev.trials.prompt_of(chat_engine.model, trial, False)
    assert chat_engine.model.text(plain) == "the cat\nthe"  # type: ignore[arg-type]


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_and_gives_the_same(engine: Engine, tmp_path: Path) -> None:
    arm = ev.Arm("add", (ActivationAddition(direction(engine.model)),))
    arms = [ev.BASELINE, arm, *(ev.random_control(arm, seed) for seed in range(3))]
    settings = ev.Settings(max_new_tokens=8, temperature=1.0, samples=2, in_flight=12)
    whole = ev.run(engine, [OPEN, CHOICE], arms, settings)
    path = tmp_path / "run.jsonl"

    def kill(done: int, total: int, note: str) -> None:
        if done > total // 2:
            raise Killed

    with pytest.raises(Killed):
        ev.run(engine, [OPEN, CHOICE], arms, settings, checkpoint=ev.Checkpoint(path), tick=kill)
    kept = len(path.read_text(encoding="utf-8").splitlines())
    assert 0 < kept < len(whole)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "torn')  # the kill hit a line half-way
    seen: list[int] = []
    resumed = ev.run(
        engine, [OPEN, CHOICE], arms, settings, checkpoint=ev.Checkpoint(path), tick=lambda done, *_: seen.append(done)
    )
    assert resumed == whole and seen[0] == kept
    before = path.read_bytes()
    assert ev.run(engine, [OPEN, CHOICE], arms, settings, checkpoint=ev.Checkpoint(path)) == whole
    assert path.read_bytes() == before  # nothing was left to do


def test_a_stopped_run_leaves_nothing_in_the_engine(engine: Engine) -> None:
    def kill(done: int, total: int, note: str) -> None:
        if done:
            raise Killed

    with pytest.raises(Killed):
        ev.run(engine, [OPEN], [ev.BASELINE], ev.Settings(max_new_tokens=200, in_flight=6), tick=kill)
    assert engine.generate("the cat", max_new_tokens=2)[0].done
    assert engine.busy == (0, 0)


def test_an_item_that_cannot_be_read_is_named(engine: Engine) -> None:
    long = ev.EvaluationSet((ev.Item("a"), ev.Item("the cat " * 5000)), ev.scorer("rule: a"), "long")
    with pytest.raises(ValueError, match="long, item 2, arm 'Baseline': .*at most"):
        ev.run(engine, [long], [ev.BASELINE], SHORT)
    with pytest.raises(ValueError, match="samples is 1 or more"):
        ev.Settings(samples=2)


def test_side_effects_of_nothing_are_nothing(engine: Engine) -> None:
    lm = engine.model
    arms = [
        ev.BASELINE,
        ev.Arm("zero", (ActivationAddition(direction(lm), 0.0),)),
        ev.Arm("add", (ActivationAddition(direction(lm)),)),
    ]
    prompts = [lm.tokens(word) for word in WORDS]
    own = coherence.answers_of(engine, prompts, 6)
    found = coherence.side_effects(engine, arms, prompts, {"own": own, "plain": coherence.whole_texts(engine, WORDS)})
    assert found[0].kl == found[1].kl == (0.0,) * len(WORDS)
    assert found[0].cross_entropy == found[1].cross_entropy
    assert min(found[2].kl) > 0
    # By hand: KL of the first prompt from the logits.
    base, steered = (lm.forward(torch.tensor([prompts[0]]))[0, -1].log_softmax(-1),) * 2
    with torch.no_grad():
        v = direction(lm).vector
        mask = torch.ones(len(prompts[0]), 1)
        if prompts[0][0] == lm.tokenizer.bos_token_id:
            mask[0] = 0
        steered = lm.forward(torch.tensor([prompts[0]]), hooks={SITE: lambda h: h + mask * v})[0, -1].log_softmax(-1)
    assert found[2].kl[0] == pytest.approx(float((base.exp() * (base - steered)).sum()), rel=1e-3)


# Tables ---------------------------------------------------------------------------------------------------------------


def outcomes(arm: str, numbers: list[float], measure: str = "matches", set_name: str = "s") -> list[ev.Outcome]:
    return [ev.Outcome(arm, set_name, k, 0, measures={measure: value}) for k, value in enumerate(numbers)]


YES_NO = ev.EvaluationSet(tuple(ev.Item(f"q{k}") for k in range(10)), ev.scorer("rule: x"), "s")


def test_a_paired_comparison_by_hand() -> None:
    # Seven items changed: one up, six down. McNemar's exact p = 2 (C(7,0) + C(7,1)) / 2^7 = 16 / 128.
    base, arm = [1, 1, 1, 1, 1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 1, 0, 1, 0]
    found = comparison.table(outcomes("Baseline", base) + outcomes("a", arm), [YES_NO], [ev.BASELINE, ev.Arm("a")])
    change = found.change("a", "s", "matches")
    assert change is not None
    assert (change.up, change.down, change.p, change.change) == (1, 6, pytest.approx(0.125), pytest.approx(-0.5))
    cell = found.cell("Baseline", "s", "matches")
    # Wilson, 7 of 10: (0.7 + z^2/20 -+ z sqrt(0.021 + z^2/400)) / (1 + z^2/10) with z = 1.96.
    assert cell is not None and (cell.low, cell.high) == (
        pytest.approx(0.3968, abs=1e-3),
        pytest.approx(0.8922, abs=1e-3),
    )
    assert {"vs_change", "vs_p", "verdict"} <= set(found.rows()[1])


def test_the_regulator_post_table_shows_what_it_supports() -> None:
    # 24 against 18 of 60, unpaired in the post; whichever items they were, Wilson's intervals overlap widely.
    items = ev.EvaluationSet(tuple(ev.Item(f"q{k}") for k in range(60)), ev.scorer("rule: x"), "s")
    arms = [ev.BASELINE, ev.Arm("ablation")]
    both = outcomes("Baseline", [1] * 24 + [0] * 36) + outcomes("ablation", [1] * 18 + [0] * 42)
    found = comparison.table(both, [items], arms)
    cells = [found.cell(name, "s", "matches") for name in ("Baseline", "ablation")]
    assert [(round(c.low, 2), round(c.high, 2)) for c in cells if c] == [(0.29, 0.53), (0.20, 0.43)]


def test_a_verdict_needs_to_be_beyond_the_controls() -> None:
    arms = [
        ev.BASELINE,
        ev.Arm("a"),
        *(ev.Arm(f"r{k}", kind="control", of="a", group="random for a") for k in range(3)),
    ]
    base, steered = [0.0] * 10, [1.0] * 9 + [0.0]
    weak = [o for k in range(3) for o in outcomes(f"r{k}", [0.0] * 9 + [1.0])]
    strong = weak[:20] + outcomes("r2", [1.0] * 10)
    judged = []
    for beside in (weak, strong):
        found = comparison.table(outcomes("Baseline", base) + outcomes("a", steered) + beside, [YES_NO], arms)
        change = found.change("a", "s", "matches")
        assert change is not None
        judged.append((change.verdict, change.rank_p))
        assert found.cell("random for a", "s", "matches") is not None
    assert judged == [("changed", 0.25), ("within the controls", 0.5)]


def test_a_share_over_several_seeds_stays_between_0_and_1() -> None:
    arms = [
        ev.BASELINE,
        *(ev.Arm(f"r{k}", kind="control", of="a", group="random for a") for k in range(3)),
        ev.Arm("a"),
    ]
    few = [o for k, one in enumerate(([1.0, 0.0], [1.0, 1.0], [1.0, 1.0])) for o in outcomes(f"r{k}", one)]
    found = comparison.table(outcomes("Baseline", [0.0] * 2) + outcomes("a", [1.0] * 2) + few, [YES_NO], arms)
    cell = found.cell("random for a", "s", "matches")
    assert cell is not None and 0.0 <= cell.low <= cell.value <= cell.high <= 1.0


def test_mcnemar_finds_nothing_where_there_is_nothing() -> None:
    """A test of the test: two arms that differ by chance alone are told apart in at most 5% of the runs."""
    rng = random.Random(0)
    clear = 0
    for _ in range(400):
        shares = [rng.random() for _ in range(60)]
        a, b = ([float(rng.random() < share) for share in shares] for _ in range(2))
        clear += mcnemar(a, b).p < 0.05
    assert clear / 400 <= 0.05


def passes(engine: Engine, groups: int, seeds: int, weaker: float = 1.0) -> int:
    """How many of the random directions do more than all the random controls beside them, as a verdict asks."""
    few = ev.EvaluationSet(CHOICE.items[:2], CHOICE.scorer, "choice")
    count = 0
    arms = [ev.BASELINE]
    for group in range(groups):
        for k in range(seeds + 1):
            push = ActivationAddition(direction(engine.model, 10_000 + 100 * group + k), weaker if k else 1.0)
            kind = {"kind": "control", "of": f"d{group}", "group": f"random for d{group}"} if k else {}
            arms.append(ev.Arm(f"d{group}" if not k else f"r{group}.{k}", (push,), **kind))
    table = comparison.table(ev.run(engine, [few], arms), [few], arms)
    for group in range(groups):
        change = table.change(f"d{group}", "choice", "logit_diff")
        assert change is not None and len(change.controls) == seeds and change.rank_p is not None
        beyond = max(map(abs, change.controls)) < abs(change.change)
        assert beyond == (change.rank_p <= 1 / (1 + seeds) + 1e-9)
        if not beyond:
            assert not change.clear
        count += beyond
    return count


@pytest.mark.parametrize(("groups", "seeds"), [(90, 3), (40, 9)])
def test_a_random_direction_passes_as_no_effect_at_the_stated_rate(engine: Engine, groups: int, seeds: int) -> None:
    """A test of the test: beside k random controls, a random direction is beyond them all once in k + 1 times."""
    assert binomtest(passes(engine, groups, seeds), groups, 1 / (1 + seeds)).pvalue > 0.001


def test_the_test_of_the_test_can_fail(engine: Engine) -> None:
    """Controls of half the norm do not make a fair comparison, and the rate shows it."""
    assert binomtest(passes(engine, 60, 3, weaker=0.5), 60, 1 / 4).pvalue < 0.001


def test_spillover_by_hand() -> None:
    # Ten dilemmas. duty 6 -> 8, virtue 2 -> 1, gain 2 -> 0, results 0 -> 1:
    # effect 0.2, spill 0.1 (results only; falls do not count), selectivity 2/3.
    base = ["duty"] * 6 + ["virtue"] * 2 + ["gain"] * 2
    steered = ["duty"] * 6 + ["duty", "virtue", "duty", "results"]
    found = ev.spillover(base, steered, "duty", range(10))
    assert (found.effect.value, found.spill.value) == (pytest.approx(0.2), pytest.approx(0.1))
    assert found.selectivity.value == pytest.approx(2 / 3) and found.broken.value == 0
    assert found.effect.low <= 0.2 <= found.effect.high and found.spill.low >= 0
    assert found.shares["results"] == pytest.approx(0.1) and found.base["gain"] == pytest.approx(0.2)


def test_broken_answers_are_neither_effect_nor_spillover() -> None:
    found = ev.spillover(["a", "b", "a", "b"], ["a", "unreadable", "a", "unreadable"], "a", [0, 1, 2, 3])
    assert (found.effect.value, found.spill.value, found.broken.value) == (0.0, 0.0, 0.5)
    same = ev.spillover(["a", "b"], ["a", "b"], "a", [0, 1])
    assert (same.effect, same.spill, same.selectivity) == ((0, 0, 0),) * 3
    with pytest.raises(ValueError, match="The target is one of the groups a, b; got 'c'"):
        ev.spillover(["a"], ["b"], "c", [0])
    with pytest.raises(ValueError, match="one by one"):
        ev.spillover(["a"], ["b", "b"], "a", [0])


def test_steerability_by_hand() -> None:
    # Over alpha -1, 0, 1 the slope is (y(1) - y(-1)) / 2.
    found = ev.steerability([-1, 0, 1], [[0, 1, 2], [3, 2, 1], [0, 5, 4]])
    assert found.slopes == pytest.approx((1.0, -1.0, 2.0))
    assert found.mean.value == pytest.approx(2 / 3) and found.wrong_way.value == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="two different alphas"):
        ev.steerability([1, 1], [[0, 1]])


def test_repetition() -> None:
    # Seven words make five triples: x y z, y z x, z x y, x y z, y z x; three are different.
    assert repetition("x y z x y z x") == pytest.approx(2 / 5)
    assert repetition("all these words are new") == 0 == repetition("")
