"""The steering methods, one family a file, under one protocol (protocol.py); edits.py has the formulas as they run."""

from .ablation import AffineAblation, DirectionalAblation
from .addition import ActAdd, ActivationAddition
from .angular import AngularSteering
from .conditional import Conditional
from .features import FeatureAblation, FeatureAddition, FeatureClamp
from .protocol import Intervention, Placement, Where
from .regulator import SaeAblation, SaeReconstruction, ThresholdRegulator
from .sara import Sara

__all__ = [
    "ActAdd",
    "ActivationAddition",
    "AffineAblation",
    "AngularSteering",
    "Conditional",
    "DirectionalAblation",
    "FeatureAblation",
    "FeatureAddition",
    "FeatureClamp",
    "Intervention",
    "Placement",
    "SaeAblation",
    "SaeReconstruction",
    "Sara",
    "ThresholdRegulator",
    "Where",
]
