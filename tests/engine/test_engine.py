"""The engine: many threads, one model; a row that fails or is cancelled disturbs no other, and rows are remembered."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import steered_rows as steered
import torch
from steered_rows import PROMPTS, TEXT, decode, direction, hooks_on, logits_of

from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.interventions import ActivationAddition, AngularSteering, Conditional, Intervention, ThresholdRegulator
from steering.interventions.protocol import Effect, Placement
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

SHORT = {"max_new_tokens": 8, "ignore_eos": True}
STRONG = (ActivationAddition(direction(), alpha=9.0),)


@pytest.fixture
def engine(tiny_llama: Model) -> Iterator[Engine]:
    with Engine(tiny_llama) as engine:
        yield engine


@dataclass(frozen=True, eq=False)
class Calls(Intervention):
    """Calls a function with the number of the pass, on the engine's thread, in the middle of the pass."""

    direction: Direction
    what: Callable[[int], None]

    def placements(self, model: Model) -> list[Placement]:
        return [Placement(self.direction.site, CallingEdit(self.what))]


class CallingEdit:
    has_threshold = False

    def __init__(self, what: Callable[[int], None]) -> None:
        self.what, self.passes = what, 0

    @property
    def kind(self) -> object:
        return id(self)

    @classmethod
    def stack(cls, edits: list[CallingEdit]) -> CallingEdit:
        return edits[0]

    def __call__(self, h: torch.Tensor, positions: torch.Tensor) -> Effect:
        self.passes += 1
        self.what(self.passes)
        return Effect(h, torch.zeros(h.shape[:2]))


def calling(what: Callable[[int], None]) -> tuple[Calls]:
    return (Calls(direction(), what),)


def fail(after: int) -> Callable[[int], None]:
    def what(passes: int) -> None:
        if passes > after:
            raise RuntimeError("a mistake in an intervention")

    return what


# The same as alone ----------------------------------------------------------------------------------------------------


def test_twenty_threads_at_once_get_what_they_would_have_got_alone(lm: Model, family: str, sae_of: Callable) -> None:
    methods = list(steered.every_method(lm, sae_of("standard", family=family)).values())[:20]
    requests = [
        Request(PROMPTS[i % 8], variant, temperature=float(i % 2), seed=i, max_new_tokens=4 + i % 5, ignore_eos=True)
        for i, variant in enumerate(methods)
    ]
    gate = threading.Barrier(20)
    with Engine(lm, max_rows=8) as engine, ThreadPoolExecutor(20) as pool:

        def ask(request: Request) -> list[int]:
            gate.wait(30)
            return engine.submit(request).result(120).tokens

        found = list(pool.map(ask, requests))
        assert engine.busy == (0, 0)
    for request, tokens in zip(requests, found, strict=True):
        options = {name: getattr(request, name) for name in ("temperature", "seed", "max_new_tokens", "ignore_eos")}
        assert tokens == decode(lm, request.prompt, request.interventions, **options).generated
    assert hooks_on(lm) == 0


def test_more_rows_than_fit_wait_and_join(lm: Model) -> None:
    with Engine(lm, max_rows=3) as engine:
        handles = engine.submit_all([Request(p, STRONG, **SHORT) for p in PROMPTS])
        for handle, prompt in zip(handles, PROMPTS, strict=True):
            assert handle.result(60).tokens == decode(lm, prompt, STRONG, **SHORT).generated


def test_generate_is_a_completion_for_each_sample_and_variant(engine: Engine, tiny_llama: Model) -> None:
    completions = engine.generate(TEXT, [(), STRONG], samples=2, temperature=1.0, seed=4, **SHORT)
    expected = [
        decode(tiny_llama, TEXT, variant, temperature=1.0, seed=4, sample=sample, **SHORT).generated
        for sample in (0, 1)
        for variant in ((), STRONG)
    ]
    assert [one.tokens for one in completions] == expected
    assert all(one.done and one.finish_reason == "length" for one in completions)
    assert completions[0].prompt_tokens == tiny_llama.tokens(TEXT)


