"""A model by torch's own products, in the dtype of its weights: what packed and rounded products are compared to."""

from __future__ import annotations

from ..model import Model
from ..packing import PackedLinears


def unpacked(model: Model) -> Model:
    """The same weights, under the same lock, multiplied without packed copies."""
    plain = Model(model.name, model.hf, model.tokenizer, model.revision, lock=model.lock)
    vars(plain)["_packed"] = PackedLinears(model.hf, 0)
    return plain
