"""The laws that every method keeps: nothing at zero strength, nothing left behind, cached is uncached, padded is alone.

What each method's formula says is in the file of that method.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import steered_rows as steered
import torch
from steered_rows import METHODS, PROMPTS, TEXT, Variant, batch, decode, direction, hooks_on, logits_of

import steering.interventions as ways
from steering.directions.direction import Direction
from steering.engine.decoding import Decoder, generate
from steering.engine.requests import Request
from steering.engine.rows import Row
from steering.interventions.protocol import Effect, Placement
from steering.models.loading import load_model
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

# These see sequences, not tokens: what they do to a token depends on which tokens are read in one pass.
OF_THE_WHOLE_SEQUENCE = ("sara, recomputed",)


@pytest.fixture(scope="module")
def sae(family: str, sae_of: Callable[..., Sae]) -> Sae:
    return sae_of("standard", family=family)


@pytest.fixture(scope="module")
def methods(lm: Model, sae: Sae) -> dict[str, Variant]:
    return steered.every_method(lm, sae)


def nothing(lm: Model, sae: Sae) -> dict[str, Variant]:
    """A variant of each method that has a zero, at its zero."""
    v, f = direction(), direction(sae=sae)
    two = {"attract": "I love you and", "repel": "The dog was not happy", "site": Site(1, "resid_pre")}
    return {
        "addition": (ways.ActivationAddition(v, alpha=0.0),),
        "addition of features": (ways.ActivationAddition(f, alpha=0.0),),
        "actadd": (ways.ActAdd(torch.randn(4, 32), Site(1), alpha=0.0),),
        "ablation": (ways.DirectionalAblation(v, strength=0.0),),
        "ablation everywhere": (ways.DirectionalAblation(v, everywhere=True, strength=0.0),),
        "regulator, lambda 0": (ways.ThresholdRegulator(v, tau=0.0, lambda_=0.0),),
        "regulator, tau infinite": (ways.ThresholdRegulator(v, tau=float("inf"), lambda_=3.0),),
        "regulator of features, lambda 0": (ways.ThresholdRegulator(f, tau=0.0, lambda_=0.0),),
        "regulator of features, tau infinite": (ways.ThresholdRegulator(f, tau=float("inf"), lambda_=3.0),),
        "regulator, no negative features, lambda 0": (ways.ThresholdRegulator(f, 0.0, 0.0, clamp_nonneg=True),),
        "feature addition": (ways.FeatureAddition(sae, {3: 0.0}),),
        "sara": (ways.Sara.from_prompts(lm, **two, alpha=0.0),),
        "sara, recomputed": (ways.Sara.from_prompts(lm, **two, alpha=0.0, mode="recompute"),),
        "sara as in the paper": (ways.Sara.from_prompts(lm, **two, alpha=0.0, mode="paper"),),
        "conditional that does not hold": (ways.Conditional(v, 2.0, ways.ActivationAddition(v, alpha=50.0)),),
        "several": (ways.ActivationAddition(v, alpha=0.0), ways.ThresholdRegulator(f, 0.0, 0.0)),
    }


def test_zero_strength_is_bit_identical_to_no_intervention(lm: Model, sae: Sae) -> None:
    logits, row = logits_of(lm, TEXT), decode(lm, TEXT, max_new_tokens=8, ignore_eos=True)
    for name, variant in nothing(lm, sae).items():
        assert torch.equal(logits_of(lm, TEXT, variant), logits), name
        again = decode(lm, TEXT, variant, max_new_tokens=8, ignore_eos=True, cached=row.cached)
        if again.cached:
            assert (again.generated, again.logprobs) == (row.generated, row.logprobs), name
        assert again.generated == row.generated, name
        receipts = again.receipts()
        assert all(receipt.measured == 0 == receipt.expected for receipt in receipts), name


def test_zero_strength_is_bit_identical_in_half_precision(sae_of: Callable[..., Sae], checkpoint: Callable) -> None:
    half = load_model(checkpoint("llama"), device="cpu", dtype=torch.bfloat16, threads=1)
    logits = logits_of(half, TEXT)
    assert logits.dtype == torch.bfloat16
    sae = sae_of("standard")
    for one in (
        ways.ActivationAddition(direction(), alpha=0.0),
        ways.ThresholdRegulator(direction(), 0.0, 0.0),
        ways.ThresholdRegulator(direction(sae=sae), 0.0, 0.0),
    ):
        assert torch.equal(logits_of(half, TEXT, (one,)), logits)
    assert not torch.equal(logits_of(half, TEXT, (ways.ActivationAddition(direction(), alpha=8.0),)), logits)


def all_in_one(lm: Model, methods: dict[str, Variant], prompt: str, **options) -> dict[str, Row]:
    """A row of every method, decoded together."""
    rows = batch(lm, [prompt] * len(methods), list(methods.values()), ignore_eos=True, **options)
    return dict(zip(methods, rows, strict=True))


def test_every_method_changes_the_text(lm: Model, methods: dict[str, Variant]) -> None:
    """Without this the laws below could hold because nothing happens at all."""
    assert tuple(methods) == METHODS
    unchanged = set(METHODS)
    for prompt in PROMPTS[:4]:
        base = decode(lm, prompt, max_new_tokens=8, ignore_eos=True).generated
        rows = all_in_one(lm, methods, prompt, max_new_tokens=8)
        unchanged -= {name for name, row in rows.items() if row.generated != base}
    assert not unchanged


def test_hooks_are_gone_and_the_model_is_itself_again(lm: Model, methods: dict[str, Variant]) -> None:
    before, fingerprint = logits_of(lm, TEXT), lm.fingerprint
    for name, variant in methods.items():
        decode(lm, TEXT, variant, max_new_tokens=2)
        assert hooks_on(lm) == 0, name
    assert torch.equal(logits_of(lm, TEXT), before)
    vars(lm).pop("fingerprint")
    assert lm.fingerprint == fingerprint


def test_a_second_run_is_the_first(lm: Model, methods: dict[str, Variant]) -> None:
    runs = [all_in_one(lm, methods, PROMPTS[1], max_new_tokens=6) for _ in range(2)]
    for name, one, two in zip(METHODS, runs[0].values(), runs[1].values(), strict=True):
        assert (one.generated, one.logprobs, one.receipts()) == (two.generated, two.logprobs, two.receipts()), name


def agree(row: Row, other: Row, name: str) -> None:
    """Token for token the same, and what was done to them too."""
    assert row.generated == other.generated, name
    assert row.logprobs == pytest.approx(other.logprobs, abs=1e-3), name
    for one, two in zip(row.receipts(), other.receipts(), strict=True):
        assert (one.positions, one.fired_positions) == (two.positions, two.fired_positions), name
        assert one.expected == pytest.approx(two.expected, rel=1e-3, abs=1e-5), name
        assert one.measured == pytest.approx(two.measured, rel=1e-3, abs=1e-5), name
        assert one.fired == pytest.approx(two.fired), name


def test_cached_decoding_is_full_recomputation(lm: Model, methods: dict[str, Variant]) -> None:
    rows = all_in_one(lm, methods, PROMPTS[2], max_new_tokens=6)
    for name, row in rows.items():
        if name not in OF_THE_WHOLE_SEQUENCE:
            whole = decode(lm, PROMPTS[2], methods[name], max_new_tokens=6, ignore_eos=True, cached=False)
            assert row.cached and not whole.cached
            agree(row, whole, name)


def test_left_padded_is_alone(lm: Model, methods: dict[str, Variant]) -> None:
    """A short prompt beside a long one: padding is masked, positions are absolute, and padding is not steered."""
    prompts = [PROMPTS[4], PROMPTS[2]]
    rows = batch(
        lm,
        [prompt for prompt in prompts for _ in methods],
        [*methods.values(), *methods.values()],
        max_new_tokens=6,
        ignore_eos=True,
    )
    for row, (name, variant) in zip(rows, methods.items(), strict=False):
        agree(row, decode(lm, prompts[0], variant, max_new_tokens=6, ignore_eos=True), name)


@pytest.mark.parametrize("rest", ["gemma3", "qwen2", "qwen3", "neox", "neox_sequential"])
def test_the_laws_on_the_other_families(rest: str, model: Callable[[str], Model], sae_of: Callable[..., Sae]) -> None:
    """Batch = alone = uncached for a few methods, on every family there is."""
    lm, sae = model(rest), sae_of("jumprelu", family=rest)
    v = direction()
    variants = [
        (),
        (ways.ActivationAddition(v, alpha=8.0),),
        (ways.DirectionalAblation(v, everywhere=True),),
        (ways.ThresholdRegulator(direction(sae=sae), tau=0.0, lambda_=3.0),),
        (ways.Sara.from_prompts(lm, attract="I love", repel="The dog was", site=Site(2, "resid_pre")),),
    ]
    options = {"max_new_tokens": 6, "ignore_eos": True}
    rows = batch(lm, PROMPTS[:5], variants, **options)
    for row, prompt, variant in zip(rows, PROMPTS[:5], variants, strict=True):
        assert row.generated == decode(lm, prompt, variant, **options).generated
        assert row.generated == decode(lm, prompt, variant, cached=False, **options).generated
    assert hooks_on(lm) == 0


# Failing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fails(ways.Intervention):
    """An intervention with a mistake: it raises in the middle of a pass."""

    direction: Direction

    def placements(self, model: Model) -> list[Placement]:
        return [Placement(self.direction.site, FailingEdit())]


class FailingEdit:
    kind = "failing"
    has_threshold = False

    @classmethod
    def stack(cls, edits: list[FailingEdit]) -> FailingEdit:
        return edits[0]

    def __call__(self, h: torch.Tensor, positions: torch.Tensor) -> Effect:
        raise RuntimeError("a mistake in an intervention")


def test_hooks_are_gone_after_an_exception(lm: Model) -> None:
    before = logits_of(lm, TEXT)
    mixed = [(ways.ActivationAddition(direction(Site(3)), alpha=1.0), Fails(direction(Site(2)))), ()]
    with pytest.raises(RuntimeError, match="a mistake in an intervention"):
        generate([Request(TEXT, variant).row(lm) for variant in mixed])  # an equal prompt: also inside a shared prefill
    assert hooks_on(lm) == 0
    assert torch.equal(logits_of(lm, TEXT), before)


def test_hooks_are_gone_after_a_cancel(lm: Model) -> None:
    decoder = Decoder(lm)
    row = Request(TEXT, (ways.ActivationAddition(direction(), alpha=2.0),), ignore_eos=True).row(lm)
    decoder.add([row])
    decoder.step()
    decoder.drop([row])
    assert len(decoder) == 0 and row.finish_reason == "cancelled" and len(row.generated) == 2
    assert hooks_on(lm) == 0
    assert row.receipts()[0].tokens > 0  # what it did so far is not lost


# Which tokens ---------------------------------------------------------------------------------------------------------


def positions(lm: Model, prompt: str, **options) -> tuple[int, ...]:
    request = {key: options.pop(key) for key in ("steer_bos",) if key in options}
    one = ways.ActivationAddition(direction(), alpha=1.0, **options)
    row = decode(lm, prompt, (one,), max_new_tokens=4, ignore_eos=True, **request)
    return row.receipts()[0].positions


def test_where_says_which_absolute_positions_are_touched(lm: Model) -> None:
    """A prompt of n tokens and 4 generated ones, of which the last is never read: positions 0 .. n + 2."""
    n = len(lm.tokens(PROMPTS[1]))
    first = 1 if lm.tokens(PROMPTS[1])[0] == lm.tokenizer.bos_token_id else 0
    assert positions(lm, PROMPTS[1]) == tuple(range(first, n + 3))
    assert positions(lm, PROMPTS[1], where="prompt") == tuple(range(first, n))
    assert positions(lm, PROMPTS[1], where="generated") == tuple(range(n, n + 3))
    assert positions(lm, PROMPTS[1], where="from_last") == tuple(range(n - 1, n + 3))
    assert positions(lm, PROMPTS[1], where="prompt_last") == (n - 1,)
    assert positions(lm, PROMPTS[1], start=7) == tuple(range(7, n + 3))
    assert positions(lm, PROMPTS[1], start=7, where="prompt") == tuple(range(7, n))
    assert positions(lm, PROMPTS[1], start=n + 1) == (n + 1, n + 2)
    assert positions(lm, PROMPTS[1], start=n + 50) == ()


def test_bos_is_steered_only_when_asked(tiny_llama: Model, tiny_gpt2: Model) -> None:
    assert tiny_llama.tokens("No")[0] == tiny_llama.tokenizer.bos_token_id
    assert positions(tiny_llama, "No")[0] == 1
    assert positions(tiny_llama, "No", steer_bos=True)[0] == 0
    assert positions(tiny_gpt2, "No")[0] == 0  # no BOS is put in front there


def test_generated_leaves_the_first_new_token_to_the_baseline(lm: Model) -> None:
    """from_last begins with the token that predicts it."""
    base = decode(lm, TEXT, max_new_tokens=1).logprobs
    strong = {"direction": direction(), "alpha": 9.0}
    after = decode(lm, TEXT, (ways.ActivationAddition(**strong, where="generated"),), max_new_tokens=1)
    at = decode(lm, TEXT, (ways.ActivationAddition(**strong, where="from_last"),), max_new_tokens=1)
    assert after.logprobs == base and at.logprobs != base


def test_only_touched_tokens_change(lm: Model) -> None:
    """Logits before the first touched position are the baseline's; causal attention carries nothing backward."""
    base = logits_of(lm, TEXT)
    new = logits_of(lm, TEXT, (ways.ActivationAddition(direction(), alpha=8.0, start=6),))
    torch.testing.assert_close(new[:6], base[:6], atol=1e-5, rtol=1e-5)
    assert (new[6:] - base[6:]).abs().amax(-1).min() > 1e-3


