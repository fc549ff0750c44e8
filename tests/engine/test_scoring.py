"""Scoring in pieces: bounded logits, the same numbers however it is cut, others in between, and a stop obeyed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest
import tiny_models as tiny
import torch
from steered_rows import PROMPTS, SITE, TEXT, direction

from steering.engine import engine as engine_module
from steering.engine import scoring
from steering.engine.decoding import Decoder
from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.engine.scoring import batches, rows_of, score, target_logits, tolerance
from steering.interventions import ActivationAddition, DirectionalAblation, Sara
from steering.jobs.jobs import Cancelled, Job, Jobs
from steering.models.caching.cache import RowCache
from steering.models.loading import load_model
from steering.models.model import Model
from steering.sites import Site

STRONG = (ActivationAddition(direction(), alpha=9.0),)
EVERYWHERE = (DirectionalAblation(direction(), everywhere=True),)
ITEMS = [(PROMPTS[i % 8], [5 + i, 9, *range(20, 20 + i % 5)], ((), STRONG, EVERYWHERE)[i % 3]) for i in range(18)]


def logit_bytes(lm: Model, work: Callable[[], object]) -> int:
    """The bytes of the largest logits that the model gave while something was done."""
    sizes: list[int] = []
    head = lm.hf.get_output_embeddings()  # type: ignore[operator]
    handle = head.register_forward_hook(lambda module, args, out: sizes.append(4 * out.numel()))
    try:
        work()
    finally:
        handle.remove()
    return max(sizes)


def test_only_the_logits_that_are_scored_are_asked_for(tiny_llama: Model) -> None:
    rows = rows_of(tiny_llama, [(TEXT, [7, 9], ()), (TEXT, [8], STRONG), (PROMPTS[2], [5, 6, 7], ())])
    assert logit_bytes(tiny_llama, lambda: score(rows)) <= 4 * 3 * (3 + 1) * tiny_llama.d_vocab


def test_logits_stay_within_their_bound_and_the_scores_are_the_same(
    tiny_llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score(rows_of(tiny_llama, ITEMS))
    for positions in (8, 2):  # eight positions in all at a time, and a row of its own in several parts
        monkeypatch.setattr(scoring, "LOGIT_BYTES", 4 * positions * tiny_llama.d_vocab)
        rows = rows_of(tiny_llama, ITEMS)
        found: list[list[list[float]]] = []
        assert logit_bytes(tiny_llama, lambda rows=rows, found=found: found.append(score(rows))) <= scoring.LOGIT_BYTES
        for a, b in zip(whole, found[0], strict=True):
            assert a == pytest.approx(b, abs=1e-4)
        assert all(receipt.agrees for row in rows for receipt in row.receipts())


def test_pieces_are_bounded_and_the_same_every_time(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(tiny_llama), "piece_tokens", 64)
    rows = rows_of(tiny_llama, ITEMS)
    parts = list(batches(rows))
    assert parts == list(batches(rows_of(tiny_llama, ITEMS))) and sorted(n for part in parts for n in part) == list(
        range(len(rows))
    )
    for part in parts:
        assert len(part) == 1 or len(part) * max(len(rows[number].sequence) for number in part) <= 64


def test_targets_are_predicted_by_what_stands_before_them(tiny_llama: Model) -> None:
    (row,) = rows_of(tiny_llama, [(TEXT, [7, 9, 11], ())])
    ((number, logits),) = target_logits([row])
    whole = tiny_llama.forward(torch.tensor([row.sequence]))[0]
    assert number == 0 and torch.allclose(logits, whole[-4:-1], atol=1e-5)


def test_numbers_that_overflow_are_reported_and_not_scored(tiny_llama: Model) -> None:
    wild = (ActivationAddition(direction(), alpha=1e39),)
    items = [(TEXT, [7, 9], ()), (TEXT, [7, 9], wild)]
    with pytest.raises(ValueError, match=r"overflow in float32 .* Steer less\.$"):
        score(rows_of(tiny_llama, items))
    assert score(rows_of(tiny_llama, items[:1]))
    with Engine(tiny_llama) as engine, pytest.raises(ValueError, match="overflow in float32"):
        engine.score_all(items)


def test_a_cancelled_job_stops_between_two_pieces(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(tiny_llama), "piece_tokens", 1)
    jobs, passes, begun, go_on = Jobs(), [], threading.Event(), threading.Event()
    forward = Model.forward

    def counted(self: Model, *args: object, **options: object) -> object:
        passes.append(1)
        begun.set()
        go_on.wait(10)
        return forward(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "forward", counted)
    with Engine(tiny_llama) as engine:
        job = jobs.start("scores", lambda job: engine.score_all([(TEXT, [5, 6], ())] * 3 + ITEMS))
        assert begun.wait(10)
        job.cancel()
        assert job.state == "stopping"
        go_on.set()
        with pytest.raises(Cancelled):
            job.result(30)
        assert len(passes) == 1
    jobs.close()


def test_a_cancelled_job_cancels_the_rows_that_it_waits_for(tiny_llama: Model) -> None:
    jobs, asked = Jobs(), threading.Event()
    with Engine(tiny_llama) as engine, tiny_llama.lock:  # the rows cannot begin

        def work(job: Job) -> None:
            handle = engine.submit(Request(TEXT, max_new_tokens=60, ignore_eos=True))
            handles.append(handle)
            asked.set()
            handle.result()

        handles: list = []
        job = jobs.start("waits", work)
        assert asked.wait(10)
        job.cancel()
        with pytest.raises(Cancelled):
            job.result(30)
        assert handles[0].in_job and handles[0]._cancelled
    jobs.close()


@pytest.mark.parametrize("a_job_asks", [True, False])
def test_a_stream_waits_for_peoples_prompts_and_not_for_a_jobs(
    tiny_llama: Model, monkeypatch, a_job_asks: bool
) -> None:
    """With time without end for new prompts, people's are all read before the next step, and a job's one a step."""
    order: list[str] = []
    for name in ("add", "step"):
        own = getattr(Decoder, name)
        monkeypatch.setattr(Decoder, name, lambda *given, own=own, name=name: (order.append(name), own(*given))[1])
    monkeypatch.setattr(engine_module, "BEGINNING", math.inf)
    monkeypatch.setattr(tiny_llama, "piece_tokens", 1)  # one prompt a pass
    jobs = Jobs()
    more = [Request(f"{TEXT} {k}", max_new_tokens=2, ignore_eos=True) for k in range(4)]
    with Engine(tiny_llama) as engine:
        with tiny_llama.lock:
            first = engine.submit(Request(TEXT, max_new_tokens=12, ignore_eos=True))
            if a_job_asks:
                job = jobs.start("asks", lambda job: engine.submit_all(more))
                others = job.result(10)
            else:
                others = engine.submit_all(more)
        for handle in (first, *others):
            handle.result()
    jobs.close()
    joined = "".join("a" if name == "add" else "s" for name in order)
    assert joined.count("a") == 5
    assert ("aa" not in joined) if a_job_asks else ("aaaa" in joined)


def test_a_persons_rows_are_let_in_before_a_jobs(tiny_llama: Model) -> None:
    """Though the job's were there first and fill the batch."""
    jobs, order, asked = Jobs(), [], threading.Event()
    with Engine(tiny_llama, max_rows=2) as engine:

        def work(job: Job) -> list:
            found = engine.submit_all([Request(p, max_new_tokens=8, ignore_eos=True) for p in PROMPTS])
            asked.set()
            return found

        with tiny_llama.lock:
            job = jobs.start("many", work)
            assert asked.wait(10)
            mine = engine.submit(Request(TEXT, max_new_tokens=3, ignore_eos=True))
        threads = [threading.Thread(target=lambda h=h: order.append(h.result(60))) for h in (mine, *job.result(30))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert order.index(mine) <= 2 and len(order) == 9  # at most the two that had begun were before it
    jobs.close()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cache_check_allows_the_rounding_of_the_dtype_and_no_more(
    dtype: torch.dtype, checkpoint: Callable[[str], object]
) -> None:
    half = load_model(checkpoint("llama"), device="cpu", dtype=dtype, threads=1)
    with Engine(half) as engine:
        for variant in ((), STRONG, EVERYWHERE):
            (one,) = engine.generate(TEXT, [variant], max_new_tokens=12, ignore_eos=True)
            assert engine.check(one).agrees
        one._row.logprobs[2] += 3 * tolerance(dtype, one.logprobs[2])
        check = engine.check(one)
        assert not check.agrees and check.max_difference > check.tolerance
    assert tolerance(torch.float32, -5.0) == 1e-3 < tolerance(torch.float16, 0.0) < tolerance(torch.bfloat16, 0.0) < 0.5


# What items have in common is read once -------------------------------------------------------------------------------

SHOTS = "Question: what is the best way to steer a model? Answer: (A) with a vector (B) with a prompt"
ASKED = [f"{SHOTS} {question}" for question in ("Is 7 plus 5 equal to 13?", "I love you, of course!", "The dog sat")]
WAYS = [
    (),
    STRONG,
    EVERYWHERE,
    (ActivationAddition(direction(Site(2, "attn_out")), alpha=5.0, where="prompt"),),
    (ActivationAddition(direction(Site(0)), alpha=5.0, where="generated"), *STRONG),
    (ActivationAddition(direction(Site(1, "resid_mid"), seed=3), alpha=5.0, where="from_last", start=9),),
]
BEGUN_ALIKE = [(prompt, [5, 9 + i, *range(20, 20 + i)], way) for prompt in ASKED for i in range(3) for way in WAYS]


def tokens_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each pass of a model reads from now on."""
    read: list[int] = []
    forward = Model.forward

    def counted(self: Model, tokens: torch.Tensor, **options: object) -> object:
        read.append(tokens.numel())
        return forward(self, tokens, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "forward", counted)
    return read


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("piece", [64, 4096])
def test_items_that_begin_alike_score_as_they_do_alone(
    family: str, piece: int, model: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores and receipts, whatever is done to the beginning, in batches of one beginning and of several."""
    lm = model(family)
    monkeypatch.setitem(vars(lm), "piece_tokens", piece)
    ways = [way for way in WAYS if all(one.direction.site.stream in lm.streams for one in way)]
    items = [item for item in BEGUN_ALIKE if item[2] in ways]
    rows, alone = rows_of(lm, items), [rows_of(lm, [item])[0] for item in items]
    together = score(rows)
    for row, lone, mine in zip(rows, alone, together, strict=True):
        assert mine == pytest.approx(score([lone])[0], abs=2e-4)
        for receipt, other in zip(row.receipts(), lone.receipts(), strict=True):
            assert receipt.agrees and receipt.positions == other.positions and receipt.sites == other.sites
            assert receipt.expected == pytest.approx(other.expected, rel=1e-4, abs=1e-4)
            assert receipt.measured == pytest.approx(other.measured, rel=1e-3, abs=1e-3)


def test_what_items_have_in_common_is_read_once(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [(prompt, [5, 9 + i], EVERYWHERE) for prompt in ASKED for i in range(4)]
    score(rows_of(tiny_llama, items[:2]))  # asks once whether the family can
    read = tokens_read(monkeypatch)
    score(rows_of(tiny_llama, items))
    prompts = [tiny_llama.tokens(prompt) for prompt in ASKED]
    shared = next(n for n, column in enumerate(zip(*prompts, strict=False)) if len(set(column)) > 1)
    # The shots once, the rest of each question once, and for each option the question's last token and two more; in
    # a batch some tokens of the shorter beginnings are read again.
    once = shared + sum(len(prompt) - 1 - shared for prompt in prompts) + len(items) * 3
    assert once <= sum(read) <= 1.3 * once < 0.5 * sum(len(row.sequence) for row in rows_of(tiny_llama, items))


def test_what_waits_for_the_whole_prompt_is_not_read_apart(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [direction(seed=seed, norm=6.0).vector.repeat(6, 1) for seed in (1, 2)]
    sara = (Sara(texts[0], texts[1], SITE),)
    items = [(prompt, [5, 9 + i], sara) for prompt in ASKED for i in range(2)]
    rows = rows_of(tiny_llama, items)
    read = tokens_read(monkeypatch)
    together = score(rows)
    assert sum(read) >= sum(len(row.sequence) for row in rows)
    for mine, item in zip(together, items, strict=True):
        assert mine == pytest.approx(score(rows_of(tiny_llama, [item]))[0], abs=1e-4)


def test_keys_and_values_stay_within_their_bound(tiny_llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    begin = RowCache.begin

    def counted(self: RowCache, *args: object) -> None:
        begin(self, *args)  # type: ignore[arg-type]
        kept.append(self.layers[0].keys.shape[0] * self.layers[0].keys.shape[2])  # type: ignore[union-attr]

    monkeypatch.setattr(RowCache, "begin", counted)
    monkeypatch.setattr(scoring, "CACHE_BYTES", 200 * 2 * 4 * 2 * 8 * 4)  # 200 tokens of four layers of two heads
    items = [(prompt, [5, 9 + i], ()) for prompt in ASKED for i in range(12)]
    score(rows_of(tiny_llama, items))
    assert kept and max(kept) <= 200
