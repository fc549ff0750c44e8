"""Receipts: what was really applied to a row, against what the formula asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Receipt:
    """What one intervention did to one row.

    Shifts are norms of the change of the residual stream, averaged over the touched tokens (and sites), in the units
    of the stream. `expected` comes from the formula in float32; `measured` from the tensors that entered and left the
    hook, in the model's own dtype. They differ by rounding, or something is wrong.

    Attributes:
        intervention: its settings, as text.
        sites: where it ran.
        tokens: how many tokens it touched (at its first site).
        positions: which, as absolute positions.
        expected, measured: mean shift a touched token and site.
        fired: the share of touched tokens (and sites) on which a threshold was crossed; None without a threshold.
        fired_positions: the tokens on which it was crossed, at any site.
        notes: what else a reader has to know.
    """

    intervention: str
    sites: tuple[str, ...]
    tokens: int
    positions: tuple[int, ...]
    expected: float
    measured: float
    fired: float | None = None
    fired_positions: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the measured shift is the expected one, within what half precision can tell."""
        return abs(self.expected - self.measured) <= 0.02 * max(self.expected, self.measured) + 1e-4


@dataclass
class Ledger:
    """Collects what the hooks saw of one intervention on one row: a few entries, each over many tokens of one site."""

    entries: list[tuple[str, list[int], Tensor, Tensor, Tensor | None]] = field(default_factory=list)

    def receipt(self, intervention: str, notes: Sequence[str] = ()) -> Receipt:
        """The sum of the entries."""
        expected = measured = fired = 0.0
        count, thresholds = 0, False
        touched: set[int] = set()
        hits: set[int] = set()
        for _, positions, e, m, f in self.entries:
            count, touched = count + len(positions), touched | set(positions)
            expected, measured = expected + float(e.sum()), measured + float(m.sum())
            if f is not None:
                thresholds, fired = True, fired + float(f.sum())
                hits |= {position for position, hit in zip(positions, f.tolist(), strict=True) if hit}
        return Receipt(
            intervention,
            tuple(dict.fromkeys(site for site, *_ in self.entries)),
            len(touched),
            tuple(sorted(touched)),
            expected / max(count, 1),
            measured / max(count, 1),
            fired / max(count, 1) if thresholds else None,
            tuple(sorted(hits)),
            tuple(notes),
        )


@dataclass(eq=False)
class Entry:
    """What one edit did to its rows in one pass or several; `mask` says which tokens it was to touch (None: all).

    Tensors stay as they are until the set of rows changes: a decoding step must not wait for a device.
    """

    positions: Int[Tensor, "rows pos"]
    expected: Float[Tensor, "rows pos"]
    measured: Float[Tensor, "rows pos"]
    fired: Bool[Tensor, "rows pos"] | None
    mask: Bool[Tensor, "rows pos"] | None

    def of(self, row: int, has_threshold: bool) -> tuple[list[int], Tensor, Tensor, Tensor | None]:
        """Positions, expected and measured shifts, and crossings of a row's touched tokens."""
        keep = slice(None) if self.mask is None else self.mask[row]
        fired = self.fired[row][keep] if has_threshold and self.fired is not None else None
        return self.positions[row][keep].tolist(), self.expected[row][keep], self.measured[row][keep], fired
