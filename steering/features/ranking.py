"""Which features separate a pair set, and which fire on a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from ..models.model import Model, Prompt
from ..saes.sae import Sae
from .making.windows import starts_with_bos


def separation(positives: Float[Tensor, "n d_sae"], negatives: Float[Tensor, "m d_sae"]) -> Float[np.ndarray, " d_sae"]:
    """The AUROC of each feature: how often a positive outranks a negative; 0.5 says nothing, ties count half.

    By hand: positives 1, 3 and negatives 0, 1 compare as (1>0, 1=1, 3>0, 3>1), so (1 + 0.5 + 1 + 1) / 4 = 0.875.

    Raises:
        ValueError: one of the classes is empty.
    """
    n, m = len(positives), len(negatives)
    if not n or not m:
        raise ValueError(f"Separation compares two classes; got {n} positives and {m} negatives.")
    both = np.concatenate([positives.float().cpu().numpy(), negatives.float().cpu().numpy()])
    out = np.empty(both.shape[1])
    for first in range(0, both.shape[1], 4096):
        ranks = rankdata(both[:, first : first + 4096], axis=0)
        out[first : first + 4096] = (ranks[:n].sum(0) - n * (n + 1) / 2) / (n * m)
    return out


@dataclass(frozen=True)
class TextFeatures:
    """The features of each token of a text: `activations[t, i]`, zero at BOS."""

    tokens: tuple[int, ...]
    texts: tuple[str, ...]
    activations: Float[np.ndarray, "pos d_sae"]

    def strongest(self, position: int, k: int = 10) -> list[tuple[int, float]]:
        """The k strongest features at a token, (feature, activation), those that fire only."""
        at = self.activations[position]
        order = np.lexsort((np.arange(len(at)), -at))[:k]
        return [(int(i), float(at[i])) for i in order if at[i] > 0]

    def score(self, maximum: Float[np.ndarray, " d_sae"]) -> Float[np.ndarray, " d_sae"]:
        """Each feature's peak on the text divided by its maximum in the index: 1 is the strongest seen there."""
        return self.activations.max(0) / np.maximum(maximum, 1e-9)


def features_of_text(lm: Model, sae: Sae, prompt: Prompt) -> TextFeatures:
    """The features that fire on each token of a text or a chat.

    Raises:
        ValueError: the prompt is empty or too long for the model.
    """
    tokens = lm.tokens(prompt)
    with lm.lock:
        found, _ = lm.activations([tokens], [sae.site])
        activations = sae.encode(found[sae.site][0]).float().cpu().numpy()
    if starts_with_bos(lm, sae) and lm.leading(tokens):
        activations[0] = 0
    return TextFeatures(tuple(tokens), tuple(lm.token_texts(tokens)), activations)


def decoder_cosines(sae: Sae, features: Sequence[int]) -> Float[Tensor, "k k"]:
    """Cosines between the decoder rows of some features of an SAE."""
    rows = torch.nn.functional.normalize(sae.written[list(features)], dim=-1)
    return (rows @ rows.T).cpu()
