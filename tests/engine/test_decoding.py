"""One decode loop for rows that differ in everything: each is what it would have been alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import steered_rows as steered
import torch
from reference import addition
from reference import decoding as naive
from steered_rows import PROMPTS, TEXT, batch, decode, direction, logits_of

from steering.engine.decoding import Decoder, generate
from steering.engine.passes import run_sequences
from steering.engine.requests import Request
from steering.engine.rows import Row
from steering.engine.scoring import score
from steering.engine.text import TextStream
from steering.interventions import ActAdd, ActivationAddition, DirectionalAblation, ThresholdRegulator
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

LONG = {"max_new_tokens": 8, "ignore_eos": True}


@pytest.fixture(scope="module")
def eight(lm: Model, family: str, sae_of: Callable[..., Sae]) -> list[steered.Variant]:
    """Eight different variants, the baseline among them."""
    methods = steered.every_method(lm, sae_of("standard", family=family))
    names = (
        "addition", "ablation everywhere", "regulator of features", "sara", "actadd", "features and own directions",
        "conditional on a later layer",
    )  # fmt: skip
    return [(), *(methods[name] for name in names)]


@pytest.fixture(scope="module")
def alone(lm: Model, eight: list[steered.Variant]) -> Callable[..., Row]:
    """alone(prompt, 3) -> the third variant's row, decoded by itself, once."""
    rows: dict[tuple[str, int, float], Row] = {}

    def row(prompt: str, index: int, temperature: float = 0.0) -> Row:
        key = (prompt, index, temperature)
        if key not in rows:
            nucleus = 0.9 if temperature else 1.0
            rows[key] = decode(lm, prompt, eight[index], temperature=temperature, top_p=nucleus, seed=3, **LONG)
        return rows[key]

    return row


# A batch is its rows alone --------------------------------------------------------------------------------------------


def test_the_baseline_is_transformers_own(lm: Model) -> None:
    """Beyond Gemma's sliding window too, which left padding must not shift."""
    rows = batch(lm, PROMPTS, [()] * 8, **LONG)
    for row, prompt in zip(rows, PROMPTS, strict=True):
        assert row.generated == naive.greedy(lm.hf, lm.tokens(prompt), 8)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_eight_variants_with_unequal_prompts_are_eight_solo_runs(
    temperature: float, lm: Model, eight: list[steered.Variant], alone: Callable[..., Row]
) -> None:
    options = {**LONG, "temperature": temperature, "top_p": 0.9 if temperature else 1.0, "seed": 3}
    rows = batch(lm, PROMPTS, eight, **options)
    for index, (row, prompt) in enumerate(zip(rows, PROMPTS, strict=True)):
        solo = alone(prompt, index, temperature)
        assert row.generated == solo.generated and row.text == solo.text
        assert row.logprobs == pytest.approx(solo.logprobs, abs=1e-3)
        assert [token for token, _ in row.alternatives[0]] == [token for token, _ in solo.alternatives[0]]
    assert len({tuple(row.generated) for row in rows}) == 8


def test_a_shared_prefill_is_separate_prefills(
    lm: Model, eight: list[steered.Variant], alone: Callable[..., Row]
) -> None:
    """Eight variants of one prompt, and of two prompts: one pass a prompt up to the first steered layer."""
    for prompts in ([PROMPTS[1]] * 8, [PROMPTS[0]] + [PROMPTS[1]] * 6 + [PROMPTS[7]]):
        rows = batch(lm, prompts, eight, **LONG)
        for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            solo = alone(prompt, index)
            assert row.generated == solo.generated
            assert row.logprobs == pytest.approx(solo.logprobs, abs=1e-3)
            assert [r.positions for r in row.receipts()] == [r.positions for r in solo.receipts()]


