"""What the cards and charts under Compare are scaled by."""

from __future__ import annotations

from steering.ui.steer.evidence import ordinary, scale_of, view_tokens
from steering.ui.steer.results import RunRow


def row(values: list[float]) -> RunRow:
    """A text of a prompt and of generated tokens with these projections."""
    n = len(values)
    found = RunRow("Steered", "steered", 0, 0, prompt_tokens=[0, 1], tokens=list(range(n - 2)))
    found.pieces, found.logprobs = [f" t{i}" for i in range(n)], [-1.0] * (n - 2)
    found.projections = {"mood": {"before": values, "after": values}}
    return found


def test_the_first_token_and_massive_ones_set_neither_scale_nor_tint() -> None:
    plain = [3.0, 1.0, -2.0, 1.5, 2.0, -1.0, 0.5, 1.0]
    massive = [25_000.0, *plain[1:4], -9_000.0, *plain[5:]]
    assert ordinary(plain) == [None, *plain[1:]]
    assert ordinary(massive) == [None, *plain[1:4], None, *plain[5:]]
    assert scale_of([row(massive)], "mood", "projection") <= 2.0
    tinted = [token.value for token in view_tokens(row(massive), row(massive), "mood", "projection")]
    assert tinted == ordinary(massive)


def test_what_is_short_or_flat_stays_as_it_is() -> None:
    assert ordinary([]) == [] and ordinary([4.0]) == [4.0] and ordinary([None, None]) == [None, None]
    assert ordinary([0.0, 0.0, 0.0]) == [None, 0.0, 0.0]


def test_a_peak_among_small_values_is_not_massive() -> None:
    values = [9.0, *[0.1] * 10, *[0.4, 2.5, 3.0], *[0.2] * 10]
    assert 3.0 in ordinary(values)


def test_a_feature_that_is_zero_on_most_tokens_keeps_its_peaks() -> None:
    values = [0.0] * 20 + [1.5, 3.0] + [0.0] * 20
    assert ordinary(values)[20:22] == [1.5, 3.0]
