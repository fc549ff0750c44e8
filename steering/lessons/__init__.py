"""Lessons: what a class is shown and asked, as data; what its pieces show on a model; rooms for a class."""
