"""How values look in a notebook: one line of text, or a little HTML in which every text is escaped."""
