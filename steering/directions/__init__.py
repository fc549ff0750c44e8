"""Directions: prompt pairs, the activations they leave, and the contrasts that make a direction of them."""

from .contrasts import lda, mean_difference, pca, probe
from .direction import Direction, random_like
from .pairs import PairSet, PromptPair

__all__ = ["Direction", "PairSet", "PromptPair", "lda", "mean_difference", "pca", "probe", "random_like"]
