"""The hooks of a batch: at each site, which edits are done on which rows in which order, and what is recorded.

A row's interventions happen in the order they are listed. At one site the first ones of all rows come first, then the
second ones, and edits of equal kind are stacked into one. The stacks are built once for a set of rows; the prompt pass
builds them as it goes, because it finds the prompt-dependent edits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..directions.direction import Direction
from ..interventions.protocol import Edit
from ..models.arrivals import Reader
from ..models.hooks import Hook
from ..models.model import Model
from ..sites import Site
from .receipts import Log
from .rows import Row, Trace


def direction_label(direction: Direction, others: Sequence[Direction] = ()) -> str:
    """The name under which a direction's projections are recorded, with site and hash if other directions have it."""
    shared = any(other.name == direction.name and other.fingerprint != direction.fingerprint for other in others)
    if direction.name and not shared:
        return direction.name
    return f"{direction.name}@{direction.site}#{direction.fingerprint[:6]}".removeprefix("@")


@dataclass(eq=False)
class _Step:
    """One stacked edit on some rows; `index` is None when they are all rows."""

    site: Site
    edit: Edit
    members: list[tuple[Row, int, bool]]  # row, number of the intervention, whether it has a threshold
    index: Int[Tensor, "rows"] | None
    low: Float[Tensor, "rows 1"]
    high: Float[Tensor, "rows 1"]
    always: bool  # every generated token lies inside the span, so no mask is needed
    logs: list[Log] = field(default_factory=list)
    shift: tuple[Tensor, Tensor] | None = None  # before and after the edit, until it is seen what arrived

    def apply(
        self, x: Float[Tensor, "rows pos d_model"], positions: Tensor, real: Tensor | None
    ) -> Float[Tensor, "rows pos d_model"]:
        part = x if self.index is None else x.index_select(0, self.index)
        at = positions if self.index is None else positions.index_select(0, self.index)
        effect = self.edit(part, at)
        new, mask = effect.h, None
        if real is not None or not self.always:
            mask = (at >= self.low) & (at < self.high)
            if real is not None:
                mask &= real if self.index is None else real.index_select(0, self.index)
            new = torch.where(mask[..., None], new, part)
        self.shift = (part, new)
        self.logs.append(Log(at, effect.expected, effect.fired, mask))
        return new if self.index is None else x.index_copy(0, self.index, new)

    def arrived(self, h: Float[Tensor, "rows pos d_model"], share: Tensor | None) -> None:
        """Measure the edit by the stream that arrived; with `share`, as that part of its own shift."""
        assert self.shift is not None
        (before, after), log = self.shift, self.logs[-1]
        self.shift = None
        pick = (lambda x: x) if self.index is None else (lambda x: x.index_select(0, self.index))
        if share is None:
            log.measured = torch.linalg.vector_norm(pick(h) - before, dim=-1)
        else:
            log.measured = torch.linalg.vector_norm(after - before, dim=-1) * pick(share)
        if len(self.logs) == 1:
            log.size = torch.linalg.vector_norm(before, dim=-1)

    def flush(self) -> None:
        """Write the logs of all passes to the rows' ledgers."""
        if not self.logs:
            return
        whole, self.logs, self.shift = Log.joined(self.logs), [], None
        for place, (row, k, has_threshold) in enumerate(self.members):
            row.ledgers[k].entries.append(whole.entry(str(self.site), place, has_threshold))


@dataclass(eq=False)
class _Edited:
    """One pass's edits at a site: the steps, the stream given to the model, and whether some rows have several."""

    steps: list[_Step]
    given: Float[Tensor, "rows pos d_model"]
    crowded: bool


