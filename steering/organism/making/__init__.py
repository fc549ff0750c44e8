"""How the bundled organism is made: corpus, tokenizer, training, dictionaries, files of pairs and items."""
