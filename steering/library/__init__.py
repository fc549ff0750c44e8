"""What is kept: loaded models and SAEs within a memory budget, saved directions and runs, the catalogue of models."""
