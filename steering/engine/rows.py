"""A row: one sequence in the batch, with its own interventions, sampling and limits, and its tokens so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from ..directions.direction import Direction
from ..interventions.protocol import Edit, Gate, Intervention, Placement, span_of
from ..models.caching.cache import can_cache
from ..models.model import Model
from .receipts import Ledger, Receipt
from .sampling import Sampling
from .text import TextStream


class Trace(NamedTuple):
    """Projections on one direction along a row, one number a token that the model has read.

    `before` is what an intervention at that site saw, `after` what the model went on with.
    """

    before: list[float]
    after: list[float]


@dataclass(eq=False)
class Row:
    """One sequence: the request's settings, and the tokens, projections and receipts that the decoder fills in.

    Attributes:
        cached: decode with the key-value cache; without it every step runs over the whole sequence.
        targets: tokens to be scored instead of generating (teacher forcing).
        given: the first generated tokens, whatever the model would choose.
        first: only so many tokens are read, for others to go on from.
    """

    model: Model
    prompt: tuple[int, ...]
    interventions: tuple[Intervention, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    record: tuple[Direction, ...] = ()
    steer_bos: bool = False
    ignore_eos: bool = False
    top_alternatives: int = 5
    cached: bool = True
    targets: tuple[int, ...] = ()
    given: tuple[int, ...] = ()
    first: int | None = None

    generated: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    traces: dict[str, Trace] = field(default_factory=dict)
    text: str = ""
    finish_reason: str | None = None

    placements: list[tuple[int, Placement]] = field(init=False)
    edits: dict[int, Edit] = field(default_factory=dict)
    gates: dict[Gate, bool] = field(default_factory=dict)
    ledgers: list[Ledger] = field(init=False)

    def __post_init__(self) -> None:
        self.placements = [
            (k, placement) for k, one in enumerate(self.interventions) for placement in one.placements(self.model)
        ]
        self.ledgers = [Ledger() for _ in self.interventions]
        self.stream = self.sampling.stream(self.prompt)
        # How many tokens at the front are BOS: one as a rule, two in some families, or none.
        self.leading = self.model.leading(self.prompt)
        if any(placement.whole_history for _, placement in self.placements) or not can_cache(self.model):
            self.cached = False
        self._text = TextStream(self.model, self.prompt)

    @property
    def sequence(self) -> tuple[int, ...]:
        """All tokens the model reads: the prompt, and those generated or to be scored."""
        return (*self.prompt, *self.generated, *self.targets)[: self.first]

    @property
    def position(self) -> int:
        """The absolute position of the last token."""
        return len(self.prompt) + len(self.generated) - 1

    def span(self, index: int) -> tuple[int, float]:
        """The absolute positions that a placement touches: from the first to before the second."""
        k, placement = self.placements[index]
        low, high = self.interventions[k].span(len(self.prompt))
        low2, high2 = span_of(placement.where, len(self.prompt))
        low, high = max(low, low2), min(high, high2)
        if _is_gated_later(placement):
            low = max(low, len(self.prompt))
        return (low if self.steer_bos else max(low, self.leading)), high

    @property
    def needs_prompt_pass(self) -> bool:
        """Whether a condition on the prompt has a site above the edits that it gates, and is not answered yet."""
        return any(_is_gated_later(placement) and placement.gate not in self.gates for _, placement in self.placements)

    def forget(self) -> None:
        """Clear what the hooks saw, before the whole sequence is run again without a cache."""
        self.ledgers = [Ledger() for _ in self.interventions]
        self.traces.clear()

    @property
    def visible(self) -> str:
        """The text that later tokens cannot change: a possible beginning of a stop string is withheld."""
        if self.finish_reason is not None or not self.stop:
            return self.text
        held = max(
            (n for stop in self.stop for n in range(1, len(stop)) if self.text.endswith(stop[:n])),
            default=0,
        )
        return self.text[: len(self.text) - held]

    def accept(self, token: int, logprob: float, alternatives: list[tuple[int, float]]) -> None:
        """Append the next token, and decide whether the row is finished.

        A row whose activations overflow (an alpha far too large) ends as "diverged", without the meaningless token.
        """
        if not math.isfinite(logprob):
            self.finish_reason = "diverged"
            return
        self.generated.append(token)
        self.logprobs.append(logprob)
        self.alternatives.append(alternatives)
        text, reason = self.text + self._text.push(token), None
        stops = [place for stop in self.stop if (place := text.find(stop)) >= 0]
        if token in self.model.eos_tokens and not self.ignore_eos:
            reason = "eos"
        elif stops:
            text, reason = text[: min(stops)], "stop"
        elif len(self.generated) >= self.max_new_tokens:
            reason = "length"
        elif len(self.prompt) + len(self.generated) >= self.model.n_ctx:
            reason = "context"
        if reason and reason != "stop":
            text += self._text.rest()
        # Assigned once and last, so that a reader in another thread never sees a stop string that will be cut off.
        self.text = text
        self.finish_reason = reason

    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts, one for each intervention."""
        found = []
        for k, (one, ledger) in enumerate(zip(self.interventions, self.ledgers, strict=True)):
            gates = {p.gate for j, p in self.placements if j == k and p.gate is not None}
            notes = list(one.notes(len(self.prompt)))
            for gate in gates:
                if gate in self.gates:
                    notes.append(
                        "The condition on the prompt held." if self.gates[gate] else "The condition did not hold."
                    )
            found.append(ledger.receipt(str(one), notes, self.model.dtype))
        return tuple(found)


def _is_gated_later(placement: Placement) -> bool:
    return placement.gate is not None and placement.site < placement.gate.site
