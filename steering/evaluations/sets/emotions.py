"""The names of emotions in published sets, and which of them mean the same."""

from __future__ import annotations

import re

# What a published name is called here: the four moods of `general_moods` first.
FEELING = {
    "happiness": "happy", "joy": "happy", "happy": "happy",
    "sadness": "sad", "sad": "sad",
    "fear": "afraid", "afraid": "afraid",
    "anger": "angry", "angry": "angry",
    "disgust": "disgusted", "disgusted": "disgusted",
    "surprise": "surprised", "surprised": "surprised",
}  # fmt: skip
FEELINGS = tuple(dict.fromkeys(FEELING.values()))
# In the order of GoEmotions' own numbers (Demszky et al. 2020, arXiv 2005.00547).
GOEMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip


def of_file(name: str) -> tuple[str, ...]:
    """The feelings that a file is named after ("anger", "happiness_sadness"), or none where it says anything else."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    return tuple(dict.fromkeys(FEELING[word] for word in words)) if all(word in FEELING for word in words) else ()
