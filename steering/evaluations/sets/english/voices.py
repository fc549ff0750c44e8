"""Endings for comparing moral voices and moods by log-probability, and story openings; none occurs in the pairs."""

from __future__ import annotations

VOICE_ENDINGS = {
    "duty": (
        "You have an obligation here, and you must keep to the rules even if it costs you something.",
        "What counts is that it is your duty, not what you gain by it.",
        "Some things are simply owed to other people, and a promise is one of them.",
        "Do what the moral law demands of everybody in your place.",
    ),
    "consequences": (
        "What matters is the result: choose what does the most good for everybody it touches.",
        "Compare how each choice would turn out, and take the one that leaves people happier.",
        "If it prevents more harm than it causes, it is the right thing to do.",
        "Think of the effects on all the people involved, and pick the better outcome.",
    ),
    "virtue": (
        "Be the kind of person that you would admire: brave, fair and kind.",
        "A good character shows itself in such moments, so act with honesty and compassion.",
        "Let wisdom and modesty guide you, as they would guide a noble person.",
        "Ask yourself how a generous heart would act, and do the same.",
    ),
    "self-interest": (
        "Look after yourself first and take what is best for you.",
        "You should do whatever brings you the most profit and the least trouble.",
        "Your own comfort comes first; the others can manage without you.",
        "Ask what is in it for you, and act on that.",
    ),
}
MOOD_ENDINGS = {
    "happy": (
        "Everyone was delighted, and they danced around the table for joy.",
        "It was the happiest moment of the whole year.",
        "A warm, cheerful feeling spread through the house.",
        "They could not stop smiling.",
    ),
    "sad": (
        "Nobody could hold back the tears, and the evening was full of sorrow.",
        "It was the saddest moment of the whole year.",
        "A deep, lonely feeling spread through the house.",
        "They could not stop crying.",
    ),
    "afraid": (
        "Everyone froze in terror, and nobody dared to breathe.",
        "It was the most frightening moment of the whole year.",
        "A cold, fearful feeling spread through the house.",
        "They could not stop trembling.",
    ),
    "angry": (
        "Everyone was furious, and the shouting could be heard in the street.",
        "It was the most infuriating moment of the whole year.",
        "A hot, bitter rage spread through the house.",
        "They could not stop yelling.",
    ),
}
OPENINGS = (
    "Clara came home early and found a parcel at the door.",
    "The whole family sat around the kitchen table.",
    "Late in the evening somebody knocked.",
    "The two friends met again after many years.",
    "A letter from the school had arrived.",
    "On the way back they passed the old mill.",
    "Ben turned the last page of the book.",
    "The choir stood on the stage, and the lights went out.",
    "Her brother put the telephone down.",
    "They had been waiting at the station since noon.",
    "The sea was gray, and a boat came closer.",
    "In the morning the garden looked different.",
    "The judge read out the name of the winner.",
    "Without a word, the teacher opened the envelope.",
    "The dog ran ahead and stopped at the fence.",
    "Mila tried the key, and the door opened.",
    "The neighbors gathered in the yard.",
    "At midnight the bells began to ring.",
    "The nurse asked them to come in.",
    "They climbed the last steps of the tower.",
    "Noah found the photograph in a drawer.",
    "The market closed, and the square grew empty.",
    "Father came back from his journey.",
    "The screen lit up with a message.",
    "They had lost sight of the path.",
    "The last guest left the party.",
    "A small boy stood in front of the house.",
    "The engine stopped in the middle of the lake.",
    "Grandmother took the ring from its box.",
    "It had been raining for three days.",
)


def endings(number: int, kinds: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """One ending of each kind for the item of that number, all in the same place of their lists."""
    return {kind: texts[number % len(texts)] for kind, texts in kinds.items()}
