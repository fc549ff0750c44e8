"""Sparse autoencoders: loading by SAELens, where they come from, training, quality."""

from .loading import load_sae
from .sae import Sae

__all__ = ["Sae", "load_sae"]
