"""Dose strips on pages: a slider unrolled into texts, the first screen that is made of one, and files that play."""
