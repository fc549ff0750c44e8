"""Which pairs of texts the directions of a setup were made from, so that an evaluation can say what they have seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..directions.pairs import PairSet, bundled_pairs
from .sources import Source
from .steps import Step
from .workbench import Workbench


def origins(bench: Workbench, steps: Iterable[Step]) -> tuple[list[PairSet], list[str]]:
    """The pair sets behind the directions of some steps, and the names of saved directions whose pairs are not at hand.

    What was made without pairs has seen none and is in neither; a source that cannot be read is passed over, because
    making its direction says so.
    """
    return origins_of(bench, (source for step in steps for source in step.sources))


def origins_of(bench: Workbench, sources: Iterable[Source]) -> tuple[list[PairSet], list[str]]:
    """The pair sets behind some sources, and the names of saved directions whose pairs are not at hand."""
    found: dict[str, PairSet] = {}
    unknown: list[str] = []
    for source in dict.fromkeys(sources):
        try:
            known, missing = _of_source(bench, source)
        except ValueError:
            continue
        found |= {pairs.content_hash: pairs for pairs in known}
        unknown += [name for name in missing if name not in unknown]
    return list(found.values()), unknown


def _of_source(bench: Workbench, source: Source) -> tuple[list[PairSet], list[str]]:
    if source.kind in ("pairs", "texts"):
        return [bench.pair_set(source)], []
    if source.kind != "saved":
        return [], []
    direction = bench.direction(source)
    known, missing = [], []
    for about in made_from(direction.provenance):
        name = str(about.get("name", ""))
        pairs = PairSet.load(name) if name in bundled_pairs() else None
        if pairs is not None and pairs.content_hash == about.get("hash"):
            known.append(pairs)
        else:
            missing.append(direction.name or name)
    return known, missing


def made_from(provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pair sets that a direction says it was made from, also through sums and differences: name, n and hash."""
    found = [dict(provenance["pairs"])] if isinstance(provenance.get("pairs"), Mapping) else []
    parts = provenance.get("of")
    for part in parts if isinstance(parts, list | tuple) else ():
        if isinstance(part, Mapping):
            found += [one for one in made_from(part) if one not in found]
    return found