def test_a_prompt_is_text_or_messages_or_tokens(tiny_gemma2: Model) -> None:
    messages = [{"role": "user", "content": "Is 7 plus 5 equal to 13?"}]
    with Engine(tiny_gemma2) as engine:
        (one,) = engine.generate(messages, **SHORT)
        (other,) = engine.generate(tiny_gemma2.tokens(messages), **SHORT)
        assert one.tokens == other.tokens and one.prompt_tokens == tiny_gemma2.tokens(messages)


# Streaming ------------------------------------------------------------------------------------------------------------


def test_pieces_join_to_the_text(engine: Engine) -> None:
    handle = engine.submit(Request(TEXT, STRONG, max_new_tokens=20, ignore_eos=True))
    assert "".join(handle) == handle.text and handle.done
    assert "".join(handle) == handle.text  # again, from the beginning


def test_a_stop_text_is_never_streamed(engine: Engine) -> None:
    whole = engine.submit(Request(TEXT, **SHORT)).result(60).text
    stop = whole[3:6]
    seen = "".join(engine.submit(Request(TEXT, stop=(stop,), **SHORT)))
    assert seen == whole[: whole.find(stop)] and stop not in seen


def test_waiting_has_an_end(engine: Engine) -> None:
    held = threading.Event()
    handle = engine.submit(Request(TEXT, calling(lambda passes: held.wait(30) and None), max_new_tokens=2))
    with pytest.raises(TimeoutError, match="not finished after 0.01 s"):
        handle.result(0.01)
    assert not handle.done and "under way" in repr(handle)
    held.set()
    handle.result(60)


# Cancelling -----------------------------------------------------------------------------------------------------------


def test_a_cancel_takes_effect_within_one_step(engine: Engine, tiny_llama: Model) -> None:
    """Cancelled in the middle of its third pass: that pass still gives a token, and then it is over."""
    box: list = []
    ready = threading.Event()

    def what(passes: int) -> None:
        ready.wait(30)
        if passes == 3:
            box[0].cancel()

    others = [Request(p, STRONG, **SHORT) for p in PROMPTS[:3]]
    handles = engine.submit_all([Request(TEXT, calling(what), max_new_tokens=60, ignore_eos=True), *others])
    box.append(handles[0])
    ready.set()
    assert handles[0].result(60).finish_reason == "cancelled"
    assert len(handles[0].tokens) == 3 and handles[0].receipts[0].tokens > 0
    assert handles[0].tokens == decode(tiny_llama, TEXT, **SHORT).generated[:3]
    for handle, request in zip(handles[1:], others, strict=True):
        assert handle.result(60).tokens == decode(tiny_llama, request.prompt, STRONG, **SHORT).generated
    assert hooks_on(tiny_llama) == 0


def test_a_row_that_waits_is_cancelled_before_it_begins(tiny_llama: Model) -> None:
    held = threading.Event()
    with Engine(tiny_llama, max_rows=1) as engine:
        first = engine.submit(Request(TEXT, calling(lambda passes: held.wait(30) and None), max_new_tokens=2))
        second = engine.submit(Request(TEXT, **SHORT))
        second.cancel()
        held.set()
        assert second.result(60).finish_reason == "cancelled" and second.tokens == []
        assert first.result(60).finish_reason in ("length", "eos")


def test_a_cancelled_row_is_not_remembered(engine: Engine) -> None:
    """Cancelled while it was decoded; asked again, it is decoded to its end."""
    box: list = []
    ready = threading.Event()

    def what(passes: int) -> None:
        ready.wait(30)
        if passes == 3:
            box[0].cancel()

    request = Request(TEXT, calling(what), **SHORT)
    box.append(engine.submit(request))
    ready.set()
    assert box[0].result(60).finish_reason == "cancelled"
    again = engine.submit(request).result(60)
    assert not again.remembered and again.finish_reason == "length"


