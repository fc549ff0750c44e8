"""Evaluations: sets of items in the published formats, scorers, arms with their controls, and their trials."""

from ..jobs.checkpoint import Checkpoint
from .arms import BASELINE, Arm, again, prompting, random_control, reconstruction
from .effects import spillover, steerability
from .scoring.items import Item
from .scoring.measure import Measure, Scorer
from .scoring.scorers import SCORERS, scorer
from .sets.formats import FORMATS
from .sets.readers import bundled_sets, load, parse
from .sets.sets import EvaluationSet
from .trials import Outcome, Settings, run

__all__ = [
    "BASELINE",
    "FORMATS",
    "SCORERS",
    "Arm",
    "Checkpoint",
    "EvaluationSet",
    "Item",
    "Measure",
    "Outcome",
    "Scorer",
    "Settings",
    "again",
    "bundled_sets",
    "load",
    "parse",
    "prompting",
    "random_control",
    "reconstruction",
    "run",
    "scorer",
    "spillover",
    "steerability",
]
