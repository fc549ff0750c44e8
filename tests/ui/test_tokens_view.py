"""The token view's data: pieces that join to the text, and characters that must not act shown by their code point."""

from __future__ import annotations

import pytest

from steering.models.passages import pieces
from steering.showing.visible import visible
from steering.ui.widgets.tokens import Token, token_data


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_pieces_join_to_the_text_also_where_a_character_takes_several_tokens(model, family):
    lm = model(family)
    text = "The sun, \u202eabc ü 日本 is warm.\nYes"
    tokens = lm.tokens(text)
    found = pieces(lm, tokens)
    assert len(found) == len(tokens)
    assert "".join(found) == lm.text(tokens, special=True)


def test_characters_that_act_are_shown_by_their_code_point():
    assert visible("a\u202eb\u200b\x00") == "a⟨U+202E⟩b⟨U+200B⟩⟨U+0000⟩"
    assert visible("x\n\ty z") == "x⏎⇥y z"
    assert visible("日本 é ü") == "日本 é ü"


def test_what_the_browser_gets_is_data_and_never_empty():
    data = token_data(Token("<b>", 1.5, (("next", "\u202e"),), prompt=True))
    assert (data["t"], data["v"], data["p"], data["tip"]) == ("<b>", 1.5, True, [["next", "⟨U+202E⟩"]])
    assert token_data(Token(""))["t"] == "⋯"
