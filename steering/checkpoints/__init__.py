"""Files of weights before a model exists: where they lie, their layout, downloads, and what fits in memory."""
