"""Direction and Evaluate say before anything runs which sets a direction's pairs have seen."""

from __future__ import annotations

import pytest
from open_pages import fine, open_page

pytestmark = pytest.mark.usefixtures("clean_caches")


@pytest.mark.parametrize(("pairs", "seen"), [("sycophancy", "92 of 376 items"), ("mood_sad", "")])
def test_direction_names_the_sets_that_its_pairs_have_seen(pairs: str, seen: str) -> None:
    at = fine(open_page("pages/build/direction.py", "organism"))
    fine(at.selectbox(key="direction_source").set_value(pairs).run())
    said = " ".join(one.value for one in at.warning)
    assert seen in said and bool(seen) == bool(said), said


def test_evaluate_says_nothing_where_nothing_was_seen() -> None:
    at = fine(open_page("pages/measure/evaluate.py", "organism", evaluate_kind="own"))
    assert not any("occur in the pairs" in one.value for one in at.warning)
