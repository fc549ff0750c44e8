"""A refusal direction by gradient descent: without it nothing is refused, with it everything is, and the rest stays.

    minimize  E[softplus(s(harmful))] + a E[-log p(refusal | harmless)] + k E[KL(plain || steered)]

over directions r of a fixed length, ablated everywhere in the first and third term and added in the second. s is the
refusal score; refusals are the model's own, as whole texts after harmless instructions; the KL is a mean over the
tokens of its own answers to other prompts. After Wollschlaeger et al. 2025, "The geometry of refusal in large language
models" (arXiv 2502.17420, section 3), who train the first term on target answers too. A difference of means also
carries whatever else the two kinds of instructions differ in; this does not have to.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...directions.direction import Direction
from ...engine.scoring import next_logits
from ...interventions.ablation import residual_sites
from ...interventions.protocol import made
from ...measurements.numbers import kl_divergence
from ...models.hooks import Hook
from ...models.model import Model
from ...models.passages import Passage, passage
from ...showing.one_line import one_line, quoted
from ...sites import Site
from .search import RefusalDirection, Tick
from .words import asked, greedy_answers, refusal_score

MIN_PROMPTS = 8  # on each side; a fifth of the other prompts is kept for the scores
ANSWER = 24  # tokens of an own answer that are compared
REFUSALS = 32  # harmful instructions whose refusals are taken as texts
RATE = 0.02  # the first step, as a share of the direction's length; it falls to 0 along a line


@dataclass(frozen=True)
class OptimizedScores:
    """A direction's scores on instructions and prompts that it was not fitted to.

    Attributes:
        bypass, induce, kl: as of every candidate (`DirectionScores`).
        others: mean KL(unsteered || ablated) of the first token of answers to other prompts, in nats.
    """

    bypass: float
    induce: float
    kl: float
    others: float

    def __repr__(self) -> str:
        scores = f"bypass {self.bypass:.3g}, induce {self.induce:.3g}, KL {self.kl:.3g}, others {self.others:.3g}"
        return one_line(self, scores)


@dataclass(frozen=True, eq=False)
class OptimizedRefusal:
    """A direction that was fitted, beside the difference of means that it started from.

    Attributes:
        losses: the three terms of each step, before their weights.
        cosine: of the direction with its start.
    """

    direction: Direction
    start: OptimizedScores
    scores: OptimizedScores
    cosine: float
    losses: tuple[tuple[float, float, float], ...]
    alpha: float
    seconds: float

    def __repr__(self) -> str:
        moved = f"bypass {self.start.bypass:.3g} to {self.scores.bypass:.3g}"
        return one_line(self, quoted(self.direction.name, 60), moved, f"cosine with its start {self.cosine:.2f}")


def optimize_refusal(
    lm: Model,
    found: RefusalDirection,
    harmful: Sequence[str],
    harmless: Sequence[str],
    others: Sequence[str],
    *,
    start: Direction | None = None,
    alpha: float = 1.0,
    add: float = 0.1,
    keep: float = 10.0,
    steps: int = 100,
    batch: int = 24,
    seed: int = 0,
    tick: Tick | None = None,
) -> OptimizedRefusal:
    """The search's direction, fitted further: refusals end without it and come with it, and other answers stay.

    Args:
        found: the search; its validation instructions are scored and left out of the fit.
        harmful, harmless: instructions, such as the search was given.
        others: prompts of any kind whose answers are to stay as they are, also without the direction.
        start: where to begin; None is the candidate that the search chose. Its layer and length stay.
        alpha: how many times it is added for `induce`.
        add, keep: weights of the second and of the third term.
        batch: prompts of each kind a step.

    Raises:
        ValueError: too few prompts of a kind, none of the harmful instructions is refused, or the search chose no
            candidate and no start is given.
    """
    began, say = time.perf_counter(), tick or (lambda done, total, note: None)
    first = found.direction if start is None else start
    held = {text for side in found.validation for text in side}
    sides = [[text for text in dict.fromkeys(map(str.strip, side)) if text and text not in held]
             for side in (harmful, harmless)]  # fmt: skip
    spared = list(dict.fromkeys(text.strip() for text in others if text.strip()))
    random.Random(f"others {seed}").shuffle(spared)
    if min(map(len, (*sides, spared))) < MIN_PROMPTS:
        raise ValueError(
            f"At least {MIN_PROMPTS} harmful, harmless and other prompts are needed, beside those that the search "
            f"scored; got {len(sides[0])}, {len(sides[1])} and {len(spared)}."
        )
    test, fitted = spared[: len(spared) // 5], spared[len(spared) // 5 :]
    rng = random.Random(seed)
    say(0, steps, "The model's own answers")
    own = _own_answers(lm, fitted)
    bad = [lm.tokens(asked(lm, text)) for text in sides[0]]
    refusals = _refusals(lm, sides[0][:REFUSALS], found.tokens)
    good = [passage(lm, text, rng.choice(refusals)) for text in sides[1]]
    norm, layer = first.norm, first.site.layer
    unit = (first.vector / norm).to(lm.device).requires_grad_(True)
    adam, losses = torch.optim.Adam([unit], lr=RATE), []
    for step in range(steps):
        say(step, steps, f"Step {step + 1} of {steps}")
        with torch.enable_grad():
            r = unit / unit.norm()
            ablated = dict.fromkeys(residual_sites(lm), _without(r))
            pushed: Mapping[Site, Hook] = {Site(layer, "resid_pre"): lambda h, r=r: h + (alpha * norm * r).to(h.dtype)}
            terms = (
                F.softplus(_scores(lm, _some(rng, bad, batch), ablated, found.tokens)).mean(),
                _surprise(lm, _some(rng, good, batch), pushed),
                _moved(lm, _some(rng, own, batch), ablated),
            )
            loss = terms[0] + add * terms[1] + keep * terms[2]
            (unit.grad,) = torch.autograd.grad(loss, unit)
        adam.param_groups[0]["lr"] = RATE * (1 - step / steps)
        adam.step()
        losses.append(tuple(float(term.detach()) for term in terms))
    r = (unit / unit.norm()).detach().cpu() * norm
    about = {
        **first.provenance, "method": "refusal direction, optimized", "steps": steps, "others": len(fitted), "add": add,
        "keep": keep, "seed": seed,
    }  # fmt: skip
    direction = Direction(r, first.site, None, f"{first.name}, optimized", about)
    measured = [_measured(lm, one, found, test, alpha) for one in (first, direction)]
    cosine = float(torch.cosine_similarity(r, first.vector.cpu().float(), dim=0))
    say(steps, steps, "Done")
    return OptimizedRefusal(
        direction, measured[0], measured[1], cosine, tuple(losses), alpha, time.perf_counter() - began
    )


def _some(rng: random.Random, texts: Sequence, n: int) -> list:
    return rng.sample(list(texts), min(n, len(texts)))


def _without(r: Float[Tensor, " d_model"]) -> Hook:
    """Ablation that can be differentiated. Between attention and MLP the hook's result is copied into h: clone it."""

    def ablate(h: Tensor) -> Tensor:
        kept = h.clone()
        u = r.to(kept.dtype)
        return kept - (kept @ u)[..., None] * u

    return ablate


