"""The engine: one thread that decodes all variants of a prompt as rows of one batch, with receipts."""

from .completion import Completion
from .engine import Engine
from .receipts import Receipt
from .requests import Request

__all__ = ["Completion", "Engine", "Receipt", "Request"]