class Plan:
    """The edits and recordings of a batch, for as long as it consists of these rows in this order."""

    def __init__(self, model: Model, rows: Sequence[Row]) -> None:
        self.model, self.rows, self.device = model, list(rows), model.device
        # Site -> row -> that row's placements there, in order.
        self._at: dict[Site, list[list[int]]] = {}
        for r, row in enumerate(self.rows):
            for index, (_, placement) in enumerate(row.placements):
                self._at.setdefault(placement.site, [[] for _ in self.rows])[r].append(index)
        self._gates = {g.site for row in self.rows for _, p in row.placements if (g := p.gate) is not None}
        self._recorded: dict[Site, list[Direction]] = {}
        for direction in {d.fingerprint: d for row in self.rows for d in row.record}.values():
            self._recorded.setdefault(direction.site, []).append(direction)
        self._reads: dict[Site, list[tuple[Tensor, Tensor]]] = {}
        self._steps: list[_Step] = []
        self._decoding: dict[Site, list[_Step]] | None = None
        self._hooks: dict[Site, Hook] = {}
        self._positions: Tensor | None = None
        self._edited: dict[Site, _Edited] = {}  # in the pass under way, until the edits are seen to arrive
        self._owner: Tensor | None = None
        self._ran: set[Site] = set()
        self.readers: dict[Site, Reader] = {}  # for the forward pass: what arrives of each edited site

    # The prompt pass ------------------------------------------------------------------------------------------------

    def first_edit(self) -> Site | None:
        """The first site at which a token of the pass is changed; below it, equal prompts are one row."""
        sites = [
            placement.site
            for row in self.rows
            for index, (_, placement) in enumerate(row.placements)
            if row.span(index)[0] < len(row.sequence) and row.span(index)[0] < row.span(index)[1]
        ]
        return min(sites) if sites else None

    def prompt_hooks(
        self,
        positions: Int[Tensor, "rows pos"],
        real: Bool[Tensor, "rows pos"],
        owner: Int[Tensor, "rows"] | None,
        first: Site | None,
    ) -> dict[Site, Hook]:
        """Hooks for a pass over whole sequences. `owner` says which prompt a row has while equal ones are shared."""
        # Sites before the first edit are only read, so equal prompts stay one row there.
        changed = {site for site in self._at if first is not None and not site < first}
        self._owner = owner
        self.readers = {site: self._reader(site) for site in changed}

        def hook_at(site: Site) -> Hook:
            def hook(h: Tensor) -> Tensor | None:
                shared = owner is not None and h.shape[0] != len(self.rows)
                x = self._own(site, h.index_select(0, owner) if shared else h)  # type: ignore[arg-type]
                self._ask_gates(site, x, positions, real)
                before, (x, slots) = x, self._edit_prompt(site, x, positions, real)
                self._read(site, before, x)
                if site not in changed:
                    return None
                return self._given(site, [step for slot in slots for step in slot], x, h.dtype, len(slots) > 1)

            return hook

        return {site: hook_at(site) for site in {*self._at, *self._gates, *self._recorded}}

    def _ask_gates(self, site: Site, x: Tensor, positions: Tensor, real: Tensor) -> None:
        for r, row in enumerate(self.rows):
            for _, placement in row.placements:
                gate = placement.gate
                if gate is not None and gate.site == site and gate not in row.gates:
                    first = min(row.leading, len(row.prompt) - 1)
                    keep = real[r] & (positions[r] >= first) & (positions[r] < len(row.prompt))
                    row.gates[gate] = gate.test(x[r][keep])

    def _edit_prompt(self, site: Site, x: Tensor, positions: Tensor, real: Tensor) -> tuple[Tensor, list[list[_Step]]]:
        """The stream after a site's edits, and the steps that were taken, slot after slot."""
        slots, taken = self._at.get(site, []), []
        for slot in range(max(map(len, slots), default=0)):
            found = []
            for r, (row, mine) in enumerate(zip(self.rows, slots, strict=True)):
                if slot < len(mine) and self._may_open(row, index := mine[slot]):
                    _, placement = row.placements[index]
                    if placement.from_prompt is not None and (placement.whole_history or index not in row.edits):
                        keep = real[r]
                        if not placement.whole_history:
                            keep = keep & (positions[r] < len(row.prompt))
                        row.edits[index] = placement.from_prompt(x[r][keep])
                    if self._open(row, index):
                        found.append((r, index))
            steps = self._stack(site, found)
            for step in steps:
                x = step.apply(x, positions, real)
            taken += [steps] if steps else []
        return x, taken

    # Decoding -------------------------------------------------------------------------------------------------------

    def decode_hooks(self, positions: Int[Tensor, "rows 1"]) -> dict[Site, Hook]:
        """Hooks for one generated token a row."""
        self._positions = positions
        self._edited.clear()
        if self._decoding is None:
            self._decoding = {}
            for site, slots in self._at.items():
                taken = []
                for slot in range(max(map(len, slots))):
                    found = [
                        (r, mine[slot])
                        for r, (row, mine) in enumerate(zip(self.rows, slots, strict=True))
                        if slot < len(mine) and self._open(row, mine[slot])
                        if row.span(mine[slot])[1] > row.position
                    ]
                    steps = self._stack(site, found)
                    taken += [steps] if steps else []
                if taken:
                    self._decoding[site] = [step for steps in taken for step in steps]
                    self._hooks[site] = self._decode_hook(site, self._decoding[site], len(taken) > 1)
                    self.readers[site] = self._reader(site)
            self._hooks |= {
                site: self._decode_hook(site, [], False) for site in self._recorded if site not in self._hooks
            }
        return self._hooks

    def _decode_hook(self, site: Site, steps: list[_Step], crowded: bool) -> Hook:
        recorded = site in self._recorded

        def hook(h: Tensor) -> Tensor | None:
            assert self._positions is not None
            before = x = self._own(site, h)
            for step in steps:
                x = step.apply(x, self._positions, None)
            if recorded:
                self._read(site, before, x)
            if not steps:
                return None
            return self._given(site, steps, x, h.dtype, crowded)

        return hook

    # What arrives ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _own(site: Site, h: Tensor) -> Tensor:
        """The stream in float32. At `resid_mid` a copy: the edit is written over what is there."""
        x = h.float()
        return x.clone() if x is h and site.stream == "resid_mid" else x

    def _given(self, site: Site, steps: list[_Step], x: Tensor, dtype: torch.dtype, crowded: bool) -> Tensor:
        """The edited stream in the model's dtype, kept so that the reader can measure what arrives of it."""
        given = x.to(dtype)
        self._ran.add(site)
        if steps:
            self._edited[site] = _Edited(steps, given.clone() if crowded else given, crowded)
        return given

    def _reader(self, site: Site) -> Reader:
        def read(h: Tensor, rest: Tensor | None) -> None:
            edited = self._edited.pop(site, None)
            if edited is None:
                return
            h = self._of_all_rows(h)
            if h.shape != edited.given.shape:
                return
            if rest is not None:
                # Added as the model adds: where it did just that, rounding takes nothing away.
                lost = h - (edited.given + self._of_all_rows(rest))
                arrived = edited.given.float() + lost.float()
            else:
                arrived = h.float()
            share = self._share(edited, arrived) if edited.crowded else None
            for step in edited.steps:
                step.arrived(arrived, share)

        return read

    def _of_all_rows(self, x: Tensor) -> Tensor:
        x = x.to(self.device)
        shared = self._owner is not None and x.shape[0] != len(self.rows)
        return x.index_select(0, self._owner) if shared else x  # type: ignore[arg-type]

    @staticmethod
    def _share(edited: _Edited, h: Tensor) -> Float[Tensor, "rows pos"]:
        """The share of several successive edits that arrived: 1 minus the part that was lost."""
        lost = torch.linalg.vector_norm(h - edited.given.float(), dim=-1)
        way = torch.zeros_like(lost)
        for step in edited.steps:
            before, after = step.shift  # type: ignore[misc]
            moved = torch.linalg.vector_norm(after - before, dim=-1)
            way = way + moved if step.index is None else way.index_add(0, step.index, moved)
        return (1 - lost / way.clamp(min=1e-12)).clamp(min=0)

    # Shared ---------------------------------------------------------------------------------------------------------

    @staticmethod
    def _open(row: Row, index: int) -> bool:
        gate = row.placements[index][1].gate
        return gate is None or row.gates.get(gate, False)

    @staticmethod
    def _may_open(row: Row, index: int) -> bool:
        """Whether a row's gate is open, or cannot be answered yet because its site is above the edit."""
        gate = row.placements[index][1].gate
        return gate is None or row.gates.get(gate, True)

    def _stack(self, site: Site, found: Sequence[tuple[int, int]]) -> list[_Step]:
        """Stacked edits for (row, placement) pairs of one slot: one for each kind."""
        kinds: dict[object, list[tuple[int, int, Edit]]] = {}
        for r, index in found:
            edit = self.rows[r].placements[index][1].edit or self.rows[r].edits.get(index)
            if edit is not None:
                kinds.setdefault(edit.kind, []).append((r, index, edit))
        steps = []
        for group in kinds.values():
            spans = [self.rows[r].span(index) for r, index, _ in group]
            members = [
                (self.rows[r], self.rows[r].placements[index][0], edit.has_threshold) for r, index, edit in group
            ]
            rows = [r for r, _, _ in group]
            all_rows = rows == list(range(len(self.rows)))
            steps.append(
                _Step(
                    site,
                    type(group[0][2]).stack([edit for _, _, edit in group]) if len(group) > 1 else group[0][2],
                    members,
                    None if all_rows else torch.tensor(rows, device=self.device),
                    torch.tensor([[float(low)] for low, _ in spans], device=self.device),
                    torch.tensor([[float(high)] for _, high in spans], device=self.device),
                    all(
                        low <= row.position and high == math.inf
                        for (low, high), (row, _, _) in zip(spans, members, strict=True)
                    ),
                )
            )
        self._steps += steps
        return steps

    def _read(self, site: Site, before: Tensor, after: Tensor) -> None:
        directions = self._recorded.get(site)
        if directions:
            both = [torch.stack([_project(h, d) for d in directions], -1) for h in (before, after)]
            self._reads.setdefault(site, []).append((both[0], both[1]))

    def flush(self, real: Bool[Tensor, "rows pos"] | None = None) -> None:
        """Write receipts and projections to the rows; `real` masks the padding of a prompt pass."""
        self._edited.clear()
        for step in self._steps:
            step.flush()
        for site in self.readers.keys() - self._ran:
            for row, mine in zip(self.rows, self._at[site], strict=True):
                for index in mine:
                    row.ledgers[row.placements[index][0]].silent.add(str(site))
        if self._decoding is None:
            self._steps = []
        for site, passes in self._reads.items():
            if not passes:
                continue
            before, after = (torch.cat(side, 1).cpu() for side in zip(*passes, strict=True))
            for r, row in enumerate(self.rows):
                keep = slice(None) if real is None else real[r].cpu()
                wanted = {direction.fingerprint for direction in row.record}
                for column, direction in enumerate(self._recorded[site]):
                    if direction.fingerprint in wanted:
                        trace = row.traces.setdefault(direction_label(direction, row.record), Trace([], []))
                        trace.before.extend(before[r, keep, column].tolist())
                        trace.after.extend(after[r, keep, column].tolist())
            passes.clear()


def _project(h: Float[Tensor, "rows pos d_model"], direction: Direction) -> Float[Tensor, "rows pos"]:
    """h . v of unit norm, or encode(h) . v for a direction in feature space."""
    if direction.sae is None:
        return h @ direction.unit().vector.to(h.device)
    index = torch.nonzero(direction.vector).flatten()
    weights = (direction.vector / direction.vector.norm())[index].to(h.device)
    return direction.sae.features(index.tolist()).encode(h).float() @ weights
