"""The pages under Library: saved work and models."""
