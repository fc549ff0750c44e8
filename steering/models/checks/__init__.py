"""Checks of a loaded model: where its streams are, rows in a batch equal to rows alone, no overflow."""
