"""Directions among activations: what a text's activations span, what an ablation leaks, what a layer reads."""

from .leakage import Leak, LeastLeak, leace, leakage, oblique
from .manifold import Manifold, OnManifold, manifold, on_manifold
from .reading import ReadingDirections, prediction_dimensions, reading_directions

__all__ = [
    "Leak",
    "LeastLeak",
    "Manifold",
    "OnManifold",
    "ReadingDirections",
    "leace",
    "leakage",
    "manifold",
    "oblique",
    "on_manifold",
    "prediction_dimensions",
    "reading_directions",
]
