"""What every chat prompt of a model begins with, read once while rows are decoded instead of once a row.

A class asks thirty questions at once: each begins with the template's own tokens, steered in one or two ways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile

import torch

from ..models.caching.beginnings import LEAST
from ..models.caching.cache import RowCache, can_continue
from ..models.chat import chat
from ..models.model import Model
from ..models.rope import turning_point
from .beginnings import AfterRows, beginning, edited, may_share
from .passes import run_sequences
from .rows import Row

# Ways of being steered whose keys and values are kept.
KEPT = 16


class Openings:
    """The keys and values of a chat template's first tokens, for each way in which they are steered.

    One is read when it is met for the second time, so that a lone prompt costs no pass more. `clear` them when no row
    is left: weights may be edited and SAEs unloaded after that.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.clear()

    def clear(self) -> None:
        self._seen: set[tuple] = set()
        self._read: dict[tuple, tuple[Row, RowCache]] = {}

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """What the model's chat prompts all begin with; none where that saves less than it costs."""
        return _opening(self._model)

    def known(self, prompt: Sequence[int]) -> int:
        """How many tokens at the front of a prompt are read already, in some way."""
        met = self._read and tuple(prompt[: len(self.tokens)]) == self.tokens
        return len(self.tokens) if met else 0

    def parted(self, rows: Sequence[Row]) -> list[tuple[list[Row], AfterRows | None]]:
        """The rows that are read whole, and those that go on from what was read, with that.

        Rows of one prompt stay together: below the layer where they are steered they are one row.
        """
        ways = [self._way(row) for row in rows]
        prompts: dict[tuple[int, ...], set[tuple | None]] = {}
        for row, way in zip(rows, ways, strict=True):
            prompts.setdefault(row.prompt, set()).add(way)
        met = Counter(way for found in prompts.values() for way in found if way is not None)
        known = {way for way, times in met.items() if way in self._read or times + (way in self._seen) > 1}
        self._seen.update(met)
        ready = {prompt for prompt, found in prompts.items() if found <= known}
        on = [(row, way) for row, way in zip(rows, ways, strict=True) if row.prompt in ready and way is not None]
        if not on or not can_continue(self._model):
            return [(list(rows), None)]
        self._read_new(on)
        used = list(dict.fromkeys(way for _, way in on))
        after = self._joined(used).of([used.index(way) for _, way in on])
        for way in list(self._read)[:-KEPT]:
            del self._read[way]
        whole = [row for row in rows if row.prompt not in ready]
        return [*([(whole, None)] if whole else []), ([row for row, _ in on], after)]

    def _way(self, row: Row) -> tuple | None:
        """How a row's opening is steered; None if the row has no such opening or cannot go on from one."""
        length = len(self.tokens)
        if not length or len(row.prompt) <= length or row.prompt[:length] != self.tokens or not may_share(row):
            return None
        return (row.steer_bos, *edited(row, length, {}))

    @torch.inference_mode()
    def _read_new(self, rows: Sequence[tuple[Row, tuple]]) -> None:
        """Read the openings that are not kept yet, as many as are used at once in one pass."""
        new = {way: row for row, way in rows if way not in self._read}
        if not new:
            return
        # The steps of an opening that they leave alone are left out: they would be asked for an edit that never comes.
        some = [beginning(row, len(self.tokens), steered=len(way) > 1) for way, row in new.items()]
        cache = RowCache()
        run_sequences(self._model, some, cache)
        for number, (way, row) in enumerate(zip(new, some, strict=True)):
            one = RowCache()
            one.begin(cache, [(number, 0, cache.length)], cache.length, len(cache.layers))
            self._read[way] = row, one

    def _joined(self, ways: Sequence[tuple]) -> AfterRows:
        both = [self._read[way] for way in ways]
        cache = RowCache()
        cache.begin(both[0][1], [(0, 0, len(both[0][0].sequence))], both[0][1].length, len(both[0][1].layers))
        for _, other in both[1:]:
            cache.join(other)
        return AfterRows([row for row, _ in both], cache)


def _opening(model: Model) -> tuple[int, ...]:
    if not model.has_chat_template or turning_point(model.hf) is not None:
        return ()
    try:
        one, other = (model.tokens(chat(letter)) for letter in "aZ")
    except ValueError:  # a template with a fault: its prompts are refused where they are written
        return ()
    same = tuple(a for a, _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))
    return same if len(same) >= LEAST else ()
