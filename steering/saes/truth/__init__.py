"""Data whose true features are known, to find out what a dictionary's features are worth where the truth is not."""
