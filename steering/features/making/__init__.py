"""How a feature index is made: texts, windows of tokens, what is counted in one pass, and the files written."""
