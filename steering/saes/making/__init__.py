"""Training dictionaries: a plan, texts to windows, windows to activations, the losses and the optimizer's loop."""