def _logits(lm: Model, sequences: Sequence[Sequence[int]], hooks: Mapping[Site, Hook], keep: int) -> Tensor:
    tokens, mask, positions = lm.pad(sequences)
    return lm.forward(tokens, attention_mask=mask, positions=positions, hooks=hooks, keep=keep)


def _scores(
    lm: Model, sequences: Sequence[Sequence[int]], hooks: Mapping[Site, Hook], tokens: Sequence[int]
) -> Float[Tensor, " rows"]:
    return refusal_score(_logits(lm, sequences, hooks, 1)[:, -1], tokens)


def _refusals(lm: Model, harmful: Sequence[str], tokens: Sequence[int]) -> list[str]:
    """The model's own refusals, as texts: its greedy answers that begin with a refusing token."""
    found = [text for ids, text in greedy_answers(lm, harmful, max_new_tokens=ANSWER) if ids and ids[0] in tokens]
    if not found:
        raise ValueError(
            f"{lm.name} begins none of its answers to {len(harmful)} harmful instructions with a refusing token, so "
            "there is no refusal to bring about."
        )
    return found


def _surprise(lm: Model, passages: Sequence[Passage], hooks: Mapping[Site, Hook]) -> Tensor:
    """Mean -log p of the passages' whole continuations."""
    each = []
    for one, logprobs in zip(passages, _answer_logprobs(lm, passages, hooks), strict=True):
        said = torch.tensor(one.tokens[one.start : one.end], device=logprobs.device)
        each.append(-logprobs.gather(-1, said[:, None]).sum())
    return torch.stack(each).mean()


Own = tuple[Passage, Float[Tensor, "answer vocab"]]


@torch.no_grad()
def _own_answers(lm: Model, prompts: Sequence[str]) -> list[Own]:
    """The model's greedy answers, and its log-probabilities at each of their tokens."""
    found = greedy_answers(lm, prompts, max_new_tokens=ANSWER)
    passages = [passage(lm, text, answer) for text, (_, answer) in zip(prompts, found, strict=True) if answer.strip()]
    kept: list[Own] = []
    for start in range(0, len(passages), 16):
        some = passages[start : start + 16]
        kept += zip(some, _answer_logprobs(lm, some, {}), strict=True)
    return kept


def _answer_logprobs(lm: Model, passages: Sequence[Passage], hooks: Mapping[Site, Hook]) -> list[Tensor]:
    """Log-probabilities of what comes next before every token of each answer; rows are padded on the left."""
    longest = max(one.end - one.start for one in passages)
    logits = _logits(lm, [one.tokens[: one.end] for one in passages], hooks, longest + 1)
    return [row[-(one.end - one.start) - 1 : -1].float().log_softmax(-1)
            for row, one in zip(logits, passages, strict=True)]  # fmt: skip


def _moved(lm: Model, own: Sequence[Own], hooks: Mapping[Site, Hook]) -> Tensor:
    """Mean KL(plain || hooked) at the tokens of the own answers, each answer counted once."""
    now = _answer_logprobs(lm, [one for one, _ in own], hooks)
    each = [(plain.exp() * (plain - new)).sum(-1).mean() for (_, plain), new in zip(own, now, strict=True)]
    return torch.stack(each).mean()


def _measured(lm: Model, v: Direction, found: RefusalDirection, others: Sequence[str], alpha: float) -> OptimizedScores:
    """The scores on what was not fitted: the search's validation instructions, and other prompts."""
    ablated, added = (made("ablate", direction=v, everywhere=True),), (made("add", direction=v, alpha=alpha),)

    def logits(texts: Sequence[str], variant: tuple) -> Tensor:
        return next_logits(lm, [(asked(lm, text), variant) for text in texts], steer_bos=True)

    bad, good = found.validation
    return OptimizedScores(
        float(refusal_score(logits(bad, ablated), found.tokens).mean()),
        float(refusal_score(logits(good, added), found.tokens).mean()),
        float(kl_divergence(logits(good, ()), logits(good, ablated)).mean()),
        float(kl_divergence(logits(others, ()), logits(others, ablated)).mean()),
    )
