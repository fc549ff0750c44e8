"""The sets for real chat models: what they hold, in plain English, written for this project."""
