"""Layer by layer: scores of tokens, guesses of layers, and effects of steering, against their definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from steering.directions import agreement, estimators
from steering.directions.activations import of_pairs, passage
from steering.directions.contrasts import mean_difference
from steering.directions.direction import Direction, random_like
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.interventions import ActivationAddition
from steering.measurements import layers
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

PAIRS = PairSet.from_lists(
    [f"I love the {x}" for x in ("cat", "dog", "moon", "mat", "vector", "prompt")],
    [f"I hate the {x}" for x in ("cat", "dog", "moon", "mat", "vector", "prompt")],
)
CHAT = PairSet.from_lists(["yes, of course", "yes, it is"], ["no, not so", "no, never"], "Is 7 plus 5 equal to 12?")
TEXT = "She said that the cat sat on the mat"


@pytest.fixture
def engine(tiny_llama: Model) -> Iterator[Engine]:
    with Engine(tiny_llama) as made:
        yield made


def test_class_scores_are_one_and_minus_one_at_the_classes(tiny_llama: Model) -> None:
    """A token whose activation is the positive mean scores +1; the text's own tokens score by the formula."""
    site = Site(1)
    h = tiny_llama.activations([tiny_llama.tokens(TEXT)], [site])[0][site][0]
    scores = layers.class_scores(tiny_llama, tiny_llama.tokens(TEXT), {site: (h[3:4], h[5:6])})[0]
    assert scores[3] == pytest.approx(1, abs=1e-4) and scores[5] == pytest.approx(-1, abs=1e-4)
    middle, d = (h[3] + h[5]) / 2, h[3] - h[5]
    np.testing.assert_allclose(scores, 2 * ((h - middle) @ d / d.square().sum()).numpy(), rtol=1e-3, atol=1e-4)


def test_direction_scores_are_cosines(tiny_llama: Model) -> None:
    direction, sites = mean_difference(tiny_llama, PAIRS, Site(2)), [Site(0), Site(2)]
    scores = layers.direction_scores(tiny_llama, tiny_llama.tokens(TEXT), direction, sites)
    h = tiny_llama.activations([tiny_llama.tokens(TEXT)], sites)[0]
    for row, site in zip(scores, sites, strict=True):
        wanted = torch.nn.functional.cosine_similarity(h[site][0], direction.vector[None])
        np.testing.assert_allclose(row, wanted, atol=1e-5)


def test_a_feature_direction_is_scored_by_what_it_writes(tiny_llama: Model, sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard")
    direction = mean_difference(tiny_llama, PAIRS, sae.site, sae=sae)
    decoded = Direction(direction.decoded(), sae.site)
    found, wanted = (
        layers.direction_scores(tiny_llama, tiny_llama.tokens(TEXT), one, [Site(2)]) for one in (direction, decoded)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_last_layers_guess_is_the_models(lm: Model) -> None:
    tokens = lm.tokens(TEXT)
    logits = lm.forward(torch.tensor([tokens])).softmax(-1)[0]
    guesses = layers.layer_guesses(lm, tokens)
    assert guesses.tokens.shape == (lm.n_layers, len(tokens))
    assert guesses.tokens[-1].tolist() == logits.argmax(-1).tolist()
    np.testing.assert_allclose(guesses.probabilities[-1], logits.max(-1).values, rtol=1e-4)


def test_effects_equal_scoring_by_hand(engine: Engine) -> None:
    lm, sites = engine.model, [Site(0), Site(2)]
    train = of_pairs(lm, PAIRS, sites)
    norms = dict.fromkeys(sites, 3.0)
    found = layers.causal_effects(engine, train, CHAT, norms, units=0.5, controls=2)
    assert [effect.layer for effect in found] == [0, 2] and all(len(effect.controls) == 2 for effect in found)
    direction = mean_difference(lm, PAIRS, Site(2))
    means = []
    bare = Direction(
        direction.vector, direction.site
    )  # what is read here has no recipe, so its numbers seed the controls
    for one in (direction, random_like(bare, 0), random_like(bare, 1)):
        changes = []
        for pair in CHAT:
            preference = []
            for variant in ((), (ActivationAddition(one, 1.5 / direction.norm),)):
                scores = []
                for side in pair.sides:
                    item = passage(lm, *side)
                    prompt, answer = item.tokens[: item.start], item.tokens[item.start : item.end]
                    scores.append(np.mean(engine.score(list(prompt), list(answer), [variant])[0]))
                preference.append(scores[0] - scores[1])
            changes.append(preference[1] - preference[0])
        means.append(np.mean(changes))
    assert found[1].effect.value == pytest.approx(means[0], abs=1e-4)
    assert found[1].controls == pytest.approx(means[1:], abs=1e-4) and abs(means[1] - means[2]) > 1e-3
    assert found[1].alpha == pytest.approx(1.5 / direction.norm, rel=1e-5)


def test_the_contrast_asked_for_makes_the_direction_and_the_separation(engine: Engine) -> None:
    """A principal component has length 1, so half of a typical norm of 3 is alpha = 1.5."""
    g = torch.Generator().manual_seed(0)
    base, width = torch.randn(30, engine.model.d_model, generator=g), engine.model.d_model
    sides = base + 0.3 + torch.randn(30, width, generator=g), base + torch.randn(30, width, generator=g)
    (found,) = layers.causal_effects(engine, {Site(1): sides}, CHAT, {Site(1): 3.0}, contrast="pca", controls=0)
    assert found.alpha == pytest.approx(1.5)
    arrays = [side.double().numpy() for side in sides]
    assert found.separation == agreement.held_out(*arrays, estimators.pca, folds=10).auroc
    assert found.separation != agreement.held_out(*arrays, folds=10).auroc


def test_adding_nothing_changes_nothing(engine: Engine) -> None:
    train = of_pairs(engine.model, PAIRS, [Site(1)])
    (effect,) = layers.causal_effects(engine, train, CHAT, {Site(1): 3.0}, units=0.0, controls=1)
    assert effect.effect.value == 0 and effect.controls == (0.0,)


def test_effects_can_be_cancelled(engine: Engine) -> None:
    def tick(done: int, total: int) -> None:
        assert total == 3
        if done:
            raise InterruptedError

    train = of_pairs(engine.model, PAIRS, [Site(0), Site(1)])
    with pytest.raises(InterruptedError):
        layers.causal_effects(engine, train, CHAT, {Site(0): 1.0, Site(1): 1.0}, tick=tick)
