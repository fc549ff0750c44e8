"""A model on this machine as the judge: of the replies that are allowed, the one that it is likeliest to begin with.

No text has to be parsed, so a model that is too small to keep to a form can be asked too; whether it judges well is
another question, which `python -m steering.score --check` answers for stances.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...engine.scoring import Scored, rows_of, score
from ...models.chat import chat
from ...models.loading import load_model
from ...models.model import Model

READ_AT_ONCE = 8  # answers that are judged in one go: nothing stops in the middle of one
LEAST = 0.1  # probability that all replies together must have, for the likeliest to mean something
_LOCK = threading.Lock()


@dataclass(frozen=True)
class LocalJudge:
    """A model that judges: a bundled name, a GGUF file or a folder. It is loaded when it is first asked."""

    source: str

    @property
    def model(self) -> str:
        """The judge's name as tables show it."""
        return Path(self.source).stem if self.source.lower().endswith(".gguf") else Path(self.source).name

    def replies(self, questions: Sequence[str], choices: Sequence[str]) -> list[str]:
        """The likeliest of the choices for each question; "" where the model would begin with something else.

        Raises:
            ValueError: the model cannot be loaded, or a question does not fit into its context.
        """
        with _LOCK:
            lm = _loaded(self.source)
            found: list[str] = []
            for start in range(0, len(questions), READ_AT_ONCE):
                found += _likeliest(lm, questions[start : start + READ_AT_ONCE], choices)
            return found


@lru_cache(maxsize=1)
def _loaded(source: str) -> Model:
    return load_model(source, products="bfloat16")


def _likeliest(lm: Model, questions: Sequence[str], choices: Sequence[str]) -> list[str]:
    texts = [f" {choice}" if not lm.has_chat_template else choice for choice in choices]
    tokens = [tuple(lm.encode(text)) for text in texts]
    asked = [lm.tokens(chat(question)) if lm.has_chat_template else question for question in questions]
    items: list[Scored] = [(prompt, one, ()) for prompt in asked for one in tokens]
    scores = [math.exp(sum(one)) for one in score(rows_of(lm, items))]
    return [
        likeliest(choices, tokens, scores[k * len(choices) : (k + 1) * len(choices)]) for k in range(len(questions))
    ]


def likeliest(choices: Sequence[str], tokens: Sequence[Sequence[int]], chances: Sequence[float]) -> str:
    """The choice with the greatest chance of being the reply, or "" where all together are below a tenth.

    A choice with which another one begins ("1" and "10") has only the chance that the other leaves it.
    """
    own = list(chances)
    for k, short in enumerate(tokens):
        for j, long in enumerate(tokens):
            if len(long) > len(short) and tuple(long[: len(short)]) == tuple(short):
                own[k] -= chances[j]
    best = max(range(len(own)), key=own.__getitem__)
    return choices[best] if sum(own) >= LEAST else ""
