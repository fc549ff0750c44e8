"""Dictionaries beside each other: which there are for a model, and which of their features are the same."""
