"""Sampling: the right frequencies, the right nucleus, and noise that belongs to the row alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from reference import sampling as reference
from steered_rows import PROMPTS, batch, decode, direction

from steering.engine.decoding import generate
from steering.engine.requests import Request
from steering.engine.sampling import Sampling, choose, gumbel, nucleus
from steering.interventions import ActivationAddition
from steering.models.model import Model

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.5, -3.0]])


def draws(sampling: Sampling, n: int, logits: torch.Tensor = LOGITS) -> Counter:
    """Tokens of n steps of one stream, all from the same logits."""
    stream = sampling.stream([1, 2, 3])
    rows = choose(logits.expand(n, -1), [sampling] * n, [stream] * n, list(range(n)))
    return Counter(rows.tolist())


def chi_square(counts: Counter, probabilities: list[float], n: int) -> float:
    return sum((counts[i] - n * p) ** 2 / (n * p) for i, p in enumerate(probabilities) if p)


def test_temperature_0_is_argmax() -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(choose(logits, [Sampling()] * 5, [1] * 5, [0] * 5), logits.argmax(-1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_softmax(temperature: float) -> None:
    """Chi-square with 5 degrees of freedom stays below 20.5 with probability 0.999 (the seed is fixed)."""
    n = 20_000
    probabilities = (LOGITS[0] / temperature).softmax(-1).tolist()
    assert chi_square(draws(Sampling(temperature), n), probabilities, n) < 20.5


def test_frequencies_in_the_nucleus_are_renormalized() -> None:
    n = 20_000
    kept = reference.nucleus(LOGITS[0].softmax(-1).tolist(), 0.8)
    counts = draws(Sampling(1.0, top_p=0.8), n)
    assert set(counts) == set(kept) and 1 < len(kept) < 6
    assert chi_square(counts, [kept.get(i, 0.0) for i in range(6)], n) < 20.5


def test_gumbel_noise_has_the_gumbels_mean_and_variance() -> None:
    """Euler's constant and pi^2 / 6, within five standard errors of 100,000 draws."""
    noise = gumbel([(7, 0)], 100_000).double()
    assert float(noise.mean()) == pytest.approx(0.5772157, abs=5 * 1.2825 / 100_000**0.5)
    assert float(noise.var()) == pytest.approx(math.pi**2 / 6, abs=0.06)
    assert noise.isfinite().all()


def test_noise_of_many_rows_is_each_rows_own_as_transcribed() -> None:
    keys = [(7, 0), (7, 1), (123456789, 3)]
    together = gumbel(keys, 333)
    for row, (stream, step) in zip(together, keys, strict=True):
        generator = torch.Generator().manual_seed((stream + step * 0x9E3779B97F4A7C15) % 2**63)
        uniform = torch.rand(333, generator=generator).clamp(min=1e-20)
        assert torch.equal(row, -(-uniform.log()).clamp(min=1e-20).log())
        assert torch.equal(row, gumbel([(stream, step)], 333)[0])


def test_a_nucleus_by_hand() -> None:
    """Probabilities 0.5, 0.3, 0.15, 0.05 in shuffled order: 0.7 needs the first two (0.5 < 0.7 <= 0.8)."""
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()[None]
    for top_p, kept in ((0.4, [1]), (0.5, [1]), (0.7, [1, 3]), (0.85, [0, 1, 3]), (0.97, [0, 1, 2, 3])):
        found = nucleus(logits, torch.tensor([top_p]))[0]
        assert found.isfinite().nonzero().flatten().tolist() == kept
        assert torch.equal(found[kept], logits[0, kept])


def test_a_nucleus_is_the_papers() -> None:
    g = torch.Generator().manual_seed(1)
    for _ in range(20):
        logits = torch.randn(1, 40, generator=g) * 2
        top_p = float(torch.rand(1, generator=g)) * 0.98 + 0.01
        kept = reference.nucleus(logits[0].double().softmax(-1).tolist(), top_p)
        found = nucleus(logits, torch.tensor([top_p]))[0]
        assert set(found.isfinite().nonzero().flatten().tolist()) == set(kept)


