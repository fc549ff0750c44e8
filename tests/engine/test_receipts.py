"""Receipts: what was applied, against arithmetic by hand and against the stream itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import steered_rows as steered
import torch
from steered_rows import TEXT, batch, decode, direction

from steering.directions.direction import Direction
from steering.engine.receipts import Entry, Ledger, Log, Receipt, SiteShift, tolerance
from steering.engine.requests import Request
from steering.interventions import (
    ActivationAddition,
    DirectionalAblation,
    FeatureClamp,
    Intervention,
    ThresholdRegulator,
)
from steering.interventions.edits import RankOne
from steering.interventions.protocol import Effect, Placement
from steering.models.loading import load_model
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

SHORT = {"max_new_tokens": 4, "ignore_eos": True}


def test_a_ledger_by_hand() -> None:
    """Two sites, tokens 4 and 5 at the first, 4 at the second.

    expected (1 + 2 + 6) / 3 = 3, measured (1 + 2 + 3) / 3 = 2, fired 2 of 3, at tokens 4 and 5; site b is off by 3.
    """
    ledger = Ledger()
    yes, no = torch.tensor([False, True]), torch.tensor([True])
    ledger.entries.append(Entry("a", [4, 5], torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]), yes))
    ledger.entries.append(Entry("b", [4], torch.tensor([6.0]), torch.tensor([3.0]), no))
    receipt = ledger.receipt("an edit", ["a note"])
    failure = SiteShift("b", 6.0, 3.0, tolerance(6.0, 0.0, torch.float32))
    assert receipt == Receipt(
        "an edit", ("a", "b"), 2, (4, 5), 3.0, 2.0, 2 / 3, (4, 5), ("a note",), failures=(failure,)
    )
    assert not receipt.agrees
    assert receipt.problem == (
        "The receipt of an edit disagrees: at b a shift of 6 was expected and 3 measured."
    )  # fmt: skip


def test_too_much_at_one_token_does_not_make_up_for_too_little_at_another() -> None:
    ledger = Ledger([Entry("a", [1, 2], torch.tensor([2.0, 2.0]), torch.tensor([1.0, 3.0]))])
    receipt = ledger.receipt("an edit")
    assert receipt.expected == receipt.measured == 2.0 and not receipt.agrees


def test_what_may_differ_follows_the_dtype_and_the_size_of_the_stream() -> None:
    """bfloat16 has eps 1/128: of a stream of norm 100 and a shift of 10, 0.01 + 1.5 * 110 / 128 = 1.3."""
    assert tolerance(10.0, 100.0, torch.bfloat16) == pytest.approx(0.01 + 1.5 * 110 / 128, abs=1e-4)
    assert tolerance(10.0, 100.0, torch.float32) == pytest.approx(0.01, rel=0.01)
    for measured, dtype, agrees in (
        (10.005, torch.float32, True), (10.1, torch.float32, False), (10.1, torch.float16, True),
        (11.0, torch.float16, False), (11.0, torch.bfloat16, True), (0.0, torch.bfloat16, False),
    ):  # fmt: skip
        ledger = Ledger([Entry("a", [1], torch.tensor([10.0]), torch.tensor([measured]), size=100.0)])
        assert ledger.receipt("", dtype=dtype).agrees is agrees, (measured, dtype)


def test_tokens_that_overflowed_are_noted_and_not_compared() -> None:
    ledger = Ledger([Entry("a", [1, 2], torch.tensor([2.0, float("inf")]), torch.tensor([2.0, float("nan")]))])
    receipt = ledger.receipt("an edit")
    assert receipt.agrees and receipt.notes == ("Activations overflowed at 1 tokens, which are not compared.",)


def test_a_log_tells_a_row_of_its_touched_tokens() -> None:
    """Row 1 of two, of whose tokens 6, 7, 8 the first was not to be touched."""
    positions, yes = torch.tensor([[5, 6, 7], [6, 7, 8]]), torch.tensor([[True, True, True], [True, False, True]])
    mask = torch.tensor([[True, True, True], [False, True, True]])
    log = Log(positions, 1.0 * positions, yes, mask, 10.0 * positions, 3.0 * positions)
    entry = log.entry("a", 1, has_threshold=True)
    assert (entry.positions, entry.expected.tolist(), entry.measured.tolist()) == ([7, 8], [7.0, 8.0], [70.0, 80.0])
    assert entry.fired is not None and entry.fired.tolist() == [False, True] and entry.size == 3 * 7.5
    assert log.entry("a", 1, has_threshold=False).fired is None
    assert Log(positions, 1.0 * positions, None, None, 1.0 * positions).entry("a", 1, True).positions == [6, 7, 8]


def test_passes_are_joined_and_what_never_arrived_is_nothing() -> None:
    one, two = (Log(torch.tensor([[t]]), torch.tensor([[2.0]]), None, None) for t in (5, 6))
    one.measured = torch.tensor([[2.0]])
    entry = Log.joined([one, two]).entry("a", 0, False)
    assert (entry.positions, entry.measured.tolist()) == ([5, 6], [2.0, 0.0])


def test_an_addition_shifts_by_alpha_times_its_length(lm: Model) -> None:
    """|3 v| with |v| = 4 is 12, at each of n + 3 tokens less BOS."""
    row = decode(lm, TEXT, (ActivationAddition(direction(norm=4.0), alpha=-3.0),), **SHORT)
    (receipt,) = row.receipts()
    assert receipt.expected == pytest.approx(12.0) and receipt.measured == pytest.approx(12.0, abs=1e-4)
    assert receipt.tokens == len(row.prompt) + 3 - int(row.prompt[0] == lm.tokenizer.bos_token_id)
    assert receipt.sites == ("blocks.1.hook_resid_post",)
    assert receipt.fired is None and receipt.fired_positions == ()
    assert receipt.intervention.startswith("ActivationAddition(") and "alpha=-3" in receipt.intervention


def test_a_regulators_numbers_are_those_of_its_trace(lm: Model) -> None:
    """shift = lambda relu(p - tau); fired where p > tau: both from the recorded projections, by hand."""
    v = direction()
    tau, lambda_ = 1.0, 2.0
    row = decode(lm, TEXT, (ThresholdRegulator(v, tau, lambda_),), record=[v], **SHORT)
    (trace,), (receipt,) = row.traces.values(), row.receipts()
    p = {t: trace.before[t] for t in receipt.positions}
    assert receipt.fired_positions == tuple(t for t in receipt.positions if p[t] > tau)
    assert receipt.fired == pytest.approx(len(receipt.fired_positions) / receipt.tokens) and 0 < receipt.fired < 1
    shifts = [lambda_ * max(value - tau, 0) for value in p.values()]
    assert receipt.expected == pytest.approx(sum(shifts) / len(shifts), rel=1e-4)
    assert receipt.measured == pytest.approx(receipt.expected, rel=1e-4)


def test_an_ablations_shift_is_what_was_there(lm: Model) -> None:
    r = direction()
    row = decode(lm, TEXT, (DirectionalAblation(r),), record=[r], **SHORT)
    (trace,), (receipt,) = row.traces.values(), row.receipts()
    there = [abs(trace.before[t]) for t in receipt.positions]
    assert receipt.expected == pytest.approx(sum(there) / len(there), rel=1e-4)


def test_everywhere_counts_tokens_once_and_averages_over_sites(lm: Model) -> None:
    r = direction()
    sites = [p.site for p in DirectionalAblation(r, everywhere=True).placements(lm)]
    records = [Direction(r.vector, site) for site in sites]
    row = decode(lm, TEXT, (DirectionalAblation(r, everywhere=True),), record=records, **SHORT)
    (receipt,) = row.receipts()
    assert receipt.sites == tuple(map(str, sites)) and receipt.tokens == len(receipt.positions)
    there = [abs(trace.before[t]) for trace in row.traces.values() for t in receipt.positions]
    assert receipt.measured == pytest.approx(sum(there) / len(there), rel=1e-3)


def test_expected_and_measured_agree_for_every_method(lm: Model, family: str, sae_of: Callable[..., Sae]) -> None:
    methods = steered.every_method(lm, sae_of("standard", family=family))
    rows = batch(lm, [TEXT] * len(methods), list(methods.values()), **SHORT)
    for name, row in zip(methods, rows, strict=True):
        for receipt in row.receipts():
            assert receipt.agrees and receipt.measured > 0, name
            assert receipt.measured == pytest.approx(receipt.expected, rel=1e-4), name


@dataclass(frozen=True, eq=False)
class Weak(Intervention):
    """An addition that delivers half of what it says."""

    direction: Direction

    def placements(self, model: Model) -> list[Placement]:
        return [Placement(self.direction.site, HalfAddition.make(self.direction.vector, offset=6.0))]


class HalfAddition(RankOne):
    @classmethod
    def make(cls, *args, **options) -> HalfAddition:
        return cls(**vars(RankOne.make(*args, **options)))

    def __call__(self, h: torch.Tensor, positions: torch.Tensor) -> Effect:
        effect = super().__call__(h, positions)
        return Effect((h + effect.h) / 2, effect.expected)


def test_a_mistake_shows_in_the_receipt(lm: Model) -> None:
    (receipt,) = decode(lm, TEXT, (Weak(direction()),), **SHORT).receipts()
    assert receipt.expected == pytest.approx(6.0) and receipt.measured == pytest.approx(3.0, abs=1e-4)
    assert not receipt.agrees


def test_rounding_of_half_precision_is_measured(checkpoint: Callable) -> None:
    """An addition that bfloat16 rounds away: expected says 0.001, measured 0."""
    half = load_model(checkpoint("gpt2"), device="cpu", dtype=torch.bfloat16, threads=1)
    tiny_shift, big = (ActivationAddition(direction(), alpha=alpha) for alpha in (1e-3, 20.0))
    (small,) = decode(half, TEXT, (tiny_shift,), **SHORT).receipts()
    assert small.expected == pytest.approx(1e-3, rel=1e-3) and small.measured != pytest.approx(1e-3, rel=0.5)
    (large,) = decode(half, TEXT, (big,), **SHORT).receipts()
    assert large.agrees and large.measured != large.expected


def test_receipts_come_in_the_order_of_the_interventions(lm: Model, family: str, sae_of: Callable[..., Sae]) -> None:
    """Also when their sites are met in another order."""
    sae = sae_of("standard", family=family)
    late, early = ActivationAddition(direction(Site(3)), 2.0), ActivationAddition(direction(Site(0)), 5.0)
    row = decode(lm, TEXT, (late, FeatureClamp(sae, {3: 4.0}), early), **SHORT)
    assert [r.sites[0] for r in row.receipts()] == [f"blocks.{i}.hook_resid_post" for i in (3, 1, 0)]
    assert [row.receipts()[0].expected, row.receipts()[2].expected] == pytest.approx([2.0, 5.0])


def test_the_baseline_has_no_receipt_and_a_regulator_above_all_never_fired(lm: Model) -> None:
    assert decode(lm, TEXT, **SHORT).receipts() == ()
    (receipt,) = decode(lm, TEXT, (ThresholdRegulator(direction(), float("inf"), 3.0),), **SHORT).receipts()
    assert (receipt.fired, receipt.fired_positions, receipt.measured) == (0.0, (), 0.0)
    assert receipt.tokens > 0


def test_a_row_that_did_nothing_yet_has_an_empty_receipt(lm: Model) -> None:
    (receipt,) = Request(TEXT, (ActivationAddition(direction()),)).row(lm).receipts()
    assert (receipt.tokens, receipt.sites, receipt.expected, receipt.agrees) == (0, (), 0.0, True)