# Composition ----------------------------------------------------------------------------------------------------------


def test_interventions_happen_in_the_order_they_are_listed(lm: Model) -> None:
    """Ablating what was added leaves nothing of it; adding after the ablation leaves alpha.

    With r a unit vector: (h + 5 r) - ((h + 5 r) . r) r has p = 0; (h - (h . r) r) + 5 r has p = 5.
    """
    r = direction()
    add, ablate = ways.ActivationAddition(r, alpha=5.0), ways.DirectionalAblation(r)
    for variant, expected in (((add, ablate), 0.0), ((ablate, add), 5.0)):
        row = decode(lm, TEXT, variant, max_new_tokens=4, record=[r], ignore_eos=True, steer_bos=True)
        (trace,) = row.traces.values()
        assert trace.after == pytest.approx([expected] * len(trace.after), abs=1e-4)


def test_the_second_sees_what_the_first_left(lm: Model) -> None:
    """A regulator after an addition: p rises by alpha and comes back to tau. min(p + 6, 2) for lambda 1."""
    r = direction()
    variant = (ways.ActivationAddition(r, alpha=6.0), ways.ThresholdRegulator(r, tau=2.0, lambda_=1.0))
    row = decode(lm, TEXT, variant, max_new_tokens=4, record=[r], ignore_eos=True, steer_bos=True)
    (trace,) = row.traces.values()
    assert trace.after == pytest.approx([min(p + 6, 2) for p in trace.before], abs=1e-4)
    assert 0 < row.receipts()[1].fired < 1


