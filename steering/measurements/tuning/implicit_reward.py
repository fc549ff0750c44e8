"""The reward that a tuning seems to follow: which of the two models an answer comes from, and a linear model of it.

The log-ratio x = log p_tuned - log p_base has no bound: an answer that one model would never write gets a hundred nats
for it. What is modeled and compared is tanh(x / 2) = 2 P(tuned | answer) - 1 at even odds, between -1 and 1.

Marks et al. 2023 (arXiv 2310.08164): activations at the layers that diverge most, in the stream and in the features of
a sparse autoencoder, are mapped linearly to the reward; then it is compared with the true one, where that is known. The
log-ratio is the implicit reward of direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290, equation 5,
without beta and without the term of the prompt).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold

from ...directions.activations import read
from ...directions.direction import Direction
from ...engine.scoring import rows_of, score
from ...models.model import Model
from ...models.passages import Passage, passage
from ...saes.sae import Sae
from ...showing.one_line import counted, one_line, quoted
from ...sites import Site
from .model_diff import layer_change, part_changes, stream_pairs
from .reward_agreement import RewardAgreement, Shortcut, agreement, shortcuts

Tick = Callable[[int, int, str], None]
ALPHAS = tuple(10.0**k for k in range(-2, 6))
FOLDS = 5
MIN_ITEMS = 20
STREAM, CHANGE = "stream of the tuned model", "stream, tuned minus base"
DECIDED, FIRST, ANSWER = PLACES = ("last token of the prompt", "first token of the answer", "mean over the answer")
RANDOM_NUMBERS, RANDOM_TOKENS = "random numbers", "random vectors for the answer's tokens"


@dataclass(frozen=True)
class RewardItem:
    """An answer to a prompt, and the true reward of it where one is known.

    Attributes:
        kind: a label; answers of a kind are compared among themselves when shortcuts are looked for.
    """

    prompt: str
    answer: str
    reward: float | None = None
    kind: str = ""

    def __repr__(self) -> str:
        true = "" if self.reward is None else f"reward {self.reward:+g}"
        return one_line(self, quoted(self.prompt), quoted(self.answer), true)


@dataclass(frozen=True, eq=False)
class RewardModel:
    """A linear model of the implicit reward: the reward is weights . (features - mean) / spread + intercept.

    The features are read where an answer is decided and where it stands: at the last token of the prompt, at the
    answer's first token, and as the mean over the answer.

    Attributes:
        space: "stream", or the name of an SAE, whose features are read; a control's name for controls.
        sites: where it is read; places and sites side by side.
        fidelity: correlation with the implicit reward that it models, on prompts that were not fitted.
        true: agreement with the true reward, on prompts that were not fitted; None where there is none.
        predicted: its reward of every item, each from a fit without that item's prompt.
        shares: how much of the reward each feature accounts for; see `top_features`.
    """

    space: str
    sites: tuple[Site, ...]
    weights: Float[ndarray, " features"]
    mean: Float[ndarray, " features"]
    spread: Float[ndarray, " features"]
    intercept: float
    alpha: float
    fidelity: RewardAgreement
    true: RewardAgreement | None
    predicted: Float[ndarray, " items"]
    shares: Float[ndarray, " features"]
    sae: Sae | None = None

    def __repr__(self) -> str:
        value = self.fidelity.correlation.value
        return one_line(self, quoted(self.space, 40), f"{len(self.weights)} features, fidelity {value:.2f}")

    def reward(self, tuned: Model, prompt: str, answer: str, *, base: Model | None = None) -> float:
        """The reward of an answer to a prompt: the same type as the true one's, prompt and answer in, number out.

        Args:
            base: for the model of the difference of the two streams.

        Raises:
            ValueError: a control, which is no model of anything; or the base is missing.
        """
        if not self.sites:
            raise ValueError(f"{self.space.capitalize()} are a control; they give no answer a reward.")
        if self.space == CHANGE and base is None:
            raise ValueError(f"The model of {CHANGE!r} reads both; give base=... too.")
        one = [passage(tuned, prompt, answer)]
        x = _features(tuned, one, self.sites, self.sae)[0]
        if self.space == CHANGE and base is not None:
            x = x - _features(base, one, self.sites, self.sae)[0]
        return float((x - self.mean) / self.spread @ self.weights + self.intercept)

    def top_features(self, n: int = 10) -> list[tuple[int, str, float]]:
        """The features that carry it: number, the place where it is read, and the share of the reward it accounts for.

        The share is weight times covariance with the fitted reward, over that reward's variance: shares sum to 1.
        """
        width = len(self.weights) // len(PLACES)
        order = np.argsort(-self.shares, kind="stable")[:n]
        return [(int(k % width), PLACES[k // width], float(self.shares[k])) for k in order]


@dataclass(frozen=True, eq=False)
class ImplicitReward:
    """The implicit reward of a tuning on some answers, its linear models and their controls.

    Attributes:
        values: log p_tuned - log p_base of each answer, summed over its tokens, in nats.
        rewards: tanh(values / 2), from -1 (the base's answer) to 1 (the tuned model's).
        true: agreement of the rewards themselves with the true ones; None where there are none.
        layers: the ones after which the two models' streams differ most; the linear models read there.
        models: of the tuned model's stream, of its difference to the base's, then of each SAE's features.
        controls: random features, the same way.
        shortcuts: words with which the tuning's reward goes further than the true one.
        activations: the tuned model's stream where answers are decided, at the last token of each prompt, by layer.
    """

    base: str
    tuned: str
    items: tuple[RewardItem, ...]
    values: Float[ndarray, " items"]
    rewards: Float[ndarray, " items"]
    true: RewardAgreement | None
    layers: tuple[int, ...]
    models: tuple[RewardModel, ...]
    controls: tuple[RewardModel, ...]
    shortcuts: tuple[Shortcut, ...] = ()
    activations: Mapping[int, Float[ndarray, "items d_model"]] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = f"{quoted(self.base, 40)} to {quoted(self.tuned, 40)}"
        true = "" if self.true is None else f"correlation with the true reward {self.true.correlation.value:.2f}"
        return one_line(self, names, counted(len(self.items), "answer"), true)

    def direction(self, layer: int | None = None, kinds: Sequence[str] = ()) -> Direction:
        """The direction, where answers are decided, toward prompts at which the tuning rewards another answer.

        The covariance of the stream at the prompt's last token with |reward|, and not the weights of a linear model,
        which also cancel what is no reward (Haufe et al. 2014): of two answers to a prompt one is rewarded and the
        other the opposite, so the sign would cancel. Its length is what one standard deviation is worth.

        Args:
            kinds: the kinds of items that it is read from, where a tuning taught several things at once; () for all.

        Raises:
            ValueError: a layer that was not read, or fewer than two items of these kinds.
        """
        layer = self.layers[0] if layer is None else layer
        if layer not in self.activations:
            raise ValueError(f"The stream was read after layers {sorted(self.activations)}; got {layer}.")
        chosen = np.array([not kinds or one.kind in kinds for one in self.items])
        if chosen.sum() < 2:
            raise ValueError(
                f"No two answers are of the kinds {list(kinds)}; there are {sorted({one.kind for one in self.items})}."
            )
        h, size = self.activations[layer][chosen], np.abs(self.rewards[chosen])
        y = size - size.mean()
        pattern = (h - h.mean(0)).T @ y / (len(y) * max(float(y.std()), 1e-12))
        about = {
            "model": dict(self.identity),
            "method": "covariance with the size of the implicit reward",
            "base": self.base,
        }
        if kinds:
            about["kinds"] = list(kinds)
        name = f"implicit reward of {self.tuned}"
        return Direction(torch.from_numpy(pattern), Site(layer, "resid_post"), None, name, about)


def implicit_reward(
    base: Model,
    tuned: Model,
    items: Sequence[RewardItem | tuple],
    *,
    layers: Sequence[int] | None = None,
    n_layers: int = 2,
    saes: Sequence[Sae] = (),
    seed: int = 0,
    tick: Tick | None = None,
) -> ImplicitReward:
    """The implicit reward of every answer, linear models of it, and their agreement with the true reward.

    Every prediction that is compared with anything comes from a fit that has not seen the prompt (five folds).

    Args:
        items: prompt, answer and, where it is known, the true reward; several answers a prompt tell most.
        layers: where the linear models read; None takes the `n_layers` after which the streams differ most.
        saes: sparse autoencoders of the tuned model, each at its own site; one linear model each.

    Raises:
        ValueError: fewer than 20 answers or than five prompts, or models that cannot be compared.
    """
    say = tick or (lambda done, total, note: None)
    found = tuple(one if isinstance(one, RewardItem) else RewardItem(*one) for one in items)
    prompts = [one.prompt for one in found]
    if len(found) < MIN_ITEMS or len(set(prompts)) < FOLDS:
        raise ValueError(
            f"An implicit reward is modeled on at least {MIN_ITEMS} answers to at least {FOLDS} prompts; "
            f"got {len(found)} to {len(set(prompts))}."
        )
    part_changes(base, tuned)  # refuses models that cannot be compared
    say(0, 4, "Log-probabilities under both models")
    values = log_ratios(base, tuned, found)
    rewards = np.tanh(values / 2)
    passages = [passage(tuned, one.prompt, one.answer) for one in found]
    tokens = [one.tokens for one in passages]
    say(1, 4, "Activations")
    if layers is None:
        layers = _divergent(base, tuned, tokens[:: max(1, len(tokens) // 40)], n_layers)
    sites = [Site(layer, "resid_post") for layer in layers]
    x, before = (_features(lm, passages, sites, None) for lm in (tuned, base))
    steered = range(tuned.n_layers // 2, tuned.n_layers - 1)  # where a direction may still change what is said
    kept = [Site(layer, "resid_post") for layer in dict.fromkeys([*layers, *steered])]
    streams = read(tuned, tokens, [_place(one, DECIDED) for one in passages], kept)
    true = None if any(one.reward is None for one in found) else np.array([float(one.reward or 0) for one in found])
    say(2, 4, "Linear models")
    fit = partial(_modeled, y=rewards, true=true, prompts=prompts)
    models = [fit(STREAM, sites, x), fit(CHANGE, sites, x - before)]
    for sae in saes:
        models.append(fit(sae.name, [sae.site], _features(tuned, passages, [sae.site], sae), sae=sae))
    say(3, 4, "Controls")
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((tuned.d_vocab, x.shape[1]))
    spoken = np.stack([vectors[list(one.tokens[one.start : one.end])].mean(0) for one in passages])
    controls = [fit(RANDOM_NUMBERS, (), rng.standard_normal(x.shape)), fit(RANDOM_TOKENS, (), spoken)]
    own, parted = None, ()
    if true is not None:
        own = agreement(rewards, true, prompts)
        answers, kinds = [one.answer for one in found], [one.kind for one in found]
        parted = shortcuts(rewards - true, prompts, answers, kinds)
    say(4, 4, "Done")
    return ImplicitReward(
        base.name, tuned.name, found, values, rewards, own, tuple(layers), tuple(models), tuple(controls), parted,
        {site.layer: h.numpy().astype(float) for site, h in streams.items()}, tuned.identity,
    )  # fmt: skip


def _place(one: Passage, place: str) -> list[int]:
    """The tokens of a passage that a place means."""
    if place == DECIDED:
        return [one.start - 1]
    return [one.start] if place == FIRST else list(range(one.start, one.end))


def _features(
    lm: Model, passages: Sequence[Passage], sites: Sequence[Site], sae: Sae | None
) -> Float[ndarray, "items features"]:
    """The stream at the sites, or the SAE's features, at every place; places and sites side by side."""
    columns = []
    for place in PLACES:
        found = read(lm, [one.tokens for one in passages], [_place(one, place) for one in passages], sites, sae=sae)
        columns += [found[site].numpy().astype(float) for site in sites]
    return np.concatenate(columns, axis=1)


