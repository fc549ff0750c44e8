"""How the bundled model is made: texts, tokenizer, training, measurements, card. `python -m steering.organism`."""
