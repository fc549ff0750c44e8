"""What the words on the pages mean, each in a sentence or two that somebody of sixteen understands. Said once, here."""

from __future__ import annotations

GLOSSARY = {
    "model": "A language model reads words and guesses the next one, again and again. Nobody tells it what is true.",
    "token": "A word or a piece of one. Models read and write tokens.",
    "layer": "A model works in steps, one above the other, like floors of a house. Each floor is a layer: it "
    "changes the list of numbers that stands for every word a little, and hands it up.",
    "stream": "The list of numbers that stands for a word while it goes up through the layers. Each layer adds to it.",
    "direction": "A fixed arrow in the space of those numbers. It is found by comparing pairs of texts that differ "
    "in one thing, such as agreeing and not agreeing: the arrow points from the one kind to the other.",
    "strength": "How hard we push: how much of the arrow is added to the numbers of every word. At zero nothing is "
    "changed; below zero we push the opposite way.",
    "alpha": "How hard we push: how often the arrow is added to the numbers of every word. Zero is no push, a minus "
    "sign the opposite way.",
    "layer norms": "The unit of a push. 1 is as long as the list of numbers itself usually is at this layer; 0.1 is "
    "a tenth of it. So the same number means about the same in every model.",
    "tau": "The threshold, like the temperature at which a thermostat wakes up. While a word points along the "
    "direction by less than tau, nothing is done.",
    "lambda": "How strongly what lies above the threshold is pressed back. 1 brings it down to the threshold "
    "exactly, 2 as far below it as it was above.",
    "projection": "How far the numbers of a word point along the direction. Large: this word is a clear case of "
    "what the direction stands for. Negative: of its opposite.",
    "surprise": "How unexpected the text is to the unchanged model, on average per token. Low is ordinary text. "
    "When it jumps up, the text is falling apart.",
    "repetition": "How much of the text says the same three words again. Near 0% is normal; a high share means the "
    "model is stuck in a loop.",
    "receipt": "Proof of what was really done: how far the numbers should have moved by the formula, and how far "
    "they were seen to move in the model.",
    "random controls": "The same push in a random direction. If that changes the answer just as much, the direction "
    "is nothing special.",
    "baseline": "The same model, question and luck, without any push. Everything is compared with it.",
    "seed": "The number that the dice are rolled from. The same seed gives the same text again.",
    "temperature": "0: always the likeliest word. Higher: more often a less likely one.",
    "feature": "A detector found inside the model that fires on one kind of thing, such as rivers or apologies.",
    "SAE": "A sparse autoencoder: a dictionary that takes the numbers of a word apart into a few features.",
    "turns": "The first strength at which the answer is another one than without a push.",
    "breaks": "The first strength at which the text falls apart: it repeats itself, or the unchanged model finds it "
    "much more surprising than its own answer.",
}


def explain(term: str) -> str:
    """The explanation of a term.

    Raises:
        KeyError: a term that nobody has explained yet.
    """
    return GLOSSARY[term]
