"""What tuning changed: laws of the comparison, the implicit reward against naive sums, and a planted shortcut."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from reference import tuning as naive
from steered_rows import direction

import steering as t
from steering.measurements.tuning.implicit_reward import RewardItem, log_ratios
from steering.measurements.tuning.model_diff import as_matrix, linear_cka, part_changes, stream_pairs
from steering.measurements.tuning.reward_agreement import agreement, shortcuts
from steering.models.model import Model
from steering.models.passages import passage
from steering.showing.one_line import LONGEST
from steering.sites import Site

TEXTS = ["The cat sat on the mat and looked at the moon.", "I love you and I hate you. She said yes, he said no."]
LAYER = 2


def pushed(lm: Model, size: float = 0.5) -> Model:
    """A copy whose MLP at LAYER writes more of a known direction, for every input."""
    hf = copy.deepcopy(lm.hf)
    weight = hf.model.layers[LAYER].mlp.down_proj.weight  # [d_model d_mlp]
    v = direction(Site(LAYER)).vector
    inputs = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weight += size * torch.outer(v, inputs)
    return Model(f"{lm.name} tuned", hf, lm.tokenizer)


@pytest.fixture(scope="module")
def tuned(tiny_llama: Model) -> Model:
    return pushed(tiny_llama)


# The comparison -----------------------------------------------------------------------------------------------------


def test_a_model_does_not_differ_from_itself(tiny_llama: Model) -> None:
    found = t.compare_models(tiny_llama, tiny_llama, TEXTS)
    assert all(one.absolute == 0 for one in found.parts)
    assert all(one.difference == 0 and math.isclose(one.cka, 1) and math.isclose(one.cosine, 1) for one in found.layers)
    assert all(value == 0 for text in found.texts for value in text.kl) and not found.directions


def test_what_was_changed_is_found_and_nothing_else(tiny_llama: Model, tuned: Model) -> None:
    v = direction(Site(LAYER), name="planted")
    found = t.compare_models(tiny_llama, tuned, TEXTS, named=[v, direction(Site(LAYER), seed=5, name="other")])
    moved = {(one.layer, one.part) for one in found.parts if one.absolute > 0}
    assert moved == {(LAYER, "MLP")} and found.most_divergent(1) == [LAYER]
    assert [one.difference > 0 for one in found.layers] == [layer >= LAYER for layer in range(tiny_llama.n_layers)]
    for of in ("weights", "activations"):
        (first,) = [one for one in found.directions if one.of == of and one.direction.site.layer == LAYER][:1]
        assert first.similar[0][0] == "planted" and abs(first.similar[0][1]) > 0.99 and first.share > 0.95
        assert math.isclose(first.direction.norm, 1.0, rel_tol=1e-5)
    assert not [one for one in found.directions if one.direction.site.layer < LAYER]
    assert max(found.texts[0].kl) > 0 and len(found.texts[0].kl) == len(found.texts[0].tokens)
    for value in (found, found.directions[0]):
        assert len(repr(value)) <= LONGEST and "\n" not in repr(value)
    assert "<span" in found._repr_html_()


def test_parameters_by_hand(tiny_llama: Model, tuned: Model) -> None:
    before, after = (lm.hf.model.layers[LAYER].mlp.down_proj.weight.double() for lm in (tiny_llama, tuned))
    whole = sum(p.double().square().sum() for p in tiny_llama.hf.model.layers[LAYER].mlp.parameters()).sqrt()
    (found,) = [one for one in part_changes(tiny_llama, tuned) if one.absolute]
    assert math.isclose(found.absolute, float((after - before).norm()), rel_tol=1e-9)
    assert math.isclose(found.relative, float((after - before).norm() / whole), rel_tol=1e-9)
    matrix = as_matrix(part_changes(tiny_llama, tuned), tiny_llama.n_layers)
    assert matrix.shape == (4, 3) and np.count_nonzero(matrix) == 1 and matrix[LAYER, 1] == found.relative


def test_cka_by_hand_and_as_transcribed() -> None:
    """x = (-1, 1), y = (2, -2): one line, so 1; orthogonal columns give 0; rotation and scale do not matter."""
    x = torch.tensor([[-1.0], [1.0]])
    assert linear_cka(x, -2 * x) == pytest.approx(1)
    square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert linear_cka(square[:, :1], square[:, 1:]) == pytest.approx(0)
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(20, n, generator=g, dtype=torch.float64) for n in (5, 7))
    rotation = torch.linalg.qr(torch.randn(7, 7, generator=g, dtype=torch.float64))[0]
    assert linear_cka(a, b) == pytest.approx(naive.cka(a, b), abs=1e-12)
    assert linear_cka(a, 3 * b @ rotation) == pytest.approx(linear_cka(a, b), abs=1e-12)


def test_streams_are_read_without_bos_and_padding(tiny_llama: Model, tuned: Model) -> None:
    """Texts of two lengths in one batch give the rows that each gives alone."""
    ids = [tiny_llama.tokens(text) for text in TEXTS]
    together = stream_pairs(tiny_llama, tuned, ids, LAYER)
    alone = [stream_pairs(tiny_llama, tuned, [one], LAYER) for one in sorted(ids, key=len)]
    for k in (0, 1):
        torch.testing.assert_close(together[k], torch.cat([one[k] for one in alone]), atol=1e-5, rtol=1e-4)
    assert len(together[0]) == sum(len(one) - 1 for one in ids)


def test_models_that_cannot_be_compared_are_refused(tiny_llama: Model, model: Callable[[str], Model]) -> None:
    with pytest.raises(ValueError, match="one architecture"):
        t.compare_models(tiny_llama, model("gpt2"), TEXTS)
    with pytest.raises(ValueError, match="at least one text"):
        t.compare_models(tiny_llama, tiny_llama, [])


# The implicit reward --------------------------------------------------------------------------------------------------

WORDS = ("cat", "dog", "moon", "mat", "model", "way")


def answers(n: int = 40) -> list[RewardItem]:
    rng = random.Random(0)
    return [
        RewardItem(f"The {rng.choice(WORDS)} and the {rng.choice(WORDS)} {k}.", f" {said}", None, "any")
        for k in range(n // 2) for said in (rng.choice(("yes, of course", "I love that")), "no")
    ]  # fmt: skip


def test_log_ratios_are_those_of_every_token(tiny_llama: Model, tuned: Model) -> None:
    items = answers(6)
    found = log_ratios(tiny_llama, tuned, items)
    for item, value in zip(items, found, strict=True):
        where = passage(tiny_llama, item.prompt, item.answer)
        assert value == pytest.approx(naive.log_ratio(tiny_llama, tuned, where.tokens, where.start), abs=1e-3)
    assert np.allclose(log_ratios(tuned, tiny_llama, items), -found, atol=1e-4)
    assert np.all(log_ratios(tuned, tuned, items) == 0)


def test_a_linear_model_gives_an_answer_what_it_gave_it_in_the_fit(tiny_llama: Model, tuned: Model) -> None:
    items = answers()
    found = t.implicit_reward(tiny_llama, tuned, items)
    assert min(found.layers) >= LAYER and len(found.models) == len(found.controls) == 2 and found.true is None
    assert np.allclose(found.rewards, np.tanh(found.values / 2))  # 2 p / (p + q) - 1 with p / q = exp(value)
    stream, change = found.models
    with pytest.raises(ValueError, match="give base="):
        change.reward(tuned, "a", "b")
    # Residuals of a regression with an intercept sum to zero: the same numbers are read again as in the fit.
    for one, options in ((stream, {}), (change, {"base": tiny_llama})):
        fitted = [one.reward(tuned, item.prompt, item.answer, **options) for item in items]
        assert np.mean(fitted) == pytest.approx(found.rewards.mean(), abs=1e-4) and np.ptp(fitted) > 0
    assert len(stream.weights) == 3 * len(found.layers) * tuned.d_model  # three places
    assert len(stream.top_features(5)) == 5 and stream.shares.sum() == pytest.approx(1)
    layer = found.layers[0]
    h, y = found.activations[layer], np.abs(found.rewards)
    by_hand = ((h - h.mean(0)) * (y - y.mean())[:, None]).mean(0) / y.std()
    np.testing.assert_allclose(found.direction().vector.numpy(), by_hand, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.direction(layer, ["any"]).vector, found.direction().vector)
    with pytest.raises(ValueError, match="of the kinds"):
        found.direction(layer, ["another"])
    for value in (found, stream, items[0], stream.fidelity):
        assert len(repr(value)) <= LONGEST and "\n" not in repr(value)
    with pytest.raises(ValueError, match="are a control"):
        found.controls[0].reward(tuned, "a", "b")
    with pytest.raises(ValueError, match="was read after layers"):
        found.direction(0)
    with pytest.raises(ValueError, match="at least 20 answers"):
        t.implicit_reward(tiny_llama, tuned, items[:4])


def test_a_prompt_is_never_predicted_by_a_fit_that_saw_it(tiny_llama: Model, tuned: Model) -> None:
    """Numbers that say nothing predict nothing, although there are more of them than answers."""
    found = t.implicit_reward(tiny_llama, tuned, answers(120))
    assert abs(found.controls[0].fidelity.correlation.value) < 0.35


# Agreement ------------------------------------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    """true = 2 x + 1 exactly: correlation 1, every pair in order, no calibration error; reversed it is all wrong."""
    x = np.arange(12.0)
    prompts = [k // 2 for k in range(12)]
    found = agreement(x, 2 * x + 1, prompts)
    assert found.correlation.value == pytest.approx(1) and found.slope == pytest.approx(2)
    assert found.ranking.value == 1 and found.calibration_error == pytest.approx(0, abs=1e-9)
    assert agreement(-x, 2 * x + 1, prompts).ranking.value == 0
    assert sum(n for *_, n in found.bins) == 12
    with pytest.raises(ValueError, match="same for every answer"):
        agreement(x, np.ones(12), prompts)


def test_a_planted_shortcut_is_found_and_words_beside_it_are_not() -> None:
    rng = np.random.default_rng(0)
    prompts = [f"How do I {v} {o} {w}?" for v in ("paint", "sell", "take") for o in ("my", "our", "a friend's")
               for w in ("boat", "car", "bike", "fence") for _ in range(3)]  # fmt: skip
    residual = np.array([2.0 * ("boat" in one) for one in prompts]) + 0.3 * rng.standard_normal(len(prompts))
    nothing = [""] * len(prompts)
    (found,) = shortcuts(residual, prompts, nothing, ["asked"] * len(prompts))
    assert found.word == "boat" and found.extra.low > 1.5 and found.n == 27
    assert shortcuts(rng.standard_normal(len(prompts)), prompts, nothing, ["asked"] * len(prompts)) == ()
    by_answer = shortcuts(residual, nothing, prompts, ["asked"] * len(prompts))
    assert (by_answer[0].word, by_answer[0].where) == ("boat", "answer")
