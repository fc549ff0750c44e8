"""One decoding step in a few large operations, a file a family; equal to transformers within rounding."""
