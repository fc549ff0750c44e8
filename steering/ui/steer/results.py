"""Run variants and keep their results as plain data, while their texts stream into slots on the page.

The stream runs in the page's own script, so a moved slider interrupts it at the next access to session state; rows
whose result is no longer wanted are then cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...models.passages import pieces

if TYPE_CHECKING:
    from ...directions.direction import Direction
    from ...engine.completion import Completion
    from ...engine.engine import Engine
    from ...engine.requests import Request
    from ...models.model import Model
    from ...recipes.building import Built
    from ...saes.sae import Sae

SHOW_EVERY = 0.04  # seconds between two updates of the text on screen


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run, besides the recipe."""

    model: str
    prompts: tuple[str, ...]
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    controls: int = 0
    steer_bos: bool = False
    chat: bool = False


@dataclass
class RunRow:
    """One completion as plain data: everything that is shown, saved and exported of it."""

    title: str
    kind: str  # "baseline", "steered" or "control"
    variant: int  # -1 for the baseline
    prompt: int
    text: str = ""
    prompt_tokens: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)  # prompt and generated tokens as text
    logprobs: list[float] = field(default_factory=list)
    alternatives: list[list[tuple[str, float]]] = field(default_factory=list)
    projections: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    surprise: float | None = None  # mean -log p of its tokens under the unsteered model, in nats

    def along(self, label: str, when: str = "after") -> list[float | None]:
        """Projections on a direction, aligned to `pieces`; None for the last token, which the model never read."""
        values: list[float | None] = list(self.projections.get(label, {}).get(when, []))
        return (values + [None] * len(self.pieces))[: len(self.pieces)]

    @property
    def problems(self) -> list[str]:
        """A sentence for each intervention that did not arrive in the model as its formula says."""
        return [
            str(receipt.get("problem") or f"The receipt of {receipt['intervention']} disagrees.")
            for receipt in self.receipts
            if not receipt.get("agrees", True)
        ]

    @property
    def steered(self) -> set[int]:
        """The positions that any intervention touched."""
        return {position for receipt in self.receipts for position in receipt["positions"]}


@dataclass
class Run:
    """A finished run: its settings, the recipe as data, the directions by label, and the rows.

    Attributes:
        about: which model (name, revision, fingerprint of its weights), SAE and versions of packages made it.
    """

    settings: RunSettings
    recipe: list[dict[str, Any]]
    labels: list[str]
    rows: list[RunRow]
    seconds: float = 0.0
    raw: list[list[dict[str, Any]]] = field(default_factory=list)  # each step's strengths as raw numbers
    about: dict[str, Any] = field(default_factory=dict)

    def shown(self, prompt: int = 0) -> list[RunRow]:
        """Baseline and variants of a prompt, without the controls."""
        return [row for row in self.rows if row.prompt == prompt and row.kind != "control"]

    def controls(self, prompt: int = 0, variant: int | None = None) -> list[RunRow]:
        """The control rows of a prompt (and of one variant)."""
        return [
            row
            for row in self.rows
            if row.prompt == prompt and row.kind == "control" and variant in (None, row.variant)
        ]

    def to_data(self) -> dict[str, Any]:
        """The result as JSON data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Run:
        """The result of JSON data that `to_data` gave."""
        settings = RunSettings(**{**data["settings"], "prompts": tuple(data["settings"]["prompts"])})
        rows = [
            RunRow(**{**row, "alternatives": [[tuple(a) for a in step] for step in row["alternatives"]]})
            for row in data["rows"]
        ]
        return cls(
            settings, data["recipe"], data["labels"], rows, data.get("seconds", 0.0), _raw(data), data.get("about", {})
        )


def _raw(data: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The steps' strengths: raw numbers or, in runs of the first version, the interventions as text."""
    return [[_numbers(one) for one in variant] for variant in data.get("raw", [])]


def _numbers(one: Any) -> dict[str, Any]:
    if isinstance(one, dict):
        return {
            str(name): _numbers(v) if isinstance(v, dict) else v if v is True else float(v) for name, v in one.items()
        }
    found = {}
    for part in str(one).partition("(")[2].rstrip(")").split(", "):
        key, _, value = part.partition("=")
        if key in ("alpha", "tau"):
            found[key] = float(value)
    return found


