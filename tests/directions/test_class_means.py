"""Each class of texts against the others: by hand, and what does not depend on how many texts a class has."""

from __future__ import annotations

import numpy as np
import pytest

from steering.directions.class_means import against_others


def test_a_class_s_mean_minus_the_mean_of_the_others_means() -> None:
    classes = {
        "a": np.array([[2.0, 0.0], [4.0, 0.0]]),  # mean (3, 0)
        "b": np.array([[0.0, 3.0]]),
        "c": np.array([[1.0, -1.0], [-1.0, 1.0]]),  # mean (0, 0)
    }
    found = against_others(classes)
    assert found["a"] == pytest.approx([3, -1.5]) and found["b"] == pytest.approx([-1.5, 3])
    assert found["c"] == pytest.approx([-1.5, -1.5])
    assert np.sum(list(found.values()), axis=0) == pytest.approx([0, 0])
    twice = against_others({**classes, "a": np.repeat(classes["a"], 5, axis=0)})
    assert all(twice[name] == pytest.approx(found[name]) for name in found)


def test_what_cannot_be_compared_is_said() -> None:
    one = np.ones((2, 3))
    with pytest.raises(ValueError, match="two classes of at least one text, got a: 2"):
        against_others({"a": one})
    with pytest.raises(ValueError, match="got a: 2, b: 0"):
        against_others({"a": one, "b": one[:0]})
    with pytest.raises(ValueError, match="NaN or infinity"):
        against_others({"a": one, "b": one * np.nan})
