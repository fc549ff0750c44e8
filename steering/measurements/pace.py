"""How fast a model reads here: what a long measurement will cost is said before it starts."""

from __future__ import annotations

import time

from ..models.model import Model
from .neutral import neutral_texts


def seconds_per_token(lm: Model, passes: int = 2) -> float:
    """Seconds that the model takes for a token when it reads texts, by its fastest of a few short passes.

    The fastest, because others may have a turn in between. It costs tenths of a second.
    """
    tokens = lm.encode(" ".join(neutral_texts(lm.name)))[: min(lm.piece_tokens, lm.n_ctx - 1)]
    took = []
    for _ in range(passes):
        began = time.perf_counter()
        lm.activations([tokens], [])
        took.append(time.perf_counter() - began)
    return min(took) / len(tokens)
