"""Widgets of our own: the strength slider, the threshold handle, tinted tokens, the theme."""