def test_order_matters_between_kinds_in_one_batch(lm: Model) -> None:
    """Two rows with the same two methods in opposite order: stacking kinds must not reorder either."""
    r = direction()
    add, turn = ways.ActivationAddition(r, alpha=8.0), ways.AngularSteering(r, direction(seed=3), degrees=150.0)
    variants = [(add, turn), (turn, add), (turn,), (add,)]
    options = {"max_new_tokens": 6, "ignore_eos": True}
    rows = batch(lm, [PROMPTS[1]] * 4, variants, **options)
    for row, variant in zip(rows, variants, strict=True):
        assert row.generated == decode(lm, PROMPTS[1], variant, **options).generated
    assert rows[0].generated != rows[1].generated


# Values ---------------------------------------------------------------------------------------------------------------


def test_equal_interventions_have_equal_fingerprints_and_others_not(lm: Model, methods: dict[str, Variant]) -> None:
    v = direction()
    one = ways.ActivationAddition(v, alpha=2.0)
    assert one.fingerprint == ways.ActivationAddition(direction(), alpha=2.0).fingerprint
    others = [
        ways.ActivationAddition(v, alpha=2.5),
        ways.ActivationAddition(v, alpha=2.0, start=1),
        ways.ActivationAddition(v, alpha=2.0, where="prompt"),
        ways.ActivationAddition(direction(seed=9), alpha=2.0),
        ways.ActivationAddition(direction(Site(2)), alpha=2.0),
        ways.DirectionalAblation(v),
        *(one for variant in methods.values() for one in variant),
    ]
    seen = {one.fingerprint: str(one) for one in others}
    assert one.fingerprint not in seen
    # "addition", "conditional" and the like share parts, but no two whole interventions are the same
    assert len(seen) == len(others)


