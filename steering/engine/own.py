"""One engine a model, for a notebook: `lm.generate(...)` needs no `with` block and nothing to close."""

from __future__ import annotations

import functools
import threading
from typing import Any

from ..models.model import Model
from .completion import Completion
from .engine import Engine

_MAKING = threading.Lock()
_KEPT = "_own_engine"


def own_engine(model: Model) -> Engine:
    """The model's own engine, made at the first call.

    It is kept on the model and nowhere else, so the two are collected together when the model is dropped.
    """
    with _MAKING:
        kept: Engine | None = vars(model).get(_KEPT)
        if kept is None or kept.closed:
            kept = vars(model)[_KEPT] = Engine(model)
        return kept


@functools.wraps(Engine.generate)
def generate(model: Model, *args: Any, **options: Any) -> list[Completion]:
    return own_engine(model).generate(*args, **options)


Model.generate = generate
