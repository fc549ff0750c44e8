"""Evaluations: sets of items in the published formats, scorers, arms with their controls, and the trials of all."""

from .arms import BASELINE, Arm, again, prompting, random_control, reconstruction, with_controls
from .checkpoint import Checkpoint
from .effects import spillover, steerability
from .formats import FORMATS
from .items import EvaluationSet, Item
from .measure import Measure, Scorer
from .readers import bundled_sets, load, parse
from .scorers import SCORERS, scorer
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
    "with_controls",
]