@pytest.mark.parametrize("site", [Site(0, "resid_pre"), Site(2, "attn_out"), Site(1, "resid_mid"), Site(3, "mlp_out")])
def test_a_shared_prefill_parts_at_the_first_steered_layer(site: Site, lm: Model) -> None:
    """Below it every block sees one row, from there on one for each variant; and texts are as alone."""
    variants = [(), (ActivationAddition(direction(site), alpha=9.0),), (ActivationAddition(direction(site), 3.0),)]
    seen: list[int] = []
    handles = [
        block.register_forward_pre_hook(
            lambda m, a, k: seen.append((a[0] if a else k["hidden_states"]).shape[0]), with_kwargs=True
        )
        for block in lm.blocks
    ]
    try:
        rows = [Request(TEXT, variant, **LONG).row(lm) for variant in variants]
        Decoder(lm).add(rows)
    finally:
        for handle in handles:
            handle.remove()
    assert seen[: site.layer] == [1] * site.layer
    assert seen[site.layer + 1 :] == [3] * (3 - site.layer)
    for row, variant in zip(rows, variants, strict=True):
        assert row.generated == decode(lm, TEXT, variant, **LONG).generated[:1]


def test_a_later_edit_keeps_the_prompt_shared(lm: Model) -> None:
    """`where="generated"` leaves the prompt alone, so that all of its pass is shared."""
    variants = [(ActivationAddition(direction(Site(1)), alpha=a, where="generated"),) for a in (0.0, 4.0, 9.0)]
    rows = batch(lm, [TEXT] * 3, variants, **LONG)
    assert len({row.generated[0] for row in rows}) == 1 < len({tuple(row.generated) for row in rows})
    for row, variant in zip(rows, variants, strict=True):
        assert row.generated == decode(lm, TEXT, variant, **LONG).generated


# Joining and leaving --------------------------------------------------------------------------------------------------


def test_rows_join_and_leave_mid_way(lm: Model, eight: list[steered.Variant]) -> None:
    """Different lengths, so rows leave at different steps; a new one joins at every second step."""
    requests = [
        Request(prompt, variant, max_new_tokens=3 + 2 * i, ignore_eos=True, temperature=float(i % 2), seed=i)
        for i, (prompt, variant) in enumerate(zip(PROMPTS, eight, strict=True))
    ]
    rows, decoder = [request.row(lm) for request in requests], Decoder(lm)
    order = [3, 0, 6, 1, 7, 2, 5, 4]
    for index in order:
        decoder.add([rows[index]])
        decoder.step()
        decoder.step()
    while len(decoder):
        decoder.step()
    for row, request in zip(rows, requests, strict=True):
        alone = request.row(lm)
        generate([alone])
        assert (row.generated, row.finish_reason) == (alone.generated, "length")
        for one, other in zip(row.receipts(), alone.receipts(), strict=True):
            assert one.positions == other.positions
            assert one.measured == pytest.approx(other.measured, rel=1e-3, abs=1e-5)


def test_a_row_that_is_dropped_is_not_noticed(
    lm: Model, eight: list[steered.Variant], alone: Callable[..., Row]
) -> None:
    rows, decoder = [Request(p, v, **LONG).row(lm) for p, v in zip(PROMPTS, eight, strict=True)], Decoder(lm)
    decoder.add(rows)
    decoder.step()
    decoder.drop([rows[2], rows[5]])  # one of them the longest, so that padding shrinks
    while len(decoder):
        decoder.step()
    for index, row in enumerate(rows):
        solo = alone(PROMPTS[index], index).generated
        assert row.generated == (solo[:2] if index in (2, 5) else solo)
        assert row.finish_reason == ("cancelled" if index in (2, 5) else "length")


def test_a_row_goes_on_behind_what_it_has(lm: Model, eight: list[steered.Variant], alone: Callable[..., Row]) -> None:
    """Added again with tokens already there (after another row's failure), it continues as if nothing had been."""
    for index, variant in enumerate(eight):
        row = Request(PROMPTS[1], variant, **LONG).row(lm)
        decoder = Decoder(lm)
        decoder.add([row])
        for _ in range(4):
            decoder.step()
        decoder.clear()
        row.forget()
        generate([row])
        assert row.generated == alone(PROMPTS[1], index).generated
        assert [r.positions for r in row.receipts()] == [r.positions for r in alone(PROMPTS[1], index).receipts()]


def test_small_batches_give_the_same(lm: Model, eight: list[steered.Variant], alone: Callable[..., Row]) -> None:
    rows = [Request(p, v, **LONG).row(lm) for p, v in zip(PROMPTS, eight, strict=True)]
    generate(rows, max_batch=3)
    assert [row.generated for row in rows] == [alone(prompt, i).generated for i, prompt in enumerate(PROMPTS)]


