"""The activations of every token of texts at a site, as one matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.model import Model, Prompt
from ...sites import Site


def tokens_of(
    lm: Model, texts: Sequence[Prompt], site: Site, *, first: bool = False
) -> Float[Tensor, "tokens d_model"]:
    """Activations of the texts' tokens at a site, float32 on the CPU; without each text's first token by default.

    The first token's activation is many times longer in most models.

    Raises:
        ValueError: no text, or none with a token left.
    """
    if isinstance(texts, str) or not texts:
        raise ValueError(f"Activations are read over a list of texts, at least one; got {texts!r:.60}.")
    rows = []
    for text in texts:
        found, _ = lm.activations([lm.tokens(text)], [site])
        rows.append(found[site][0].float().cpu()[0 if first else 1 :])
    tokens = torch.cat(rows)
    if not len(tokens):
        raise ValueError("Texts of at least two tokens are read; all of these have one.")
    return tokens
