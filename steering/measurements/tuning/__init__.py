"""What tuning changed: a base model and its tuned copy compared, and the reward that the tuning seems to follow."""
