"""Activations of several sites in one pass over token windows, kept on disk in shuffled pieces of a bounded size.

Left out: special tokens, and tokens with massive activations (Sun et al. 2024, arXiv 2402.17762), whose norm is a
hundred times that of the others. There are few, but they would make up nearly all of a squared error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...jobs.files import write_atomically
from ...models.model import Model
from ...sites import Site
from .tokens import Windows

SAMPLE_TOKENS = 50_000  # what thresholds and scales are found on
WIDEST_GAP = 3.0  # norms that differ by this factor, with none in between, are of two kinds
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Norms:
    """What was found of a site's activations before any was kept."""

    threshold: float  # tokens of a larger norm are massive; infinite where there are none
    median: float
    scale: float  # brings the mean norm of the others to sqrt(width)
    massive: float  # share of the sample


def gap(norms: Float[Tensor, " tokens"]) -> float:
    """The norm that parts massive tokens from the others, or infinity where none stand apart.

    The widest gap, as a ratio, between neighbors in the sorted upper half; its middle, if it spans at least WIDEST_GAP.
    """
    upper = norms.float().sort().values[len(norms) // 2 :].clamp(min=1e-9)
    if len(upper) < 2:
        return float("inf")
    ratios = upper[1:] / upper[:-1]
    at = int(ratios.argmax())
    return float((upper[at] * upper[at + 1]).sqrt()) if float(ratios[at]) >= WIDEST_GAP else float("inf")


def special_tokens(lm: Model) -> frozenset[int]:
    """The ids that stand for no text: BOS, EOS, padding, marks of a chat's turns."""
    return frozenset(int(token) for token in lm.tokenizer.all_special_ids)


def read(
    lm: Model, windows: Windows, numbers: Sequence[int], sites: Sequence[Site], batch_tokens: int
) -> Iterator[tuple[dict[Site, Float[Tensor, "tokens d_in"]], int]]:
    """Activations of windows at sites, batch by batch, without special and skipped tokens, and the windows done.

    Windows of like length share a batch; the order within the result is that of lengths.
    """
    special = torch.tensor(sorted(special_tokens(lm)), device=lm.device)
    order = sorted(numbers, key=lambda number: int(windows.places[number, 1]))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * int(windows.places[order[end], 1]) <= batch_tokens:
            end += 1
        prompts = [windows[number] for number in order[start:end]]
        found, mask = lm.activations(prompts, sites)
        keep = kept(lm, windows, order[start:end], mask, special)
        yield {site: h[keep].float() for site, h in found.items()}, end
        start = end


def kept(
    lm: Model, windows: Windows, numbers: Sequence[int], mask: Bool[Tensor, "rows pos"], special: Tensor
) -> Bool[Tensor, "rows pos"]:
    """Which tokens of left-padded windows are learned from, as far as the tokens alone tell."""
    tokens, _, _ = lm.pad([windows[number] for number in numbers])
    skip = torch.as_tensor(windows.places[list(numbers), 2].copy(), device=mask.device)
    position = mask.long().cumsum(-1) - 1
    return mask & (position >= skip[:, None]) & ~torch.isin(tokens, special)


def find_norms(lm: Model, windows: Windows, sites: Sequence[Site], batch_tokens: int, seed: int) -> dict[Site, Norms]:
    """Thresholds and scales of sites, from a sample of the windows."""
    order = np.random.default_rng(seed).permutation(len(windows))
    enough = int(np.searchsorted(np.cumsum(windows.counted[order]), SAMPLE_TOKENS)) + 1
    norms: dict[Site, list[Tensor]] = {site: [] for site in sites}
    for found, _ in read(lm, windows, order[:enough].tolist(), sites, batch_tokens):
        for site, h in found.items():
            norms[site].append(h.norm(dim=-1).cpu())
    result = {}
    for site, parts in norms.items():
        all_norms = torch.cat(parts)
        threshold = gap(all_norms)
        usual = all_norms[all_norms <= threshold]
        scale = lm.width(site) ** 0.5 / float(usual.mean())
        massive = float((all_norms > threshold).float().mean())
        result[site] = Norms(threshold, float(usual.median()), scale, massive)
    return result


class Buffer:
    """Activations of the sites on disk, one piece of the text at a time, so that disk and memory stay bounded.

    The windows are put in a random order and cut into pieces of at most `most_bytes` of activations (all sites
    together). One piece is on disk at a time; within it, tokens are drawn at random. Text that fits in one piece is
    harvested once, whatever the number of passes over it.
    """

    def __init__(
        self,
        lm: Model,
        windows: Windows,
        sites: Sequence[Site],
        folder: Path,
        *,
        most_bytes: int,
        batch_tokens: int = 8192,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.lm, self.windows, self.sites, self.folder = lm, windows, list(sites), folder
        self.batch_tokens, self.seed, self.device = batch_tokens, seed, torch.device(device)
        folder.mkdir(parents=True, exist_ok=True)
        row_bytes = 2 * sum(lm.width(site) for site in sites)
        self.most_rows = max(1, most_bytes // row_bytes)
        order = np.random.default_rng(seed).permutation(len(windows))
        piece = (np.cumsum(windows.counted[order]) - 1) // self.most_rows
        self.pieces = [order[piece == number] for number in np.unique(piece)]
        self.norms = self._known_norms()
        self._on_device: dict[Site, Tensor] = {}
        about = folder / "piece.json"
        # The share of massive tokens in the piece that is here.
        self.massive: float = json.loads(about.read_text(encoding="utf-8"))["massive"] if about.is_file() else 0.0

    def _known_norms(self) -> dict[Site, Norms]:
        path = self.folder / "norms.json"
        if path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
            if set(known) == {str(site) for site in self.sites}:
                return {site: Norms(**known[str(site)]) for site in self.sites}
        found = find_norms(self.lm, self.windows, self.sites, self.batch_tokens, self.seed)
        write_atomically(path, json.dumps({str(site): vars(norms) for site, norms in found.items()}).encode())
        return found

    def _path(self, site: Site) -> Path:
        return self.folder / f"{site}.f16"

    def _rows(self, site: Site, rows: int) -> Float[Tensor, "rows d_in"]:
        """The file of a site as a tensor, mapped rather than read."""
        width = self.lm.width(site)
        flat = torch.from_file(str(self._path(site)), shared=True, size=rows * width, dtype=torch.float16)
        return flat.view(rows, width)

    def load(self, piece: int, progress: Progress = lambda done, total: None) -> int:
        """Harvest a piece, unless it is the one on disk; returns how many tokens it holds.

        A token that is massive at one of the sites is left out at all, so that a row is one token everywhere.
        """
        about = self.folder / "piece.json"
        if about.is_file():
            known = json.loads(about.read_text(encoding="utf-8"))
            if known["piece"] == piece and known["windows"] == len(self.windows):
                self.massive = known["massive"]
                self._move(known["rows"])
                return int(known["rows"])
        about.unlink(missing_ok=True)
        self._on_device.clear()
        numbers = self.pieces[piece].tolist()
        most = int(self.windows.counted[self.pieces[piece]].sum())
        files = {site: self._rows(site, most) for site in self.sites}
        rows = seen = 0
        for found, done in read(self.lm, self.windows, numbers, self.sites, self.batch_tokens):
            fine = torch.stack([h.norm(dim=-1) <= self.norms[site].threshold for site, h in found.items()]).all(0)
            count = int(fine.sum())
            for site, h in found.items():
                files[site][rows : rows + count] = (h[fine] * self.norms[site].scale).to("cpu", torch.float16)
            rows, seen = rows + count, seen + len(fine)
            progress(done, len(numbers))
        del files
        self.massive = 1 - rows / max(seen, 1)
        write_atomically(about, json.dumps(
            {"piece": piece, "windows": len(self.windows), "rows": rows, "massive": self.massive}
        ).encode())  # fmt: skip
        self._move(rows)
        return rows

    def _move(self, rows: int) -> None:
        """Copy the piece onto the GPU that trains, where it leaves half of the free memory."""
        if self.device.type != "cuda" or self._on_device:
            return
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        if 2 * sum(rows * self.lm.width(site) * 2 for site in self.sites) <= free:
            self._on_device = {site: self._rows(site, rows).to(self.device) for site in self.sites}

    def batches(self, site: Site, rows: int, batch: int, passes: int, seed: int, skip: int = 0) -> Iterator[Tensor]:
        """Batches of the piece that is here, scaled, in a random order of its own in each pass, without the first
        `skip` batches."""
        source = self._on_device.get(site)
        source = self._rows(site, rows) if source is None else source
        each = rows // batch
        for number in range(skip // each if each else passes, passes):
            order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed + number)).to(source.device)
            for at in range(skip % each if number == skip // each else 0, each):
                yield source[order[at * batch : (at + 1) * batch]]

    def close(self) -> None:
        """Delete the activations from the disk."""
        self._on_device.clear()
        for path in (*(self._path(site) for site in self.sites), self.folder / "piece.json"):
            path.unlink(missing_ok=True)
