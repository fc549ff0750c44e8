"""Trials: every arm on every item, decoded in full batches, paired by seed, resumable.

A trial is one arm, one item, one sample. All arms of an item are neighbors in the batch: they share the prompt's pass
up to the first steered layer, and their sampling noise.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, TypeVar

from ..engine.completion import Completion
from ..engine.engine import Engine
from ..engine.receipts import check
from ..engine.requests import Request
from ..interventions.protocol import fingerprint
from ..jobs.checkpoint import Checkpoint
from ..measurements.numbers import repetition
from ..models.model import Model, Prompt
from ..models.passages import choices
from ..showing.one_line import one_line, quoted
from .arms import Arm, check_arms
from .scoring import measure
from .scoring.items import Item
from .scoring.measure import score_all
from .sets.sets import EvaluationSet, unique

T = TypeVar("T")
Tick = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Settings:
    """How answers are made.

    Attributes:
        samples: answers per item and arm; more than one only makes sense above temperature 0.
        chat: put items through the chat template; None means where the model has one.
        in_flight: rows handed to the engine at a time; with fewer, other visitors wait less.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    samples: int = 1
    stop: tuple[str, ...] = ()
    chat: bool | None = None
    in_flight: int = 192

    def __post_init__(self) -> None:
        if self.samples < 1 or (self.samples > 1 and self.temperature == 0):
            raise ValueError(
                f"samples is 1 or more, and 1 at temperature 0, where all would be equal; got {self.samples} "
                f"at temperature {self.temperature:g}."
            )


class Trial(NamedTuple):
    """One arm, one item, one sample, and the key under which its outcome is kept."""

    key: str
    arm: Arm
    set: EvaluationSet
    item: Item
    index: int
    sample: int


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial, as plain data.

    Attributes:
        item: the number of the item in its set.
        measures: the scorer's numbers, and of texts: tokens, repetition, surprise (mean -log p a token under the
            unsteered model), shift (mean shift a steered token) and fired (share of tokens a threshold caught).
    """

    arm: str
    set: str
    item: int
    sample: int
    text: str = ""
    finish: str = ""
    measures: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={value:.3g}" for name, value in self.measures.items())
        place = f"item {self.item} of {quoted(self.set, 40)}"
        return one_line(self, quoted(self.arm, 40), place, self.text and quoted(self.text), numbers)


def plan(model: Model, sets: Sequence[EvaluationSet], arms: Sequence[Arm], settings: Settings) -> list[Trial]:
    """Every trial, in the order of the table: sets, items, samples, arms."""
    check_arms(arms)
    unique(sets)
    found = []
    how = repr(asdict(settings) | {"in_flight": 0})
    done_by = {arm.name: arm.fingerprint for arm in arms}
    for one in sets:
        text = one.scorer.needs == "text"
        for index, item in enumerate(one):
            asked = [model.fingerprint, item.id, repr(one.scorer), how]
            for sample in range(settings.samples if text else 1):
                for arm in arms:
                    key = fingerprint([*asked, done_by[arm.name], sample])
                    found.append(Trial(key, arm, one, item, index, sample))
    return found


def run(
    engine: Engine,
    sets: Sequence[EvaluationSet],
    arms: Sequence[Arm],
    settings: Settings | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    tick: Tick | None = None,
    outcomes: list[Outcome] | None = None,
) -> list[Outcome]:
    """The outcomes of all trials, in the order of `plan`.

    Args:
        checkpoint: outcomes known from an earlier run are taken from it, new ones added as they come.
        tick: called with (done, total, what is going on); raising from it stops the run, and what is done stays.
        outcomes: a list that grows as outcomes come, for showing them.

    Raises:
        ValueError: repeated names, no baseline, an item that the model cannot read, a failed row, or a row whose
            receipt disagrees: what it says is not what the arm does.
    """
    settings = settings or Settings()
    checkpoint = Checkpoint() if checkpoint is None else checkpoint  # an empty one has length 0
    trials = plan(engine.model, sets, arms, settings)
    todo = list({t.key: t for t in trials if checkpoint.get(t.key) is None}.values())
    done = len(trials) - len(todo)
    if outcomes is not None:
        outcomes.extend(_outcome(t, checkpoint) for t in trials if checkpoint.get(t.key) is not None)
    report = tick or (lambda done, total, note: None)
    report(done, len(trials), "starting")
    by_need = {need: [t for t in todo if t.set.scorer.needs == need] for need in ("options", "text")}
    for batch, entries in itertools.chain(
        _scored(engine, by_need["options"], settings), _decoded(engine, by_need["text"], settings)
    ):
        checkpoint.add((trial.key, entry) for trial, entry in zip(batch, entries, strict=True))
        done += len(batch)
        if outcomes is not None:
            outcomes.extend(_outcome(trial, checkpoint) for trial in batch)
        report(done, len(trials), batch[-1].set.name)
    return [_outcome(trial, checkpoint) for trial in trials]


def _outcome(trial: Trial, checkpoint: Checkpoint) -> Outcome:
    known = checkpoint.get(trial.key) or {}
    return Outcome(
        trial.arm.name, trial.set.name, trial.index, trial.sample, known.get("text", ""), known.get("finish", ""),
        dict(known.get("measures", {})),
    )  # fmt: skip


def prompt_of(model: Model, trial: Trial, chat: bool | None) -> Prompt:
    """The tokens of a trial's prompt: its item's messages, with the arm's instruction, through the chat template."""
    prompt, last = _asked(model, trial, chat)
    return model.tokens(prompt, continue_final=last == "assistant")