# Failing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_intervention_that_raises_fails_alone(after: int, lm: Model) -> None:
    """In the prompt's pass, in the first step, in a later one: the others go on as if it had never been there."""
    before = logits_of(lm, TEXT)
    options = {"temperature": 1.0, "seed": 2, **SHORT}
    with Engine(lm) as engine:
        good = [
            Request(p, v, record=[direction()], **options) for p, v in zip(PROMPTS[:4], ((), STRONG) * 2, strict=True)
        ]
        bad = Request(PROMPTS[1], calling(fail(after)), **options)
        handles = engine.submit_all([*good[:2], bad, *good[2:]])
        with pytest.raises(RuntimeError, match="a mistake in an intervention"):
            handles[2].result(60)
        with pytest.raises(RuntimeError, match="a mistake in an intervention"):
            list(handles[2])
        assert handles[2].finish_reason == "error" and handles[2].done
        for handle, request in zip([*handles[:2], *handles[3:]], good, strict=True):
            alone = decode(lm, request.prompt, request.interventions, record=[direction()], **options)
            assert handle.result(60).tokens == alone.generated
            assert [r.positions for r in handle.receipts] == [r.positions for r in alone.receipts()]
            (trace,), (expected,) = handle.projections.values(), alone.traces.values()
            assert trace.after == pytest.approx(expected.after, abs=1e-3)
        (after_it,) = engine.generate(PROMPTS[5], [STRONG], **SHORT)
        assert after_it.tokens == decode(lm, PROMPTS[5], STRONG, **SHORT).generated
    assert hooks_on(lm) == 0 and torch.equal(logits_of(lm, TEXT), before)


def test_a_row_that_finished_beside_a_failure_keeps_its_receipt(engine: Engine, tiny_llama: Model) -> None:
    """The cached row takes its last token in the very step in which the uncached one fails."""
    good = Request(TEXT, STRONG, max_new_tokens=3, ignore_eos=True)
    bad = Request(PROMPTS[1], calling(fail(2)), cached=False, **SHORT)
    handles = engine.submit_all([good, bad])
    with pytest.raises(RuntimeError):
        handles[1].result(60)
    expected = decode(tiny_llama, TEXT, STRONG, max_new_tokens=3, ignore_eos=True)
    assert handles[0].result(60).receipts[0].positions == expected.receipts()[0].positions


def test_work_on_the_engines_thread_carries_its_error(engine: Engine) -> None:
    assert engine.call(lambda: threading.current_thread().name).startswith("engine:")
    assert engine.call(lambda: engine.call(lambda: 3)) == 3  # from its own thread, without waiting for itself
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 // 0)
    assert engine.generate(TEXT, **SHORT)[0].done


# Remembering ----------------------------------------------------------------------------------------------------------


def test_moving_one_slider_decodes_one_row(engine: Engine) -> None:
    v = direction(norm=2.0)

    def variants(alpha: float) -> list:
        moved = [(ActivationAddition(v, alpha=a),) for a in (1.0, 2.0, 3.0, 4.0, 5.0)]
        return [(), *moved, (ThresholdRegulator(v, 1.0, 2.0),), (ActivationAddition(v, alpha=alpha),)]

    first = engine.generate(TEXT, variants(6.0), **SHORT)
    assert engine.decoded_rows == 8 and not any(one.remembered for one in first)
    second = engine.generate(TEXT, variants(6.5), **SHORT)
    assert engine.decoded_rows == 9
    assert [one.remembered for one in second] == [True] * 7 + [False]
    assert [one.tokens for one in second[:7]] == [one.tokens for one in first[:7]]
    assert [one.receipts for one in second[:7]] == [one.receipts for one in first[:7]]
    engine.generate(TEXT, variants(6.0), **SHORT)
    assert engine.decoded_rows == 9