# Ends -----------------------------------------------------------------------------------------------------------------


def test_the_end_of_text_token_ends_a_row_or_not(tiny_llama: Model) -> None:
    """A row made to write EOS by an addition of its unembedding."""
    lm, eos = tiny_llama, 1
    assert lm.eos_tokens == {eos}
    row = Request(TEXT, max_new_tokens=5).row(lm)
    logits = run_sequences(lm, [row])[0][0, -1]
    assert int(logits.argmax()) != eos
    row.accept(eos, -0.5, [])
    assert row.finish_reason == "eos" and row.generated == [eos] and row.text == ""
    going = Request(TEXT, max_new_tokens=5, ignore_eos=True).row(lm)
    going.accept(eos, -0.5, [])
    assert going.finish_reason is None


def test_length_and_context_end_a_row(lm: Model) -> None:
    assert decode(lm, TEXT, max_new_tokens=3, ignore_eos=True).finish_reason == "length"
    prompt = (lm.tokens(PROMPTS[2]) * 4)[: lm.n_ctx - 4]
    row = decode(lm, prompt, max_new_tokens=50, ignore_eos=True)
    assert row.finish_reason == "context" and len(row.generated) == 4


def test_a_stop_text_ends_a_row_and_is_no_part_of_it(lm: Model) -> None:
    whole = decode(lm, PROMPTS[1], **LONG).text
    stop = whole[4:7]
    row = decode(lm, PROMPTS[1], stop=("never found", stop), **LONG)
    assert row.finish_reason == "stop" and row.text == whole[: whole.find(stop)]
    assert row.visible == row.text


def test_what_may_be_the_beginning_of_a_stop_text_is_withheld(tiny_llama: Model) -> None:
    """ "END" is no part of the completion: "E" and "EN" wait until it is clear that they are not its beginning."""
    lm, shown = tiny_llama, []
    row = Request("No", stop=("END",), max_new_tokens=50, ignore_eos=True).row(lm)
    for token in lm.tokenizer.encode(" an E. ENEND more", add_special_tokens=False):
        if row.finish_reason is None:
            row.accept(token, -1.0, [])
            shown.append(row.visible)
    assert " an E" not in shown and " an E. E" not in shown
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert shown[-1] == row.text == " an E. EN" and row.finish_reason == "stop"


def test_an_alpha_far_too_large_ends_its_row_only(lm: Model) -> None:
    """float32 overflows: "diverged", without the meaningless token, and the neighbors are what they are alone."""
    wild = (ActivationAddition(direction(), alpha=1e39),)
    rows = batch(lm, [TEXT, TEXT, PROMPTS[0]], [(), wild, ()], **LONG)
    assert (rows[1].finish_reason, rows[1].generated) == ("diverged", [])
    assert rows[0].generated == decode(lm, TEXT, **LONG).generated
    assert rows[2].generated == decode(lm, PROMPTS[0], **LONG).generated


# Text as it comes -----------------------------------------------------------------------------------------------------


def test_a_character_of_several_bytes_comes_whole(lm: Model) -> None:
    tokens = lm.tokenizer.encode("naïve 🙂 – ok", add_special_tokens=False)
    stream = TextStream(lm, lm.tokens("A"))
    pieces = [stream.push(token) for token in tokens]
    assert len(tokens) > len("naïve 🙂 – ok")
    assert "".join(pieces) + stream.rest() == "naïve 🙂 – ok"
    assert not any("�" in piece for piece in pieces)


def test_an_incomplete_character_comes_at_the_end(lm: Model) -> None:
    tokens = lm.tokenizer.encode("a🙂", add_special_tokens=False)[:-1]
    stream = TextStream(lm, lm.tokens("A"))
    pieces = [stream.push(token) for token in tokens]
    assert "".join(pieces) == "a"
    assert stream.rest() == lm.text([*lm.tokens("A"), *tokens])[2:]


def test_what_was_held_back_is_in_a_finished_rows_text(lm: Model) -> None:
    """A row whose length ends inside a character shows what there is of it, once nothing more can come."""
    tokens = lm.tokenizer.encode("a🙂", add_special_tokens=False)[:-1]
    row = Request("A", max_new_tokens=len(tokens)).row(lm)
    for token in tokens:
        assert row.text in ("", "a")
        row.accept(token, -1.0, [])
    assert row.finish_reason == "length" and row.text == lm.text([*row.prompt, *tokens])[1:] != "a"


