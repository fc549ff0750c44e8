"""Evaluation sets: the bundled ones, and readers of the published formats."""
