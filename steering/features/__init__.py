"""The feature index of an SAE: what each feature fires on, writes, and resembles; built once, then looked up.

Read in this order: `making/windows.py` (texts to token windows, and one pass over them), `making/tally.py` (what is
counted in a stream of bounded memory), `making/neurons.py` (what the weights alone say), `making/build.py`, `index.py`
(search and look up), `ranking.py` (which features separate a pair set, or fire on your text).
"""

from ..models.lens import promoted_tokens, token_effects
from .index import SORTS, Band, Example, Feature, FeatureIndex, FeatureRow, Neighbor, Neuron, TokenScore, locate
from .making.build import build
from .notes import Notes
from .ranking import TextFeatures, decoder_cosines, features_of_text, separation

__all__ = [
    "SORTS",
    "Band",
    "Example",
    "Feature",
    "FeatureIndex",
    "FeatureRow",
    "Neighbor",
    "Neuron",
    "Notes",
    "TextFeatures",
    "TokenScore",
    "build",
    "decoder_cosines",
    "features_of_text",
    "locate",
    "promoted_tokens",
    "separation",
    "token_effects",
]