@dataclass(frozen=True)
class PlannedRow:
    """One row to run: its place in the result, its request, and whether it has a slot on the page."""

    row: RunRow
    request: Request


def plan(settings: RunSettings, variants: Sequence[Built], controls: Sequence[Sequence[Built]]) -> list[PlannedRow]:
    """The rows of a run: for each prompt the baseline, every variant, and the controls of every variant."""
    from ...engine.requests import Request

    record = _unique([direction for built in variants for direction in built.directions])
    jobs = []
    for number, prompt in enumerate(settings.prompts):
        entries = [(RunRow("Baseline", "baseline", -1, number), ())]
        entries += [
            (RunRow(built.title, "steered", i, number), built.interventions) for i, built in enumerate(variants)
        ]
        for i, group in enumerate(controls):
            entries += [(RunRow(built.title, "control", i, number), built.interventions) for built in group]
        for row, interventions in entries:
            request = Request(
                [{"role": "user", "content": prompt}] if settings.chat else prompt,
                interventions,
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=settings.seed,
                steer_bos=settings.steer_bos,
                record=record,
            )
            jobs.append(PlannedRow(row, request))
    return jobs


DRAWS = "by recipe"  # how random controls are drawn; runs saved before this was written drew them by a hash of numbers


def about_run(lm: Model, sae: Sae | None) -> dict[str, Any]:
    """A run's provenance: identity of the model and of the SAE if one is chosen, and versions of packages."""
    from importlib.metadata import version

    versions = {name: version(name) for name in ("torch", "transformers", "transformer-lens", "sae-lens", "streamlit")}
    found = {"model": lm.identity, "versions": versions, "draws": DRAWS}
    return found | ({"sae": sae.identity} if sae is not None else {})


def _unique(directions: Sequence[Direction]) -> list[Direction]:
    return list({direction.fingerprint: direction for direction in directions}.values())


def tick() -> None:
    """Give Streamlit a point at which to stop this run if the visitor has changed something; draws nothing."""
    st.session_state.get("_")


def stream(handles: Sequence[Completion], show: Callable[[int, str], None], waiting: Callable[[float], None]) -> None:
    """Show the texts as they grow until all rows are finished; cancel the rows if the run is stopped.

    Args:
        show: draws the text of the row with that number.
        waiting: called while no row has a token yet, with the seconds waited.

    Raises:
        ValueError: a row failed; the message is the engine's.
    """
    shown = [""] * len(handles)
    start = time.monotonic()
    try:
        while True:
            tick()
            over = all(handle.done for handle in handles)
            for number, handle in enumerate(handles):
                text = handle.text
                if text != shown[number]:
                    shown[number] = text
                    show(number, text)
            if over:
                break
            if not any(shown):
                waiting(time.monotonic() - start)
            pending = next((handle for handle in handles if not handle.done), None)
            if pending is None:  # the last one was finished since `over` was read; its text is shown in the next round
                continue
            pending.wait(len(pending.text), timeout=SHOW_EVERY)
            time.sleep(SHOW_EVERY / 4 if not any(shown) else SHOW_EVERY)
    finally:
        for handle in handles:
            if not handle.done:
                handle.cancel()
    for handle in handles:
        if handle.error is not None:
            raise ValueError(str(handle.error)) from handle.error


def fill(row: RunRow, handle: Completion, engine: Engine) -> RunRow:
    """The row with everything its finished completion holds, as plain data."""
    lm = engine.model
    row.text = handle.text
    row.prompt_tokens, row.tokens = handle.prompt_tokens, handle.tokens
    tokens = [*row.prompt_tokens, *row.tokens]
    row.pieces = pieces(lm, tokens)
    row.logprobs = handle.logprobs
    row.alternatives = [
        [(pieces(lm, [tokens[place - 1], number])[1], logprob) for number, logprob in step]
        for place, step in enumerate(handle.alternatives, start=len(row.prompt_tokens))
    ]
    row.projections = {label: {"before": t.before, "after": t.after} for label, t in handle.projections.items()}
    row.receipts = [
        {**asdict(receipt), "agrees": receipt.agrees, "problem": receipt.problem} for receipt in handle.receipts
    ]
    row.finish_reason = handle.finish_reason
    return row
