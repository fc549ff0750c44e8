"""Sparse autoencoders: loading by SAELens, where they come from, training, quality."""

from .sae import Sae, load_sae

__all__ = ["Sae", "load_sae"]
