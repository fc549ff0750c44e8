"""A request to the engine: a prompt, a variant, and how its tokens are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from ..directions.direction import Direction
from ..interventions.protocol import Intervention
from ..models.model import Model, Prompt
from ..showing.one_line import clipped, one_line, quoted
from ..sites import Site
from .rows import Row
from .sampling import Sampling

Variant = Sequence[Intervention]


def variants_of(variants: Sequence[Variant | Intervention] | Intervention) -> list[Variant]:
    """The variants as sequences of interventions: one by itself is a variant of one step."""
    several = [variants] if isinstance(variants, Intervention) else variants
    return [(one,) if isinstance(one, Intervention) else one for one in several]


@dataclass(frozen=True, eq=False)
class Request:
    """A request to the engine: one prompt, one variant, one sample.

    Attributes:
        prompt: text, a list of chat messages, or a list of token ids.
        interventions: done in this order; none is the baseline; one by itself may stand without parentheses.
        max_new_tokens: how many tokens at most.
        temperature, top_p, seed, sample: see `Sampling`.
        stop: texts that end the completion; they are not part of it.
        record: directions whose projections are wanted along the text, or sites, for every direction used there.
        steer_bos: whether the beginning-of-sequence token is steered like the others.
        ignore_eos: go on after the end-of-text token.
        top_alternatives: how many of the most probable tokens to report at each step.
        cached: with the key-value cache; without it every step runs over the whole sequence.
        given: the first tokens of the completion, written as they are instead of chosen: what would have followed?
    """

    prompt: Prompt
    interventions: Variant = ()
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    sample: int = 0
    stop: Sequence[str] = ()
    record: Sequence[Site | Direction] = ()
    steer_bos: bool = False
    ignore_eos: bool = False
    top_alternatives: int = 5
    cached: bool = True
    given: Sequence[int] = ()

    def __post_init__(self) -> None:
        if isinstance(self.interventions, Intervention):
            object.__setattr__(self, "interventions", (self.interventions,))

    def __repr__(self) -> str:
        done = ", ".join(type(one).__name__ for one in self.interventions) or "baseline"
        drawn = f"temperature={self.temperature:g}, seed={self.seed}" if self.temperature else "greedy"
        return one_line(
            self, quoted(self.prompt, 80), clipped(done, 60), f"max_new_tokens={self.max_new_tokens}", drawn
        )

    def row(self, model: Model) -> Row:
        """The row of this request on a model.

        Raises:
            ValueError: a bad prompt, a site the model lacks, a direction of another model, numbers out of range.
        """
        for name, least in (("max_new_tokens", 1), ("top_alternatives", 0)):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ValueError(f"{name} is an integer from {least} on; got {number!r}.")
        if any(not isinstance(one, Intervention) for one in self.interventions):
            wrong = next(one for one in self.interventions if not isinstance(one, Intervention))
            raise ValueError(f"A variant is a sequence of interventions; got {wrong!r} in one.")
        if isinstance(self.stop, str) or not all(self.stop):
            raise ValueError(f"stop is a sequence of texts, none of them empty; got {self.stop!r}.")
        return Row(
            model,
            tuple(model.tokens(self.prompt)),
            tuple(self.interventions),
            Sampling(self.temperature, self.top_p, self.seed, self.sample),
            self.max_new_tokens,
            tuple(self.stop),
            recorded(model, self.record, [self.interventions]),
            self.steer_bos,
            self.ignore_eos,
            self.top_alternatives,
            self.cached,
            given=tuple(model.checked(self.given)) if self.given else (),
        )


def recorded(model: Model, record: Sequence[Site | Direction], variants: Sequence[Variant]) -> tuple[Direction, ...]:
    """The directions to record: those named, and for a named site every direction that a variant uses there."""
    found: dict[str, Direction] = {}
    used = [d for variant in variants for one in variant for d in _directions(one)]
    for item in record:
        if isinstance(item, Direction):
            item.check(model)
            found[item.fingerprint] = item
            continue
        model.check_site(item)
        found.update({direction.fingerprint: direction for direction in used if direction.site == item})
    return tuple(found.values())


def _directions(one: Intervention) -> Iterator[Direction]:
    for field in fields(one):
        value = getattr(one, field.name)
        if isinstance(value, Direction):
            yield value
        elif isinstance(value, Intervention):
            yield from _directions(value)
