"""Scored text is the text in context; special tokens are there once; templates and broken characters are reported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from steering.directions.direction import Direction
from steering.directions.pairs import PairSet
from steering.engine.engine import Engine
from steering.evaluations import arms, trials
from steering.evaluations.scoring import items, scorers
from steering.evaluations.sets.sets import EvaluationSet
from steering.evaluations.sweeps import forced_grid
from steering.interventions.addition import ActivationAddition
from steering.models.model import Model
from steering.models.passages import choices, in_context, passage
from steering.models.tokenizing import well_formed
from steering.sites import Site

PIECES = [
    "<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"aceimnostAB.:(",
    "▁a", "▁t", "ti", "me", "time", "▁time", "▁on", "on", "ce", "once", "▁once", "(A",
]  # fmt: skip
MERGES = ["m e", "t i", "ti me", "▁ time", "▁ a", "▁ t", "o n", "▁ on", "c e", "on ce", "▁on ce", "( A"]


def sentencepiece(opening: str = "<s> $A", chat: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer like Llama-2's: a space in front of whatever is tokenized, spaces as a letter, bytes for the rest."""
    vocab = {piece: number for number, piece in enumerate(PIECES)}
    merges = [tuple(pair.split(" ")) for pair in MERGES]
    bpe = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [(piece, vocab[piece]) for piece in ("<s>", "</s>")]
    bpe.post_processor = processors.TemplateProcessing(single=opening, pair="$A $B", special_tokens=special)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.chat_template = chat
    return fast


@pytest.fixture
def sp(tiny_llama: Model) -> Callable[..., Model]:
    """The tiny Llama with another tokenizer: what is tested is what its tokens are."""
    return lambda *args, **kwargs: Model("sp", tiny_llama.hf, sentencepiece(*args, **kwargs))


@pytest.mark.parametrize(("prompt", "continuation"), [("once on a", " time"), ("time:", "time"), ("at on", "ce.")])
def test_a_continuation_has_the_tokens_that_it_has_in_the_text(
    sp: Callable[..., Model], prompt: str, continuation: str
) -> None:
    lm = sp()
    whole, alone = lm.tokens(prompt + continuation), lm.tokens(prompt)
    assert lm.tokenizer.encode(continuation, add_special_tokens=False) != whole[len(alone) :]  # the mistake
    if whole[: len(alone)] != alone:
        for given in (prompt, alone):
            with pytest.raises(ValueError, match="falls inside a token"):
                in_context(lm, given, continuation)
        return
    for given in (prompt, alone):
        assert in_context(lm, given, continuation) == (alone, whole[len(alone) :])
    with Engine(lm) as engine:
        expected = engine.score(alone, whole[len(alone) :])
        assert engine.score(prompt, continuation) == engine.score(alone, continuation) == expected
        grid = forced_grid(engine, [prompt], continuation, lambda row, column: (), [0], [0])
        assert grid.baseline == pytest.approx(sum(expected[0]), abs=1e-4)
        assert grid.change == ((0.0,),)


def test_a_grid_takes_a_target_that_has_other_tokens_after_other_prompts(sp: Callable[..., Model]) -> None:
    lm = sp()
    given = [in_context(lm, prompt, "time") for prompt in ("on:", "on a ")[:1]] + [in_context(lm, [5, 6], "time")]
    with Engine(lm) as engine:
        grid = forced_grid(engine, ["on:", [5, 6]], "time", lambda row, column: (), [0], [0])
        expected = [sum(engine.score(before, after)[0]) for before, after in given]
    assert grid.baseline == pytest.approx(sum(expected) / 2, abs=1e-4)


def test_options_whose_border_falls_inside_a_token_are_compared_after_the_same_tokens(
    sp: Callable[..., Model],
) -> None:
    lm = sp()
    before, after = choices(lm, "on: (", ["A", "B"])
    assert lm.text(before) == "on: " or lm.text(before) == "on:"
    assert [lm.text([*before, *one]) for one in after] == ["on: (A", "on: (B"]
    with pytest.raises(ValueError, match="falls inside a token"):
        in_context(lm, "on: (", "A")
    with pytest.raises(ValueError, match="at least one token"):
        choices(lm, "on: (", ["A", ""])


def test_ids_that_end_inside_a_character_are_refused(tiny_llama: Model) -> None:
    cut = tiny_llama.tokens("a 日")[:-1]
    with pytest.raises(ValueError, match="end inside a character or a word"):
        in_context(tiny_llama, cut, " yes")


# Chats ----------------------------------------------------------------------------------------------------------------

SPACED = (
    "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% else %} {{ m.content }}</s>{% endif %}"
    "{% endfor %}"
)


def test_in_a_chat_an_option_is_what_the_assistant_would_say(tiny_gemma2: Model, sp: Callable[..., Model]) -> None:
    chat = [{"role": "user", "content": "Is it so?"}]
    for option in (" Yes", "Yes", "Yes "):
        before, (after,) = choices(tiny_gemma2, chat, [option])
        assert before == tiny_gemma2.tokens(chat) and tiny_gemma2.text(after) == "Yes"
    # A template that itself puts a space there keeps it.
    before, (after,) = choices(sp(chat=SPACED), chat, ["once"])
    assert sp().token_texts(after) == [" once"]
    # And an answer that has begun goes on as it is written.
    begun = [*chat, {"role": "assistant", "content": "Answer:"}]
    _, (after,) = choices(tiny_gemma2, begun, [" A"], continue_final=True)
    assert tiny_gemma2.text(after) == " A"