def test_whatever_matters_is_part_of_what_is_remembered(engine: Engine) -> None:
    base = {"prompt": TEXT, "interventions": STRONG, "max_new_tokens": 2, "ignore_eos": True}
    changes = [
        {},
        {"prompt": PROMPTS[0]},
        {"interventions": ()},
        {"interventions": (ActivationAddition(direction(), alpha=9.0, where="prompt"),)},
        {"interventions": STRONG * 2},
        {"max_new_tokens": 3},
        {"temperature": 1.0},
        {"temperature": 1.0, "seed": 1},
        {"temperature": 1.0, "sample": 1},
        {"temperature": 1.0, "top_p": 0.5},
        {"stop": ("zzz",)},
        {"record": (direction(),)},
        {"steer_bos": True},
        {"ignore_eos": False},
        {"top_alternatives": 2},
        {"cached": False},
    ]
    for count, change in enumerate(changes, 1):
        assert not engine.submit(Request(**{**base, **change})).result(60).remembered, change
        assert engine.decoded_rows == count
    for change in changes:
        assert engine.submit(Request(**{**base, **change})).result(60).remembered, change


def test_the_oldest_is_forgotten(tiny_llama: Model) -> None:
    with Engine(tiny_llama, remember=2) as engine:
        for prompt in PROMPTS[:3]:
            engine.generate(prompt, max_new_tokens=1)
        assert engine.submit(Request(PROMPTS[2], max_new_tokens=1)).remembered
        assert not engine.submit(Request(PROMPTS[0], max_new_tokens=1)).result(60).remembered


# Recording, checking, scoring -----------------------------------------------------------------------------------------


def test_a_site_records_every_direction_that_is_used_there(engine: Engine) -> None:
    """Those of all variants, in every variant, also inside a condition; and none of another site."""
    a, b, elsewhere = direction(name="a"), direction(seed=1, name="b"), direction(Site(2), name="elsewhere")
    c, d = direction(seed=2, name="c"), direction(seed=3, name="d")
    variants = [(), (ActivationAddition(a), ActivationAddition(elsewhere)), (AngularSteering(b, c),)]
    variants.append((Conditional(d, 0.0, ActivationAddition(a, alpha=2.0)),))
    for one in engine.generate(TEXT, variants, record=[Site(1)], max_new_tokens=2):
        assert set(one.projections) == {"a", "b", "c", "d"}


def test_the_cache_check_agrees_and_notices(engine: Engine, tiny_llama: Model, sae_of: Callable[..., Sae]) -> None:
    methods = steered.every_method(tiny_llama, sae_of("standard"))
    for name, variant in methods.items():
        if name != "sara, recomputed":
            (one,) = engine.generate(TEXT, [variant], max_new_tokens=4, ignore_eos=True)
            assert engine.check(one).agrees, name
    one._row.logprobs[2] += 0.1
    check = engine.check(one)
    assert not check.agrees and check.max_difference == pytest.approx(0.1, abs=1e-2)


def test_scores_are_those_of_the_completion(engine: Engine) -> None:
    (base,) = engine.generate(TEXT, **SHORT)
    own, other = engine.score(TEXT, base.tokens, [(), STRONG])
    assert own == pytest.approx(base.logprobs, abs=1e-3) and other != pytest.approx(own, abs=0.1)
    (text,) = engine.score(TEXT, " the dog")
    assert len(text) == len(engine.model.tokenizer.encode(" the dog", add_special_tokens=False))


def test_many_scores_in_several_batches(tiny_llama: Model) -> None:
    items = [(PROMPTS[i % 8], [5 + i, 9], STRONG if i % 2 else ()) for i in range(10)]
    with Engine(tiny_llama, max_rows=4) as engine:
        together = engine.score_all(items)
        for one, item in zip(together, items, strict=True):
            assert one == pytest.approx(engine.score_all([item])[0], abs=1e-4)


