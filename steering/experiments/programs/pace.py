"""How fast statements are scored here: what a program will cost is said before it begins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from ...engine.engine import Engine
from ...evaluations.arms import BASELINE, Arm
from ...evaluations.scoring.measure import options_of
from ...evaluations.sets.sets import EvaluationSet
from ...evaluations.trials import run

TIMED = 4  # items that are scored first


def texts_a_second(engine: Engine, items: EvaluationSet, arms: Sequence[Arm] = ()) -> float:
    """How many options are scored a second here, by a few items; the first pass, which prepares, is not timed.

    Args:
        arms: what is done besides nothing: what comes before a steered layer is computed once, the rest for each arm.
    """
    few = replace(items, items=items.items[:TIMED])
    run(engine, [few], [BASELINE])
    began = time.perf_counter()
    run(engine, [few], [BASELINE, *arms])
    texts = (1 + len(arms)) * sum(len(options_of(few.scorer, item)) for item in few)
    return texts / (time.perf_counter() - began)
