"""Measurements and statistics by their definitions: loops over pairs of things, nothing clever."""

import math

import numpy as np


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def wilson(k: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson (1927): the p for which |k/n - p| = z sqrt(p (1 - p) / n)."""
    p = k / n
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return center - half, center + half


def mcnemar(gained: int, lost: int) -> float:
    """Twice the smaller tail of a fair coin thrown once for each flipped item."""
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    return min(1.0, 2 * tail)


def auroc(positive: list[float], negative: list[float]) -> float:
    return sum((x > y) + 0.5 * (x == y) for x in positive for y in negative) / (len(positive) * len(negative))


def percentile_bootstrap(values: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    g = np.random.default_rng(seed)
    means = sorted(float(g.choice(values, len(values)).mean()) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def holm(p_values: list[float]) -> list[float]:
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted
