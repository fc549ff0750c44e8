"""Whether a model is what the pages take it for: its streams, its rows in a batch, numbers that do not overflow."""
