"""Receipts: for each edit of a row, the shift that arrived in the model against the one that the formula asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..showing.one_line import clipped, counted, one_line

# The rounding error allowed to an edit's own arithmetic in float32, as a share of the shift.
_RELATIVE = 1e-3


@dataclass(frozen=True)
class SiteShift:
    """At one site: the mean shift a token that was asked for, the one that arrived, and the allowed difference."""

    site: str
    expected: float
    measured: float
    tolerance: float

    def __str__(self) -> str:
        if not self.expected and not self.measured:
            return f"the hook at {self.site} never ran"
        return f"at {self.site} a shift of {self.expected:.4g} was expected and {self.measured:.4g} measured"


@dataclass(frozen=True)
class Receipt:
    """What one intervention did to one row.

    Shifts are norms of the change of the residual stream, averaged over the touched tokens (and sites), in the units
    of the stream. `expected` comes from the formula in float32; `measured` from the tensor that the rest of the model
    received further down, less what was there before the edit, in the model's own dtype. They differ by rounding, or
    something is wrong.

    Attributes:
        intervention: its settings, as text.
        sites: where it ran.
        tokens: how many tokens it touched (at its first site).
        positions: which, as absolute positions.
        expected, measured: mean shift a touched token and site.
        fired: the share of touched tokens (and sites) on which a threshold was crossed; None without a threshold.
        fired_positions: the tokens on which it was crossed, at any site.
        notes: sentences on special cases, for a reader.
        failures: the sites where the two differ by more than rounding in the model's dtype explains, the worst first.
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
    failures: tuple[SiteShift, ...] = ()

    def __repr__(self) -> str:
        fired = "" if self.fired is None else f"fired on {self.fired:.0%}"
        shift = f"shift {self.measured:.3g} measured, {self.expected:.3g} expected"
        shift += "" if self.agrees else ", which disagree"
        return one_line(self, clipped(self.intervention, 80), counted(self.tokens, "token"), shift, fired, *self.notes)

    @property
    def agrees(self) -> bool:
        """Whether at every site the expected shift arrived."""
        return not self.failures

    @property
    def problem(self) -> str:
        """One sentence on what did not arrive, or "" where all did."""
        if not self.failures:
            return ""
        worst, *others = self.failures
        more = f" (and at {len(others)} other sites)" if others else ""
        return f"The receipt of {self.intervention} disagrees: {worst}{more}."


def tolerance(expected: float, size: float, dtype: torch.dtype) -> float:
    """How far a measured shift may be from the expected one where the stream has norm `size` and rounds to `dtype`.

    The edited stream is rounded by up to eps / 2 of its norm; three times that is allowed.
    """
    return _RELATIVE * expected + 1.5 * torch.finfo(dtype).eps * (size + expected) + 1e-5


def check(receipts: Sequence[Receipt]) -> None:
    """Raise ValueError with one sentence if a receipt disagrees: numbers of a row whose edit did not arrive mislead."""
    for receipt in receipts:
        if not receipt.agrees:
            raise ValueError(receipt.problem)


@dataclass
class Entry:
    """The shifts of some tokens of a row at one site.

    Attributes:
        size: the mean norm of the stream there; 0 if it was not measured.
    """

    site: str
    positions: list[int]
    expected: Float[Tensor, "tokens"]
    measured: Float[Tensor, "tokens"]
    fired: Bool[Tensor, "tokens"] | None = None
    size: float = 0.0

    def before(self, position: int) -> Entry:
        """The part about the tokens before a position."""
        keep = [n for n, at in enumerate(self.positions) if at < position]
        fired = None if self.fired is None else self.fired[keep]
        positions = [self.positions[n] for n in keep]
        return Entry(self.site, positions, self.expected[keep], self.measured[keep], fired, self.size)