# Bad input and the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(""), "at least one character; got an empty text"),
        (Request([]), "at least one token; got none"),
        (Request([{"role": "user", "content": "hi"}]), "Chat messages need a chat template"),
        (Request("The cat " * 200), r"reads at most 128 tokens and needs room for one more; the prompt has \d+"),
        (Request([5, 9999]), "run from 0 to 303; got 9999"),
        (Request(TEXT, max_new_tokens=0), "max_new_tokens is an integer from 1 on; got 0"),
        (Request(TEXT, max_new_tokens=2.5), "max_new_tokens is an integer from 1 on; got 2.5"),
        (Request(TEXT, top_alternatives=-1), "top_alternatives is an integer from 0 on; got -1"),
        (Request(TEXT, temperature=-1.0), "temperature is a finite number from 0"),
        (Request(TEXT, top_p=0.0), "top_p is a probability above 0"),
        (Request(TEXT, stop="END"), "stop is a sequence of texts"),
        (Request(TEXT, stop=("",)), "stop is a sequence of texts, none of them empty"),
        (Request(TEXT, (direction(),)), "A variant is a sequence of interventions; got"),
        (Request(TEXT, (ActivationAddition(direction(Site(9))),)), "has layers 0 to 3; got layer 9"),
        (Request(TEXT, (ActivationAddition(direction(width=16)),)), "16"),
        (Request(TEXT, record=[Site(7)]), "has layers 0 to 3; got layer 7"),
        (Request(TEXT, record=[direction(Site(6))]), "has layers 0 to 3; got layer 6"),
    ],
)
def test_a_bad_request_is_one_clear_error_where_it_is_made(request_: Request, message: str, engine: Engine) -> None:
    with pytest.raises(ValueError, match=message):
        engine.submit(request_)
    assert engine.busy == (0, 0)


def test_a_continuation_must_be_there_and_fit(engine: Engine) -> None:
    with pytest.raises(ValueError, match="A continuation holds at least one token; got ''"):
        engine.score(TEXT, "")
    with pytest.raises(ValueError, match=r"Prompt and continuation together are at most 128 tokens; got \d+ and 200"):
        engine.score(TEXT, [5] * 200)


def test_a_closed_engine_says_so(tiny_llama: Model) -> None:
    engine = Engine(tiny_llama)
    engine.close()
    engine.close()
    for ask in (lambda: engine.submit(Request(TEXT)), lambda: engine.call(lambda: 1), lambda: engine.generate(TEXT)):
        with pytest.raises(ValueError, match="This engine is closed"):
            ask()


def test_closing_cancels_what_is_under_way(tiny_llama: Model) -> None:
    begun, held = threading.Event(), threading.Event()

    def what(passes: int) -> None:
        begun.set()
        held.wait(30)

    engine = Engine(tiny_llama, max_rows=1)
    handles = [engine.submit(Request(TEXT, calling(what), max_new_tokens=60, ignore_eos=True)) for _ in range(2)]
    begun.wait(30)
    closing = threading.Thread(target=engine.close)
    closing.start()
    while not engine._closed:
        begun.wait(0)
    held.set()
    closing.join(60)
    assert [handle.result(60).finish_reason for handle in handles] == ["cancelled", "cancelled"]
    assert hooks_on(tiny_llama) == 0


def test_a_process_that_never_closes_its_engine_ends_cleanly(checkpoint: Callable[[str], Path]) -> None:
    script = (
        "import sys, steering as t\n"
        "engine = t.Engine(t.load_model(sys.argv[1]))\n"
        "handle = engine.submit(t.Request('The cat', max_new_tokens=100, ignore_eos=True))\n"
        "handle.wait(0)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(checkpoint("llama"))], capture_output=True, text=True)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr


def test_rows_that_want_no_alternatives_stand_beside_rows_that_do(engine: Engine) -> None:
    none, three = engine.submit_all([Request(TEXT, top_alternatives=k, **SHORT) for k in (0, 3)])
    assert none.result().tokens == three.result().tokens
    assert all(step == [] for step in none.alternatives) and all(len(step) == 3 for step in three.alternatives)
    (alone,) = engine.submit_all([Request("the cat", top_alternatives=0, **SHORT)])
    assert len(alone.result().alternatives) == len(alone.tokens)