def _divergent(base: Model, tuned: Model, sequences: Sequence[Sequence[int]], n: int) -> list[int]:
    """The layers after which the two models' streams have the lowest mean cosine on the same tokens, lowest first."""
    changes = [layer_change(k, *stream_pairs(base, tuned, sequences, k)) for k in range(base.n_layers)]
    return [one.layer for one in sorted(changes, key=lambda one: one.cosine)[:n]]


def log_ratios(base: Model, tuned: Model, items: Sequence[RewardItem]) -> Float[ndarray, " items"]:
    """log p_tuned(answer | prompt) - log p_base(answer | prompt) of each item, summed over the answer's tokens.

    Raises:
        ValueError: the two models cut a text into different tokens.
    """
    sides = []
    for lm in (base, tuned):
        passages = [passage(lm, one.prompt, one.answer) for one in items]
        rows = rows_of(lm, [(list(p.tokens[: p.start]), list(p.tokens[p.start : p.end]), ()) for p in passages])
        sides.append(([p.tokens for p in passages], [sum(logprobs) for logprobs in score(rows)]))
    if sides[0][0] != sides[1][0]:
        raise ValueError(f"Both models read the same tokens; {base.name} and {tuned.name} cut a text differently.")
    return np.array(sides[1][1]) - np.array(sides[0][1])


