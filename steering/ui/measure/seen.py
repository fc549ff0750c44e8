"""Notes, before anything runs, that items of an evaluation set occur in the pairs that a direction was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from ..widgets.basics import literal
from . import separation as measure

if TYPE_CHECKING:
    from ...directions.pairs import PairSet
    from ...evaluations import EvaluationSet
    from ...experiments import Experiment
    from ...models.model import Model
    from ...recipes.sources import Source
    from ...recipes.workbench import Workbench


def draw(lines: Sequence[str]) -> None:
    """Draws the notes, if there are any."""
    if lines:
        st.warning("\n\n".join(literal(line, 600) for line in lines[:6]), icon=":material/visibility:")


def of_experiment(experiment: Experiment, bench: Workbench) -> list[str]:
    """What the directions and thresholds of an experiment have seen of its sets; empty where a part cannot be read."""

    def make() -> list[str]:
        from ...experiments.workshop import Workshop

        try:
            workshop = Workshop(experiment, bench.engine, bench.sae)  # type: ignore[arg-type]  # pages have engines
            return workshop.warnings([workshop.set(spec) for spec in experiment.data["sets"]])
        except (ValueError, KeyError, TypeError):
            return []  # the run itself says what is wrong

    return bench.kept(("seen by", experiment.text, str(experiment.folder)), make)


def of_source(bench: Workbench, source: Source, sets: Sequence[EvaluationSet]) -> list[str]:
    """What the direction of a source has seen of some sets."""

    def make() -> list[str]:
        from ...evaluations.overlap import overlaps
        from ...recipes.origins import origins_of

        return [str(one) for one in overlaps(sets, origins_of(bench, [source])[0])]

    return bench.kept(("seen by", source, tuple(one.content_hash for one in sets)), make)


def of_pairs(bench: Workbench, pairs: PairSet) -> list[str]:
    """Which of the model's bundled sets have items that occur in the pairs."""

    def make() -> list[str]:
        from ...evaluations.overlap import overlaps

        return [str(one) for one in overlaps(_sets(bench.lm), [pairs])]

    return bench.kept(("seen in", pairs.content_hash), make)


def _sets(lm: Model) -> list[EvaluationSet]:
    return [measure.bundled_set(name) for name in measure.sets_for(lm)]