def test_streamed_text_is_the_text_of_the_tokens(lm: Model) -> None:
    """Random tokens, among them bytes that are no text at all."""
    g = torch.Generator().manual_seed(0)
    for _ in range(10):
        prompt = lm.tokens("The cat")
        tokens = torch.randint(4, 300, (25,), generator=g).tolist()
        stream = TextStream(lm, prompt)
        found = "".join(stream.push(token) for token in tokens) + stream.rest()
        assert found == lm.text([*prompt, *tokens])[len(lm.text(prompt)) :]


# What is reported per token -------------------------------------------------------------------------------------------


def test_logprobs_and_alternatives_are_those_of_the_steered_logits(lm: Model) -> None:
    one = ActivationAddition(direction(), alpha=8.0)
    row = decode(lm, TEXT, (one,), max_new_tokens=4, ignore_eos=True, top_alternatives=3)
    table = logits_of(lm, [*row.prompt, *row.generated], (one,)).log_softmax(-1)
    for step, token in enumerate(row.generated):
        at = table[len(row.prompt) + step - 1]
        assert row.logprobs[step] == pytest.approx(float(at[token]), abs=1e-3)
        values, index = at.topk(3)
        assert [one for one, _ in row.alternatives[step]] == index.tolist()
        assert [p for _, p in row.alternatives[step]] == pytest.approx(values.tolist(), abs=1e-3)
    assert row.alternatives[0][0] == (row.generated[0], pytest.approx(row.logprobs[0]))


def test_logprobs_are_at_temperature_1(lm: Model) -> None:
    row = decode(lm, TEXT, temperature=3.0, seed=1, max_new_tokens=1)
    table = logits_of(lm, TEXT).log_softmax(-1)[-1]
    assert row.logprobs[0] == pytest.approx(float(table[row.generated[0]]), abs=1e-4)


# Scoring --------------------------------------------------------------------------------------------------------------


def scored(lm: Model, prompt: str, targets: list[int], variant: steered.Variant) -> Row:
    row = Request(prompt, variant).row(lm)
    row.targets = tuple(targets)
    return row


def test_scores_are_naive_log_probabilities(lm: Model) -> None:
    v = direction()
    cases = [(PROMPTS[0], [40, 50, 60]), (PROMPTS[2], [7]), (PROMPTS[1], [9, 9, 200, 30, 31])]
    rows, expected = [], []
    for prompt, targets in cases:
        first = int(lm.tokens(prompt)[0] == lm.tokenizer.bos_token_id)
        for alpha in (0.0, 6.0):
            rows.append(scored(lm, prompt, targets, (ActivationAddition(v, alpha=alpha),)))
            expected.append(
                naive.logprobs(
                    lm.hf,
                    lm.tokens(prompt),
                    targets,
                    1,
                    lambda h, a=alpha, f=first: addition.caa(h, v.vector, a, f),
                )
            )
    for found, wanted in zip(score(rows), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-3)


def test_scoring_a_completion_gives_its_logprobs(lm: Model, eight: list[steered.Variant]) -> None:
    rows = batch(lm, PROMPTS, eight, **LONG)
    again = [scored(lm, p, row.generated, v) for p, row, v in zip(PROMPTS, rows, eight, strict=True)]
    for row, one, logprobs in zip(rows, again, score(again), strict=True):
        assert logprobs == pytest.approx(row.logprobs, abs=1e-3)
        for receipt, decoded in zip(one.receipts(), row.receipts(), strict=True):
            # the last token is read here, and never in decoding
            assert receipt.positions[: len(decoded.positions)] == decoded.positions


def test_scoring_needs_targets(tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match="at least one target token in every row"):
        score([Request(TEXT).row(tiny_llama)])


# Traces ---------------------------------------------------------------------------------------------------------------