def test_the_most_probable_token_always_stays() -> None:
    found = nucleus(torch.randn(4, 30), torch.full((4,), 1e-9))
    assert (found.isfinite().sum(-1) == 1).all()


def test_top_p_1_cuts_nothing_even_where_rounding_would() -> None:
    """A neighbor with a nucleus makes the code run for every row; a row without one must come out untouched."""
    logits = torch.cat([torch.tensor([60.0, 50.0]), torch.linspace(-40, 0, 500)])[None].expand(2, -1)
    found = nucleus(logits, torch.tensor([1.0, 0.5]))
    assert torch.equal(found[0], logits[0]) and not found[1].isfinite().all()


def test_noise_is_a_function_of_seed_sample_prompt_and_step() -> None:
    base = Sampling(1.0, seed=3, sample=1)
    assert base.stream([1, 2]) == Sampling(0.2, 0.9, seed=3, sample=1).stream([1, 2])
    others = [
        Sampling(1.0, seed=4, sample=1).stream([1, 2]),
        Sampling(1.0, seed=3, sample=2).stream([1, 2]),
        base.stream([2, 1]),
        base.stream([12]),
        base.stream([1, 2, 0]),
    ]
    assert len({base.stream([1, 2]), *others}) == 6
    stream = base.stream([1, 2])
    assert torch.equal(gumbel([(stream, 5)], 100), gumbel([(stream, 5)], 100))
    assert not torch.equal(gumbel([(stream, 5)], 100), gumbel([(stream, 6)], 100))


def test_steps_are_independent() -> None:
    """No correlation between the noise of neighboring steps, or of neighboring streams."""
    for one, other in (
        (gumbel([(9, 0)], 20_000), gumbel([(9, 1)], 20_000)),
        (gumbel([(9, 0)], 20_000), gumbel([(10, 0)], 20_000)),
    ):
        assert abs(float(torch.corrcoef(torch.cat([one, other]))[0, 1])) < 5 / 20_000**0.5


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    gumbel([(1, 2)], 50)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_variants_of_a_prompt_share_their_noise(lm: Model) -> None:
    """Paired comparison: a steering too weak to matter changes no token, a strong one does."""
    weak, strong = (ActivationAddition(direction(), alpha=alpha) for alpha in (1e-6, 9.0))
    options = {"temperature": 1.0, "seed": 5, "max_new_tokens": 12, "ignore_eos": True}
    base, same, other = batch(lm, [PROMPTS[1]] * 3, [(), (weak,), (strong,)], **options)
    assert base.generated == same.generated != other.generated


def test_neighbors_do_not_change_a_row(lm: Model) -> None:
    """Other prompts, temperatures and nuclei beside it: the row draws what it draws alone."""
    settings = [
        {"temperature": 1.0, "seed": 1},
        {"temperature": 0.7, "top_p": 0.5, "seed": 1},
        {"temperature": 0.0},
        {"temperature": 1.3, "top_p": 0.9, "seed": 2, "sample": 4},
    ]
    rows = [
        Request(prompt, max_new_tokens=10, ignore_eos=True, **one).row(lm)
        for prompt, one in zip(PROMPTS, settings, strict=False)
    ]
    generate(rows)
    for row, prompt, one in zip(rows, PROMPTS, settings, strict=False):
        assert row.generated == decode(lm, prompt, max_new_tokens=10, ignore_eos=True, **one).generated


def test_seeds_and_samples_differ(lm: Model) -> None:
    texts = {
        tuple(decode(lm, PROMPTS[1], temperature=1.0, seed=s, sample=k, max_new_tokens=10).generated)
        for s in (0, 1)
        for k in (0, 1)
    }
    assert len(texts) == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature is a finite number from 0"),
        ({"temperature": math.nan}, "temperature is a finite number from 0"),
        ({"temperature": math.inf}, "temperature is a finite number from 0"),
        ({"top_p": 0.0}, "top_p is a probability above 0"),
        ({"top_p": 1.2}, "top_p is a probability above 0"),
        ({"top_p": math.nan}, "top_p is a probability above 0"),
        ({"seed": 1.5}, "seed is an integer; got 1.5"),
        ({"sample": True}, "sample is an integer; got True"),
    ],
)
def test_settings_out_of_range(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**settings)
