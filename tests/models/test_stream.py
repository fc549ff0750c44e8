"""The loop that shows growing texts: it ends with the last row, whenever that ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from steering.ui.steer.results import stream


class Row:
    """A handle that is finished after it was asked so many times whether it is."""

    def __init__(self, asked: int, error: Exception | None = None) -> None:
        self.left, self.error, self.cancelled = asked, error, False

    @property
    def done(self) -> bool:
        self.left -= 1
        return self.left < 0

    @property
    def text(self) -> str:
        return "whole" if self.left < 0 else ""

    def wait(self, seen: int, timeout: float) -> bool:
        return True

    def cancel(self) -> None:
        self.cancelled = True


@pytest.mark.parametrize("asked", [0, 1, 2, 3])
def test_a_row_may_be_finished_between_any_two_looks(asked: int) -> None:
    """Once a look for the unfinished one came too late, found none, and ended the page with an error."""
    shown: dict[int, str] = {}
    rows = [Row(0), Row(asked)]
    stream(rows, shown.__setitem__, lambda waited: None)  # type: ignore[arg-type]
    assert shown == {0: "whole", 1: "whole"} and not any(row.cancelled for row in rows)


def test_rows_are_cancelled_where_the_page_moves_on() -> None:
    def gone(number: int, text: str) -> None:
        raise KeyboardInterrupt  # what Streamlit raises to stop a run is no Exception either

    rows = [Row(0), Row(10**6)]
    with pytest.raises(KeyboardInterrupt):
        stream(rows, gone, lambda waited: None)  # type: ignore[arg-type]
    assert not rows[0].cancelled and rows[1].cancelled


def test_what_went_wrong_in_a_row_is_a_sentence() -> None:
    failed = SimpleNamespace(done=True, text="", error=RuntimeError("no room"), cancel=lambda: None)
    with pytest.raises(ValueError, match="no room"):
        stream([failed], lambda number, text: None, lambda waited: None)  # type: ignore[list-item]
