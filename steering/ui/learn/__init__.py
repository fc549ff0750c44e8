"""The pages under Learn: lessons, and rooms for a class."""