@dataclass
class Ledger:
    """The record of one intervention on one row: a few entries, each over many tokens of one site."""

    entries: list[Entry] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)  # sites whose hook should have run and did not

    def inherit(self, other: Ledger, position: int) -> None:
        """Takes over what another ledger says of the tokens before a position, which both rows have in common."""
        self.entries += [part for entry in other.entries if (part := entry.before(position)).positions]
        self.silent |= other.silent

    def receipt(self, intervention: str, notes: Sequence[str] = (), dtype: torch.dtype = torch.float32) -> Receipt:
        """The sum of the entries."""
        expected = measured = fired = 0.0
        count, thresholds = 0, False
        touched: set[int] = set()
        hits: set[int] = set()
        for entry in self.entries:
            count, touched = count + len(entry.positions), touched | set(entry.positions)
            expected, measured = expected + float(entry.expected.sum()), measured + float(entry.measured.sum())
            if entry.fired is not None:
                thresholds, fired = True, fired + float(entry.fired.sum())
                hits |= {at for at, hit in zip(entry.positions, entry.fired.tolist(), strict=True) if hit}
        failures, overflowed = self._failures(dtype)
        more = (f"Activations overflowed at {overflowed} tokens, which are not compared.",) if overflowed else ()
        return Receipt(
            intervention,
            tuple(dict.fromkeys(entry.site for entry in self.entries)),
            len(touched),
            tuple(sorted(touched)),
            expected / max(count, 1),
            measured / max(count, 1),
            fired / max(count, 1) if thresholds else None,
            tuple(sorted(hits)),
            (*notes, *more),
            failures,
        )

    def _failures(self, dtype: torch.dtype) -> tuple[tuple[SiteShift, ...], int]:
        """The sites where the expected shift did not arrive, the worst first, and how many tokens overflowed."""
        by_site: dict[str, list[Entry]] = {}
        for entry in self.entries:
            by_site.setdefault(entry.site, []).append(entry)
        found, overflowed = [], 0
        for site, entries in by_site.items():
            expected = torch.cat([entry.expected for entry in entries]).double()
            measured = torch.cat([entry.measured for entry in entries]).double()
            finite = torch.isfinite(expected) & torch.isfinite(measured)
            overflowed += int((~finite).sum())
            expected, measured = expected[finite], measured[finite]
            if not len(expected):
                continue
            sizes = [entry.size for entry in entries if entry.size]
            allowed = tolerance(float(expected.mean()), sum(sizes) / max(len(sizes), 1), dtype)
            # Token by token: too much at one and too little at another must not cancel.
            off = float((expected - measured).abs().mean())
            if off > allowed:
                found.append((off / allowed, SiteShift(site, float(expected.mean()), float(measured.mean()), allowed)))
        failures = [shift for _, shift in sorted(found, key=lambda one: -one[0])]
        failures += [SiteShift(site, 0.0, 0.0, 0.0) for site in sorted(self.silent - set(by_site))]
        return tuple(failures), overflowed


@dataclass(eq=False)
class Log:
    """The shifts of one edit's rows in one pass or several; `mask` says which tokens it was to touch (None: all).

    Tensors stay as they are until the set of rows changes: a decoding step must not wait for a device.

    Attributes:
        measured: None as long as nothing of the edit has arrived anywhere.
        size: the norm of the stream, measured in the first pass only.
    """

    positions: Int[Tensor, "rows pos"]
    expected: Float[Tensor, "rows pos"]
    fired: Bool[Tensor, "rows pos"] | None
    mask: Bool[Tensor, "rows pos"] | None
    measured: Float[Tensor, "rows pos"] | None = None
    size: Float[Tensor, "rows pos"] | None = None

    @classmethod
    def joined(cls, logs: Sequence[Log]) -> Log:
        """Passes one after another as one; an edit of which nothing arrived has measured 0."""
        fired = [log.fired for log in logs if log.fired is not None]
        masks = [log.mask for log in logs if log.mask is not None]
        measured = [torch.zeros_like(log.expected) if log.measured is None else log.measured for log in logs]
        return cls(
            torch.cat([log.positions for log in logs], 1),
            torch.cat([log.expected for log in logs], 1),
            torch.cat(fired, 1) if len(fired) == len(logs) else None,
            torch.cat(masks, 1) if len(masks) == len(logs) else None,
            torch.cat(measured, 1),
            logs[0].size,
        )

    def entry(self, site: str, row: int, has_threshold: bool) -> Entry:
        """Positions, expected and measured shifts, and crossings of a row's touched tokens."""
        assert self.measured is not None
        keep = slice(None) if self.mask is None else self.mask[row]
        fired = self.fired[row][keep] if has_threshold and self.fired is not None else None
        at, size = self.positions[row][keep].tolist(), 0.0
        if self.size is not None:
            first = self.size.shape[1]
            norms = self.size[row] if self.mask is None else self.size[row][self.mask[row][:first]]
            norms = norms[torch.isfinite(norms)]
            size = float(norms.mean()) if len(norms) else 0.0
        return Entry(site, at, self.expected[row][keep], self.measured[row][keep], fired, size)
