"""Reading answers: items, what a scorer is, and the scorers."""