def _modeled(
    space: str, sites: Sequence[Site], x: ndarray, *, y: ndarray, true: ndarray | None, prompts: Sequence[str],
    sae: Sae | None = None,
) -> RewardModel:  # fmt: skip
    """A ridge regression whose predictions are out of fold by prompt, and the same fitted to everything."""
    groups = np.unique(prompts, return_inverse=True)[1]
    predicted = np.empty(len(y))
    for train, test in GroupKFold(FOLDS).split(x, y, groups):
        model, mean, spread = _ridge(x[train], y[train])
        predicted[test] = model.predict((x[test] - mean) / spread)
    model, mean, spread = _ridge(x, y)
    z, weights = (x - mean) / spread, np.asarray(model.coef_, float)
    fitted = z @ weights
    shares = weights * (z.T @ fitted) / max(float(fitted @ fitted), 1e-24)
    return RewardModel(
        space, tuple(sites), weights, mean, spread, float(model.intercept_),
        float(model.alpha_), agreement(predicted, y, prompts),
        None if true is None else agreement(predicted, true, prompts), predicted, shares, sae,
    )  # fmt: skip


def _ridge(x: ndarray, y: ndarray) -> tuple[Any, ndarray, ndarray]:
    mean, spread = x.mean(0), x.std(0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    return RidgeCV(alphas=ALPHAS).fit((x - mean) / spread, y), mean, spread
