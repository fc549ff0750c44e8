"""Build the feature index of an SAE from texts: two passes over token windows, then the weights, then two files.

Whatever happens, `<folder>/partial` holds a consistent checkpoint, and building again with the same texts goes on from
there; the finished files replace older ones only at the very end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sized
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...models.model import Model
from ...saes.sae import Sae
from .passes import FORMAT, Counted, IndexSettings, Passes, Places, Tick
from .tally import Best, Tally
from .write import ARRAYS, BASE, write


def build(
    lm: Model,
    sae: Sae,
    texts: Iterable[str],
    folder: str | Path,
    tick: Tick | None = None,
    *,
    settings: IndexSettings | None = None,
    restart: bool = False,
    save_every: float = 15.0,
) -> Path:
    """Build the feature index of an SAE from texts and return its folder; continues where an earlier call was stopped.

    Args:
        texts: plain texts (chat already rendered by the chat template); read once, in order.
        tick: called between batches with the texts done and the total (0 if the texts have no length); may raise to
            cancel. The same call with the same texts then continues.
        restart: delete what an earlier, unfinished call left.
        save_every: seconds between checkpoints.

    Raises:
        ValueError: there is no text, or the unfinished index in the folder was begun with other texts.
    """
    settings, folder = settings or IndexSettings(), Path(folder)
    partial = folder / "partial"
    if restart:
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    # Pass two and the weights count as much as pass one.
    counted, tick = Counted(texts), tick or (lambda done, total: None)
    n = len(texts) if isinstance(texts, Sized) else 0
    passes = Passes(lm, sae, settings, partial, save_every)
    tally = passes.collect(counted, lambda: tick(counted.done, 2 * n))
    if not tally.tokens:
        raise ValueError("An index is built from at least one text with a token in it; got none.")

    def halfway(share: float) -> None:
        tick(n + int(share * n), 2 * n)

    examples = choose(tally, settings)
    contexts = None if tally.neurons is None else _strongest(tally.neurons)
    spans = passes.spans(examples, contexts, lambda share: halfway(0.8 * share))
    about = {
        "format": FORMAT, "model": lm.identity, "sae": sae.identity, "architecture": sae.architecture,
        "texts": counted.done, "tokens": tally.tokens, "bos": passes.bos, "exact_coactivation": tally.exact,
        "neurons_layer": passes.neurons.layer if passes.neurons else None, **asdict(settings),
    }  # fmt: skip
    write(passes, tally, about, (examples, contexts), spans, lambda share: halfway(0.8 + 0.2 * share))
    for name in (ARRAYS, BASE):
        (partial / name).replace(folder / name)
    shutil.rmtree(partial)
    return folder


def choose(tally: Tally, settings: IndexSettings) -> Places:
    """The examples of every feature: its strongest places (band 0) and some from each quarter of its activations.

    A quarter is a quarter of the places where the feature fires, by strength; they are drawn uniformly, so its examples
    show what the feature does when it fires that much, not only where it is loudest.
    """
    top = _strongest(tally.top)
    parts = [top]
    taken = set(zip(top.owner.tolist(), tally.top.table["tie"][tally.top.filled].tolist(), strict=True))
    filled = tally.sample.filled
    for feature in np.flatnonzero(filled.sum(1) >= 4 * settings.per_band).tolist():
        table = {name: values[feature][filled[feature]] for name, values in tally.sample.table.items()}
        order = np.lexsort((table["tie"], -table["value"]))
        for band, quarter in enumerate(np.array_split(order, 4), start=1):
            free = [at for at in quarter if (feature, int(table["tie"][at])) not in taken]
            if free:
                spread = np.linspace(0, len(free) - 1, min(settings.per_band, len(free))).astype(int)
                picked = [free[i] for i in spread]
                fixed = np.full(len(picked), feature), np.full(len(picked), band)
                parts.append(Places(*fixed, *(table[name][picked] for name in ("value", "window", "pos"))))
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in asdict(top)]
    order = np.lexsort((-columns[2], columns[1], columns[0]))
    return Places(*(column[order] for column in columns))


def _strongest(best: Best) -> Places:
    """The strongest places of each feature, as places of band 0."""
    filled = best.filled
    owner = np.repeat(np.arange(len(filled)), filled.sum(1))
    return Places(owner, np.zeros_like(owner), *(best.table[name][filled] for name in ("value", "window", "pos")))