def _asked(model: Model, trial: Trial, chat: bool | None) -> tuple[Prompt, str]:
    """A trial's prompt with the arm's instruction, text or chat messages, and whose turn the last message is."""
    arm, item = trial.arm, trial.item
    if not (model.has_chat_template if chat is None else chat):
        return item.plain(arm.instruction, arm.place), ""
    messages = item.messages(arm.instruction, arm.place)
    return messages, messages[-1]["role"]


def options_of(model: Model, trial: Trial, chat: bool | None) -> tuple[list[int], list[list[int]]]:
    """The tokens of a trial's prompt and of each option after it, as the model would write them there."""
    prompt, last = _asked(model, trial, chat)
    options = measure.options_of(trial.set.scorer, trial.item)
    return choices(model, prompt, options, continue_final=last == "assistant")


def _located(trial: Trial, make: Callable[[], T]) -> T:
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{trial.set.name}, item {trial.index + 1}, arm {trial.arm.name!r}: {error}") from error


Batch = Iterator[tuple[list[Trial], list[dict[str, Any]]]]


def _scored(engine: Engine, trials: Sequence[Trial], settings: Settings) -> Batch:
    """Batches of forced choices, by teacher forcing."""
    for start in range(0, len(trials), 32):
        batch = list(trials[start : start + 32])
        asked = [
            (prompt, option, t.arm.interventions)
            for t in batch
            for prompt, options in [_located(t, lambda t=t: options_of(engine.model, t, settings.chat))]
            for option in options
        ]
        found = iter(engine.score_with_receipts(asked))
        answers = []
        for trial in batch:
            scored = [next(found) for _ in measure.options_of(trial.set.scorer, trial.item)]
            for _, receipts in scored:
                _located(trial, lambda receipts=receipts: check(receipts))
            answers.append([logprobs for logprobs, _ in scored])
        yield batch, [{"measures": dict(t.set.scorer.score(t.item, a))} for t, a in zip(batch, answers, strict=True)]


def _decoded(engine: Engine, trials: Sequence[Trial], settings: Settings) -> Batch:
    """Batches of written answers; the next ones are in the engine's queue before the first are waited for."""
    size = max(1, settings.in_flight // 3)
    waiting: deque[tuple[list[Trial], list[Completion]]] = deque()
    try:
        for start in range(0, len(trials), size):
            batch = list(trials[start : start + size])
            requests = [_located(t, lambda t=t: _request(engine.model, t, settings)) for t in batch]
            waiting.append((batch, engine.submit_all(requests)))
            if len(waiting) == 3:
                yield _read(engine, *waiting.popleft())
        while waiting:
            yield _read(engine, *waiting.popleft())
    finally:
        for _, handles in waiting:  # stopped half-way: these are no longer wanted
            for handle in handles:
                handle.cancel()


def _request(model: Model, trial: Trial, settings: Settings) -> Request:
    return Request(
        prompt_of(model, trial, settings.chat),
        trial.arm.interventions,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed + trial.arm.seed,
        sample=trial.sample,
        stop=settings.stop,
        top_alternatives=0,
    )


def _read(engine: Engine, batch: list[Trial], handles: list[Completion]) -> tuple[list[Trial], list[dict[str, Any]]]:
    """The entries of finished rows: text, the scorer's numbers, and what the text is like."""
    finished = [_located(trial, handle.result) for trial, handle in zip(batch, handles, strict=True)]
    for trial, row in zip(batch, finished, strict=True):
        _located(trial, lambda row=row: check(row.receipts))
    written = [k for k, row in enumerate(finished) if row.tokens]
    scored = engine.score_all([(finished[k].prompt_tokens, finished[k].tokens, ()) for k in written]) if written else []
    surprise = {k: -sum(one) / len(one) for k, one in zip(written, scored, strict=True)}
    read: dict[int, dict[str, float]] = {}
    for scorer in {id(trial.set.scorer): trial.set.scorer for trial in batch}.values():
        mine = [k for k, trial in enumerate(batch) if trial.set.scorer is scorer]
        answers = [finished[k].text for k in mine]
        read |= zip(mine, score_all(scorer, [batch[k].item for k in mine], answers), strict=True)
    entries = []
    for k, row in enumerate(finished):
        measures = read[k] | {"tokens": float(len(row.tokens)), "repetition": repetition(row.text)}
        measures |= {"surprise": surprise[k]} if k in surprise else {}
        if row.receipts:
            measures["shift"] = sum(receipt.measured for receipt in row.receipts)
            fired = [receipt.fired for receipt in row.receipts if receipt.fired is not None]
            measures |= {"fired": sum(fired) / len(fired)} if fired else {}
        entries.append({"text": row.text, "finish": row.finish_reason or "", "measures": measures})
    return batch, entries
