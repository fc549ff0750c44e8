"""A language model with its tokens and its sites: loading, chat templates, packed weights, the logit lens."""

from .chat import chat
from .loading import load_model
from .model import Model

__all__ = ["Model", "chat", "load_model"]