def test_trials_score_options_as_the_assistant_says_them(tiny_gemma2: Model) -> None:
    item = items.Item("Is it so?", options=(" Yes", " No"), matching=(0,))
    one = EvaluationSet((item,), scorers.ForcedChoice(), "choice", "choice")
    with Engine(tiny_gemma2) as engine:
        (found,) = trials.run(engine, [one], [arms.BASELINE])
        answers = [engine.score(item.messages(), option)[0] for option in ("Yes", "No")]
    assert found.measures == pytest.approx(dict(scorers.ForcedChoice().score(item, answers)), abs=1e-5)
    assert {"p_options", "hardly_said"} <= set(found.measures)


THINKS = (
    "{% for m in messages %}{% set c = m.content %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1] %}"
    "{% endif %}<start>{{ m.role }}\n{{ c }}<end>\n{% endfor %}"
)
SILENT = "{% for m in messages %}{% if m.role == 'user' %}<start>{{ m.content }}<end>{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m['content'] + tools_note }}{% endfor %}",
        "{% for m in messages %}{{ m['content'] + 1 }}{% endfor %}",
        "{% for m in messages %}{{ m.content",
        THINKS,
        SILENT,
    ],
)
def test_a_template_that_fails_says_which_and_what_to_do(
    template: str, tiny_gemma2: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_gemma2.tokenizer, "chat_template", template)
    with pytest.raises(ValueError, match=r"chat template of .*tiny-gemma2.*chat=False"):
        passage(tiny_gemma2, "Is it so?", "<think>I would.</think>\nYes")
    assert passage(tiny_gemma2, "Is it so?", " Yes", chat=False).tokens


# Special tokens -------------------------------------------------------------------------------------------------------


def test_bos_is_there_once_whoever_writes_it(sp: Callable[..., Model]) -> None:
    lm = sp()
    plain = lm.tokens("once on a time")
    for typed in ("<s>once on a time", "<s><s>once on a time", "\n<s>once on a time"):
        assert lm.tokens(typed) == plain and "read once" in lm.note(typed)
        assert passage(lm, typed, " on").tokens[: len(plain)] == tuple(plain)
    assert not lm.note("once on a time") and lm.tokens(plain) == plain
    v = Direction(torch.randn(lm.d_model), Site(2))
    with Engine(lm) as engine:
        steered = [
            engine.generate(text, [(ActivationAddition(v, 1.0),)], max_new_tokens=1)[0].receipts[0].tokens
            for text in ("once on a time", "<s>once on a time")
        ]
    assert steered[0] == steered[1] == len(plain) - 1


@pytest.mark.parametrize(("opening", "front"), [("<s> $A </s>", 1), ("$A </s>", 0), ("</s> <s> $A </s>", 2), ("$A", 0)])
def test_nothing_is_put_behind_a_text_and_all_of_the_front_is_bos(
    opening: str, front: int, sp: Callable[..., Model]
) -> None:
    lm = sp(opening)
    tokens = lm.tokens("once on")
    assert len(lm.opening) == front == lm.leading(tokens) and lm.text(tokens[front:]) == "once on"
    assert tokens[-1] != lm.tokenizer.eos_token_id
    assert ("left out" in lm.note("once on")) == opening.endswith("</s>")
    assert lm.tokens("once on</s>")[-1] == lm.tokenizer.eos_token_id  # what was typed stays
    assert passage(lm, "once", " on").first == front and passage(lm, "", "once on").start == front
    v = Direction(torch.randn(lm.d_model), Site(2))
    with Engine(lm) as engine:
        (row,) = engine.generate("once on", [(ActivationAddition(v, 1.0),)], max_new_tokens=1)
    assert row.receipts[0].tokens == len(tokens) - front


# Half a character -----------------------------------------------------------------------------------------------------


def test_half_a_character_is_replaced_wherever_text_comes_in(tiny_llama: Model, tiny_gemma2: Model) -> None:
    assert well_formed("a \ud83d cat") == "a \ufffd cat" and well_formed("\ud83d\udc4d") == "👍"
    assert well_formed("naïve 👍") == "naïve 👍"
    assert tiny_llama.tokens("a \ud83d cat") == tiny_llama.tokens("a \ufffd cat")
    assert "U+FFFD" in tiny_llama.note("a \ud83d cat")
    chat = [{"role": "user", "content": "a \udc4d"}]
    assert tiny_gemma2.tokens(chat) == tiny_gemma2.tokens([{"role": "user", "content": "a \ufffd"}])
    assert in_context(tiny_llama, "a \ud83d", " cat") == in_context(tiny_llama, "a \ufffd", " cat")
    pairs = PairSet.parse('{"positive": "a \\ud83d cat", "negative": "a dog"}\n', "jsonl")
    assert pairs[0].positive == "a \ufffd cat" and pairs.to_jsonl().encode("utf-8")
    item = items.Item("a \ud83d", system="\udc4d", options=("\ud83d", "b"), matching=(0,), labels={"true": "\ud83d"})
    assert (item.prompt, item.system, item.options) == ("a \ufffd", "\ufffd", ("\ufffd", "b"))
    assert item.labels == {"true": "\ufffd"}
