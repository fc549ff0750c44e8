"""Experiments: a TOML file says model, directions, sets, arms and controls; out come tables and what they say."""

from ..recipes.tables import to_toml
from .config import Experiment, bundled, parse, read
from .performing import Result, perform, run_experiment
from .workshop import Calibrated, Workshop

__all__ = [
    "Calibrated",
    "Experiment",
    "Result",
    "Workshop",
    "bundled",
    "parse",
    "perform",
    "read",
    "run_experiment",
    "to_toml",
]
