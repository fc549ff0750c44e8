"""Finding the refusal direction: filtered sets, candidates at all layers and positions, three scores, one rule.

Arditi et al. 2024, "Refusal in language models is mediated by a single direction", arXiv 2406.11717, section 2.3.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...directions.activations import batches
from ...directions.direction import Direction
from ...engine.requests import Variant
from ...engine.scoring import next_logits
from ...interventions.protocol import made
from ...measurements.numbers import kl_divergence
from ...models.checks.overflow import check_finite
from ...models.model import Model
from ...showing.one_line import counted, one_line, quoted
from ...sites import Site
from .selection import DirectionScores, SelectionRule, rows
from .words import RefusingToken, asked, opening_tokens, post_instruction, refusal_score

Tick = Callable[[int, int, str], None]
MIN_PROMPTS = 4  # on either side, for the means and for the scores each
ANSWERED = 48  # instructions whose answers are looked at for refusing tokens
ROWS = 256  # prompts times candidates whose logits are held at a time


@dataclass(frozen=True, eq=False)
class RefusalDirection:
    """What a search has found: the chosen direction, and every candidate with its scores.

    Attributes:
        template: the tokens that follow an instruction, as texts; position -1 is the last of them.
        differences: mean over harmful minus mean over harmless instructions, raw.
        harmless_means: the second of these means: where affine ablation puts every token.
        tokens: the ids that count as the beginning of a refusal; `openings` shows how they were found.
        alpha: how many times a candidate was added for its `induce` score.
        harmful_score, harmless_score: mean refusal scores of the validation instructions, unsteered.
        kept: how many harmful and harmless instructions were left by the filter, of how many.
        validation: the harmful and harmless instructions that were scored.
    """

    model: str
    n_layers: int
    template: tuple[str, ...]
    differences: Float[Tensor, "positions layers d_model"]
    harmless_means: Float[Tensor, "positions layers d_model"]
    tokens: tuple[int, ...]
    openings: tuple[RefusingToken, ...]
    candidates: tuple[DirectionScores, ...]
    rule: SelectionRule
    alpha: float
    harmful_score: float
    harmless_score: float
    kept: tuple[tuple[int, int], tuple[int, int]]
    validation: tuple[tuple[str, ...], tuple[str, ...]]
    provenance: dict[str, Any]
    seconds: float

    def __repr__(self) -> str:
        found = self.chosen
        place = "none chosen" if found is None else f"position {found.position}, layer {found.layer}"
        return one_line(self, quoted(self.model, 60), place, f"{self.survivors} of {len(self.candidates)} passed")

    @cached_property
    def chosen(self) -> DirectionScores | None:
        """The scores of the chosen candidate, or None where every one was excluded."""
        index = self.rule.select(self.candidates, self.n_layers)
        return None if index is None else self.candidates[index]

    @property
    def survivors(self) -> int:
        """How many candidates the rule did not exclude."""
        return sum(not self.rule.exclusion(one, self.n_layers) for one in self.candidates)

    @property
    def direction(self) -> Direction:
        """The chosen direction: the raw difference of means at the input of its layer.

        Raises:
            ValueError: the rule excluded every candidate.
        """
        if self.chosen is None:
            why = Counter(self.rule.exclusion(one, self.n_layers) for one in self.candidates)
            said = "; ".join(f"{n}: {reason}" for reason, n in why.most_common())
            raise ValueError(
                f"No candidate for {self.model} passed the rule ({said}). Look at .table(), and take one with "
                ".at(position, layer), or search with a wider rule."
            )
        return self.at(self.chosen.position, self.chosen.layer)

    def at(self, position: int, layer: int) -> Direction:
        """The candidate at a position (-1 is the last token of the prompt) and the input of a layer.

        Raises:
            ValueError: no such candidate, or the two means do not differ there.
        """
        return self._direction(self.differences, "refusal", position, layer)

    def reference(self, position: int, layer: int) -> Direction:
        """The mean of the harmless instructions there, for affine ablation."""
        return self._direction(self.harmless_means, "harmless mean", position, layer)

    def table(self) -> list[dict[str, Any]]:
        """A row for each candidate: position, layer, scores, why it was excluded, and whether it was chosen."""
        return rows(self.candidates, self.rule, self.n_layers)

    def _direction(self, of: Tensor, name: str, position: int, layer: int) -> Direction:
        n = len(self.differences)
        if not -n <= position <= -1 or not 0 <= layer < self.n_layers:
            raise ValueError(
                f"Candidates stand at positions {-n} to -1 and layers 0 to {self.n_layers - 1}; "
                f"got position {position}, layer {layer}."
            )
        about = {**self.provenance, "method": f"{name}, difference of means", "position": position}
        named = f"{name} (position {position}, layer {layer})"
        return Direction(of[position, layer], Site(layer, "resid_pre"), None, named, about)


def refusal_direction(
    lm: Model,
    harmful: Sequence[str],
    harmless: Sequence[str],
    *,
    tokens: Sequence[int] | None = None,
    rule: SelectionRule | None = None,
    alpha: float = 1.0,
    n_train: int = 128,
    n_validation: int = 32,
    filtered: bool = True,
    seed: int = 0,
    tick: Tick | None = None,
) -> RefusalDirection:
    """The direction whose ablation stops refusals and whose addition brings them about, with all its rivals.

    Candidates are differences of means (in float64) at the input of every layer and at every token that the chat
    template puts after an instruction. Each is scored on other instructions: ablated everywhere, added at its layer.

    Args:
        harmful, harmless: instructions, without a chat template.
        tokens: ids of the tokens that begin a refusal; None finds them from the model's own refusals.
        alpha: how many times a candidate is added to score what it induces; 1 as published.
        n_train, n_validation: at most so many of each kind for the means and for the scores (a fifth of few ones).
        filtered: drop harmful instructions that the model does not tend to refuse, and harmless ones that it does.
        tick: called with what is done, the total and a note; may raise to cancel.

    Raises:
        ValueError: too few instructions, or no refusals to find the tokens from.
    """
    start, rule = time.perf_counter(), rule or SelectionRule()
    say = tick or (lambda done, total, note: None)
    sides = [_shuffled(side, seed, name) for side, name in ((harmful, "harmful"), (harmless, "harmless"))]
    say(0, 100, "What the model's refusals begin with")
    openings: tuple[RefusingToken, ...] = ()
    if tokens is None:
        openings = opening_tokens(lm, sides[0][:ANSWERED], sides[1][:ANSWERED])
        tokens = [one.token for one in openings if one.refusing]
        if not tokens:
            raise ValueError(
                f"{lm.name} refused none of {len(sides[0][:ANSWERED])} harmful instructions in words that are known as "
                "a refusal, or begins other answers the same way. Give tokens=[...], the ids that begin its refusals."
            )
    tokens = tuple(dict.fromkeys(int(token) for token in tokens))
    say(5, 100, "Which instructions are refused")
    scores = [_scores(lm, side, tokens) for side in sides]
    kept = [[text for text, score in zip(side, found, strict=True) if not filtered or (score > 0) == wanted]
            for side, found, wanted in zip(sides, scores, (True, False), strict=True)]  # fmt: skip
    parts = [_parted(one, n_train, n_validation) for one in kept]
    if min(len(part) for pair in parts for part in pair) < MIN_PROMPTS:
        raise ValueError(
            f"The search needs at least {2 * MIN_PROMPTS} instructions that {lm.name} refuses and as many that it does "
            f"not; of {len(sides[0])} harmful ones {len(kept[0])} are refused, of {len(sides[1])} harmless ones "
            f"{len(kept[1])} are not. Give more, or search with filtered=False."
        )
    say(10, 100, "Means at every layer and position")
    template = post_instruction(lm)
    n = max(1, len(template))
    harmful_means, harmless_means = (_means(lm, train, n) for train, _ in parts)
    texts = tuple(lm.token_texts(list(template))) or ("last token",)
    validation = (parts[0][1], parts[1][1])
    base = [next_logits(lm, [(asked(lm, text), ()) for text in test], steer_bos=True) for test in validation]
    found = _scored(lm, harmful_means - harmless_means, validation, base[1], tokens, alpha, say)
    about = {
        "model": lm.identity,
        "harmful": len(parts[0][0]),
        "harmless": len(parts[1][0]),
        "template": list(texts),
        "tokens": list(tokens),
    }
    means = [float(refusal_score(logits, tokens).mean()) for logits in base]
    left = ((len(kept[0]), len(sides[0])), (len(kept[1]), len(sides[1])))
    return RefusalDirection(
        lm.name, lm.n_layers, texts, (harmful_means - harmless_means).float(), harmless_means.float(), tokens, openings,
        tuple(found), rule, alpha, means[0], means[1], left, validation, about, time.perf_counter() - start,
    )  # fmt: skip


def _shuffled(side: Sequence[str], seed: int, name: str) -> list[str]:
    texts = list(dict.fromkeys(text.strip() for text in side if text.strip()))
    if len(texts) < 2 * MIN_PROMPTS:
        raise ValueError(f"The search needs at least {2 * MIN_PROMPTS} {name} instructions; got {len(texts)}.")
    random.Random(f"{name} {seed}").shuffle(texts)
    return texts


def _parted(texts: Sequence[str], n_train: int, n_validation: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The instructions for the means, and those for the scores: a fifth where there are few, at least MIN_PROMPTS."""
    test = min(n_validation, max(MIN_PROMPTS, len(texts) // 5))
    return tuple(texts[test : test + n_train]), tuple(texts[:test])


def _scores(lm: Model, texts: Sequence[str], tokens: Sequence[int]) -> list[float]:
    found: list[float] = []
    for start in range(0, len(texts), ROWS):
        logits = next_logits(lm, [(asked(lm, text), ()) for text in texts[start : start + ROWS]])
        found += refusal_score(logits, tokens).tolist()
    return found


@torch.no_grad()
def _means(lm: Model, texts: Sequence[str], n: int) -> Float[Tensor, "positions layers d_model"]:
    """Mean activations at the last n tokens and the input of every layer, summed in float64."""
    sites = [Site(layer, "resid_pre") for layer in range(lm.n_layers)]
    prompts = [lm.tokens(asked(lm, text)) for text in texts]
    total = torch.zeros(n, lm.n_layers, lm.d_model, dtype=torch.float64)
    for batch in batches([len(prompt) for prompt in prompts], lm.piece_tokens):
        found, _ = lm.activations([prompts[k] for k in batch], sites)
        for layer, site in enumerate(sites):  # padding stands on the left, so the last columns are the template's
            total[:, layer] += check_finite(lm, found[site][:, -n:]).double().sum(0).cpu()
    return total / len(prompts)


def _scored(
    lm: Model,
    differences: Float[Tensor, "positions layers d_model"],
    validation: tuple[tuple[str, ...], ...],
    harmless_base: Float[Tensor, "prompts vocab"],
    tokens: Sequence[int],
    alpha: float,
    say: Tick,
) -> Iterator[DirectionScores]:
    """Every candidate's scores, several candidates in one batch."""
    n, layers, _ = differences.shape
    places = [(position, layer) for position in range(-n, 0) for layer in range(layers)]
    bad, good = ([asked(lm, text) for text in test] for test in validation)
    at_once = max(1, ROWS // (2 * len(good) + len(bad)))
    for start in range(0, len(places), at_once):
        say(15 + 85 * start // len(places), 100, f"Candidate {start + 1} of {len(places)}")
        some = places[start : start + at_once]
        items: list[tuple[Any, Variant]] = []
        real = [place for place in some if bool(differences[place].any())]
        for position, layer in real:
            v = Direction(differences[position, layer], Site(layer, "resid_pre"))
            ablated = (made("ablate", direction=v, everywhere=True),)
            items += [(prompt, ablated) for prompt in (*bad, *good)]
            items += [(prompt, (made("add", direction=v, alpha=alpha),)) for prompt in good]
        logits = iter(next_logits(lm, items, steer_bos=True).split(2 * len(good) + len(bad))) if items else iter(())
        for place in some:
            if place not in real:  # before the first layer the template's tokens are the same in every prompt
                yield DirectionScores(*place, *3 * (float("nan"),))
                continue
            refused, plain, pushed = next(logits).split([len(bad), len(good), len(good)])
            yield DirectionScores(
                *place,
                float(refusal_score(refused, tokens).mean()),
                float(refusal_score(pushed, tokens).mean()),
                float(kl_divergence(harmless_base, plain).mean()),
            )
    say(100, 100, f"{counted(len(places), 'candidate')} scored")
