"""Directions without labels: what a layer can do to a later one, found by gradients and singular vectors."""

from .jacobian import JacobianVectors, jacobian_directions
from .linear_range import LinearRange, linear_range
from .melbo import MelboVectors, melbo
from .transcoding import TranscodedVectors, exponential_dct

__all__ = [
    "JacobianVectors",
    "LinearRange",
    "MelboVectors",
    "TranscodedVectors",
    "exponential_dct",
    "jacobian_directions",
    "linear_range",
    "melbo",
]
