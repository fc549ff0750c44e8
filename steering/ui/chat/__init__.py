"""The Chat page: two conversations with the same questions, one unsteered and one steered."""