def test_a_trace_has_what_the_intervention_saw_and_what_went_on(lm: Model) -> None:
    """One number a token that was read: the prompt and all generated tokens but the last."""
    v = direction(norm=5.0, name="mine")
    row = decode(lm, TEXT, (ActivationAddition(v, alpha=2.0, start=3),), max_new_tokens=6, ignore_eos=True, record=[v])
    (trace,) = row.traces.values()
    n = len(row.prompt) + 5
    assert list(row.traces) == ["mine"] and len(trace.before) == len(trace.after) == n
    # the projection on the unit vector rises by alpha times the length, 10, from position 3 on
    assert [a - b for a, b in zip(trace.after, trace.before, strict=True)] == pytest.approx(
        [0.0] * 3 + [10.0] * (n - 3), abs=1e-3
    )
    h = lm.activations([[*row.prompt, *row.generated[:-1]]], [Site(1)])[0][Site(1)][0]
    unsteered = (h @ v.unit().vector).tolist()
    assert trace.before[:3] == pytest.approx(unsteered[:3], abs=1e-3)


def test_a_trace_in_feature_space_is_encode_times_v(lm: Model, family: str, sae_of: Callable[..., Sae]) -> None:
    v = direction(sae=sae_of("standard", family=family))
    row = decode(lm, TEXT, max_new_tokens=4, ignore_eos=True, record=[v])
    h = lm.activations([[*row.prompt, *row.generated[:-1]]], [v.site])[0][v.site][0]
    (trace,) = row.traces.values()
    assert trace.before == trace.after == pytest.approx((v.sae.encode(h) @ v.unit().vector).tolist(), abs=1e-3)


def test_traces_in_a_batch_are_those_alone(lm: Model, eight: list[steered.Variant]) -> None:
    """Padding is in none of them, and a shared prefill reads for every row."""
    records = [direction(Site(2), seed=30), direction(Site(0), seed=31)]
    for prompts in (PROMPTS, [TEXT] * 8):
        rows = batch(lm, prompts, eight, record=records, max_new_tokens=4, ignore_eos=True)
        for row, prompt, variant in zip(rows, prompts, eight, strict=True):
            alone = decode(lm, prompt, variant, record=records, max_new_tokens=4, ignore_eos=True)
            assert row.traces.keys() == alone.traces.keys() and len(row.traces) == 2
            for label, trace in row.traces.items():
                assert trace.after == pytest.approx(alone.traces[label].after, abs=1e-3)
                assert len(trace.before) == len(row.prompt) + 3


def test_two_directions_of_one_name_have_a_trace_each(lm: Model) -> None:
    records = [direction(Site(1), name="same"), direction(Site(2), name="same"), direction(Site(1), seed=4, name="own")]
    row = decode(lm, TEXT, max_new_tokens=3, ignore_eos=True, record=records)
    assert len(row.traces) == 3 and "own" in row.traces
    assert {len(trace.after) for trace in row.traces.values()} == {len(row.prompt) + 2}


def test_recording_changes_nothing(lm: Model) -> None:
    base = decode(lm, TEXT, **LONG)
    seen = decode(lm, TEXT, record=[direction(Site(layer)) for layer in range(4)], **LONG)
    assert (base.generated, base.logprobs) == (seen.generated, seen.logprobs)


# Unequal kinds in one place -------------------------------------------------------------------------------------------


def test_edits_of_one_kind_are_stacked_into_one_call(lm: Model, monkeypatch) -> None:
    """Eight additions, ablations and regulators at one site are one kind: one call a pass, not eight."""
    from steering.interventions.edits import RankOne

    calls: list[int] = []
    original = RankOne.__call__
    monkeypatch.setattr(RankOne, "__call__", lambda self, h, p: calls.append(h.shape[0]) or original(self, h, p))
    v = direction()
    kinds = [ActivationAddition(v, 3.0), DirectionalAblation(v), ThresholdRegulator(v, 1.0, 2.0), ActivationAddition(v)]
    batch(lm, PROMPTS[:4], [(one,) for one in kinds], max_new_tokens=3, ignore_eos=True)
    assert calls == [4, 4, 4]  # the prompts' pass and two steps


def test_actadds_of_unequal_length_are_stacked(lm: Model) -> None:
    variants = [(ActAdd(torch.randn(k, 32) * 2, Site(1), start=s),) for k, s in ((2, 0), (6, 1), (3, 4))]
    rows = batch(lm, PROMPTS[1:4], variants, **LONG)
    for row, prompt, variant in zip(rows, PROMPTS[1:4], variants, strict=True):
        assert row.generated == decode(lm, prompt, variant, **LONG).generated