def test_an_intervention_says_what_it_is(lm: Model) -> None:
    v = direction(name="anger")
    assert str(ways.ActivationAddition(v, alpha=2.0)) == (
        "ActivationAddition(direction=anger@blocks.1.hook_resid_post, alpha=2)"
    )
    assert "where=prompt" in str(ways.ActivationAddition(v, where="prompt"))


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ways.ActivationAddition(direction(), alpha=float("inf")), "alpha is a finite number; got inf"),
        (lambda: ways.ActivationAddition(direction(), alpha=float("nan")), "alpha is a finite number; got nan"),
        (lambda: ways.ActivationAddition(direction(), where="everywhere"), "where is one of all, prompt, generated"),
        (lambda: ways.ActivationAddition(direction(), start=-1), "start is a position from 0 on; got -1"),
        (lambda: ways.ActivationAddition(direction(), start=1.5), "start is a position from 0 on; got 1.5"),
        (lambda: ways.ActAdd(torch.zeros(32), Site(1)), r"is \[pos, d_model\]; got shape \[32\]"),
        (lambda: ways.ActAdd(torch.full((2, 32), float("nan")), Site(1)), "difference holds finite numbers; got NaN"),
        (lambda: ways.ThresholdRegulator(direction(), tau=float("nan")), "tau is a number, or infinity for never"),
        (lambda: ways.ThresholdRegulator(direction(), lambda_=float("inf")), "lambda_ is a finite number; got inf"),
        (lambda: ways.ThresholdRegulator(direction(), error="lose"), 'error is "keep" or "drop"; got \'lose\''),
        (lambda: ways.ThresholdRegulator(direction(), error="drop"), "this direction is in the residual stream"),
        (lambda: ways.ThresholdRegulator(direction(), clamp_nonneg=True), "this direction is in the residual stream"),
        (lambda: ways.SaeAblation(direction()), "SaeAblation takes a direction in SAE feature space"),
        (lambda: ways.Sara(torch.zeros(3, 32), torch.zeros(3, 32), Site(1), mode="cold"), 'mode is "frozen"'),
        (lambda: ways.Sara(torch.zeros(3, 32), torch.zeros(3, 32), Site(1), sign="no"), 'sign is "align"'),
        (lambda: direction(Site(1), norm=float("nan")), "finite"),
    ],
)
def test_settings_that_make_no_sense_are_told_at_once(make: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (lambda lm: ways.ActivationAddition(direction(Site(9))), "has layers 0 to 3; got layer 9"),
        (lambda lm: ways.ActivationAddition(direction(width=16)), "16"),
        (lambda lm: ways.ActAdd(torch.zeros(2, 16), Site(1)), "has width 32; got 16"),
        (lambda lm: ways.ActAdd(torch.zeros(2, 32), Site(4)), "has layers 0 to 3; got layer 4"),
        (lambda lm: ways.Sara(torch.zeros(2, 16), torch.zeros(2, 32), Site(1)), "width 32; got 16 and 32"),
        (lambda lm: ways.Sara(torch.zeros(2, 32), torch.zeros(2, 32), Site(7)), "has layers 0 to 3; got layer 7"),
        (
            lambda lm: ways.AffineAblation(direction(), direction(Site(2))),
            "is read at the direction's site blocks.1.hook_resid_post; got one of blocks.2",
        ),
        (lambda lm: ways.AngularSteering(direction(), direction() * 3.0), "these two are parallel"),
        (lambda lm: ways.DirectionalAblation(direction(Site(9)), everywhere=True), "got layer 9"),
    ],
)
def test_what_does_not_fit_the_model_is_told_when_it_is_asked_for(
    one: Callable, message: str, tiny_llama: Model
) -> None:
    with pytest.raises(ValueError, match=message):
        Request(TEXT, (one(tiny_llama),)).row(tiny_llama)


def test_a_parallel_family_has_no_stream_between(model: Callable[[str], Model]) -> None:
    with pytest.raises(ValueError, match="runs attention and MLP in parallel and has no resid_mid"):
        Request(TEXT, (ways.ActivationAddition(direction(Site(1, "resid_mid"))),)).row(model("neox"))


def test_an_unknown_stream_lists_the_near_one() -> None:
    with pytest.raises(ValueError, match="Did you mean resid_post"):
        Site(1, "resid_pots")
