"""Activations of texts: the right tokens, the same numbers as one text alone, in both spaces; and what is refused."""

from collections.abc import Callable
from typing import Literal

import pytest
import tiny_models as tiny
import torch

from steering.directions import activations
from steering.directions.activations import Passage, batches, of_pairs, passage, picked, read, stream
from steering.directions.pairs import PairSet
from steering.models.model import Model
from steering.saes.sae import Sae
from steering.sites import Site

SITE = Site(1)
PAIRS = PairSet.from_lists(
    [" Yes, I agree with you.", " right", " I love it, of course!"],
    [" No.", " wrong and not so", " I hate it"],
    ["Is 7 plus 5 equal to 13?", "This is", "The cat:"],
)
LETTERS = PairSet.from_lists(["(A)", "(B)"], ["(B)", "(A)"], ["Which? (A) cat (B) dog ", "What is best? "])


def alone(lm: Model, tokens: tuple[int, ...], site: Site = SITE) -> torch.Tensor:
    """The activations of one text by itself, [pos d_model], by transformers' own hidden states."""
    with torch.no_grad():
        hidden = lm.hf(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    return hidden[site.layer + (site.stream == "resid_post")][0]


# Which tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_span_is_the_completion(family: str, model: Callable[[str], Model]) -> None:
    lm = model(family)
    item = passage(lm, "The cat sat on", " the mat.", chat=False)
    assert list(item.tokens) == lm.tokens("The cat sat on the mat.")
    assert lm.text(item.tokens[item.start : item.end]) == " the mat."
    assert item.end == len(item.tokens)


def test_without_a_prompt_all_but_bos_counts(lm: Model, family: str) -> None:
    item = passage(lm, "", "The cat")
    assert (item.start == 1) == (family in tiny.WITH_BOS)
    assert lm.text(item.tokens[item.start :], special=True) == "The cat"


def test_a_token_across_the_border_is_the_completions(tiny_llama: Model) -> None:
    """' the' is one token of the tiny tokenizer; with the border inside it, it belongs to what comes after."""
    whole = passage(tiny_llama, "on t", "he mat", chat=False)
    assert tiny_llama.text(whole.tokens[whole.start :]) == " the mat"


def test_letters_of_several_bytes(lm: Model) -> None:
    item = passage(lm, "größe ", "é日", chat=False)
    assert lm.text(item.tokens[item.start : item.end]) == "é日"


@pytest.mark.parametrize("family", tiny.WITH_CHAT)
@pytest.mark.parametrize("completion", [" Yes, I do. ", "No", "\nso"])
def test_the_span_in_a_chat(family: str, completion: str, model: Callable[[str], Model]) -> None:
    lm = model(family)
    item = passage(lm, "Is it so?", completion)  # chat=None: there are a template and a prompt
    messages = [{"role": "user", "content": "Is it so?"}, {"role": "assistant", "content": completion}]
    assert list(item.tokens) == lm.tokens(messages, continue_final=True)
    assert lm.text(item.tokens[item.start : item.end], special=True).strip() == completion.strip()
    before = lm.text(item.tokens[: item.start], special=True)
    assert "Is it so?" in before and before.rstrip().endswith(("model", "assistant"))
    assert passage(lm, "Is it so?", completion, chat=False).tokens != item.tokens


def test_chat_that_cannot_be(tiny_llama: Model, tiny_gemma2: Model) -> None:
    with pytest.raises(ValueError, match="has none. Use chat=False"):
        passage(tiny_llama, "a", "b", chat=True)
    with pytest.raises(ValueError, match="has no prompt. Use chat=False"):
        passage(tiny_gemma2, "", "b", chat=True)


def test_positions_by_hand() -> None:
    """Tokens 9 8 | 1 2 3 against 9 8 | 1 7 3: they differ at index 3."""
    one, other = Passage((9, 8, 1, 2, 3), 2, 5), Passage((9, 8, 1, 7, 3), 2, 5)
    assert picked(one, "last") == [4]
    assert picked(one, "completion_mean") == [2, 3, 4]
    assert picked(one, "prompt_mean") == [0, 1] and picked(one, "prompt_last") == [1]
    assert picked(Passage((9, 8, 1, 2, 3), 2, 5, first=1), "prompt_mean") == [1]  # without BOS
    assert picked(one, "differing", other) == picked(other, "differing", one) == [3]
    assert picked(one, 0) == picked(one, -5) == [0]
    assert picked(Passage((9, 8, 1, 2, 3), 2, 4), "last") == [4]  # of the text, also where the completion ends before
    assert picked(one, -2) == [3]


@pytest.mark.parametrize(
    ("position", "other", "message"),
    [
        (5, None, "outside a text of 5 tokens"),
        (-6, None, "outside a text of 5 tokens"),
        (True, None, "or an index; got True"),
        ("differing", None, "a single text has no other side"),
        ("differing", (9, 8, 1, 2, 3), "differ in 0"),
        ("differing", (9, 8, 1, 7, 4), "differ in 2"),
        ("differing", (9, 8, 1, 7), "have 5 and 4 tokens"),
    ],
)
def test_positions_that_cannot_be(position: str | int, other: tuple[int, ...] | None, message: str) -> None:
    item = Passage((9, 8, 1, 2, 3), 2, 5)
    with pytest.raises(ValueError, match=message):
        picked(item, position, other and Passage(other, 2, len(other)))  # type: ignore[arg-type]


@pytest.mark.parametrize("position", ["prompt_mean", "prompt_last"])
def test_a_prompt_that_is_not_there_cannot_be_read(position: Literal["prompt_mean", "prompt_last"]) -> None:
    with pytest.raises(ValueError, match=f'"{position}" reads .* this text has none. Give it a prompt'):
        picked(Passage((1, 5, 6), 1, 3, first=1), position)


# The numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", ["last", "completion_mean", "prompt_mean", "prompt_last", 2, -2])
def test_a_batch_gives_each_text_what_it_gets_alone(position: str | int, lm: Model) -> None:
    positive, negative = of_pairs(lm, PAIRS, [SITE], position=position, chat=False)[SITE]
    for row, pair in enumerate(PAIRS):
        for h, (prompt, completion) in zip((positive, negative), pair.sides, strict=True):
            item = passage(lm, prompt, completion, chat=False)
            own = alone(lm, item.tokens)
            expected = {
                "last": own[-1],
                "completion_mean": own[item.start : item.end].mean(0),
                "prompt_mean": own[int(item.tokens[0] == lm.tokenizer.bos_token_id) : item.start].mean(0),
                "prompt_last": own[item.start - 1],
            }
            wanted = expected[position] if isinstance(position, str) else own[position]
            torch.testing.assert_close(h[row], wanted, atol=1e-4, rtol=1e-4)


def test_the_differing_token_is_the_letter(lm: Model) -> None:
    positive, _ = of_pairs(lm, LETTERS, [SITE], position="differing", chat=False)[SITE]
    for row, pair in enumerate(LETTERS):
        tokens = lm.tokens(pair.prompt + pair.positive)
        letter = next(i for i in range(len(tokens) - 1, 0, -1) if lm.text([tokens[i]]).strip("()") in ("A", "B"))
        torch.testing.assert_close(positive[row], alone(lm, tuple(tokens))[letter], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["standard", "topk"])
def test_features_are_encoded_before_the_mean(
    architecture: str, tiny_llama: Model, sae_of: Callable[..., Sae], monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = sae_of(architecture)
    monkeypatch.setattr(activations, "ENCODE_TOKENS", 5)  # chunks that cut through texts
    positive, _ = of_pairs(tiny_llama, PAIRS, [sae.site], sae=sae)[sae.site]
    assert positive.shape == (3, tiny.D_SAE)
    item = passage(tiny_llama, *PAIRS[0].sides[0])
    own = alone(tiny_llama, item.tokens)[item.start : item.end]
    torch.testing.assert_close(positive[0], sae.encode(own).mean(0), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(positive[0], sae.encode(own.mean(0)), atol=1e-2)


def test_several_sites_at_once(lm: Model) -> None:
    sites = [Site(2, "resid_mid"), Site(0), Site(3, "attn_out")]
    tokens = [passage(lm, "", text).tokens for text in ("The cat", "I love you and")]
    last = [[len(one) - 1] for one in tokens]
    found = read(lm, tokens, last, sites)
    for site in sites:
        torch.testing.assert_close(found[site], read(lm, tokens, last, [site])[site])
    torch.testing.assert_close(found[Site(0)][1], alone(lm, tokens[1], Site(0))[-1], atol=1e-4, rtol=1e-4)


def test_batches_hold_every_text_once_and_stay_small() -> None:
    lengths = [3, 50, 7, 7, 120, 1, 30, 8]
    found = list(batches(lengths, 60))
    assert sorted(index for batch in found for index in batch) == list(range(8))
    for batch in found:
        assert len(batch) * max(lengths[i] for i in batch) <= 60 or len(batch) == 1


def test_the_result_does_not_depend_on_the_batches(tiny_llama: Model) -> None:
    items = [passage(tiny_llama, *side) for pair in PAIRS for side in pair.sides]
    where = [picked(item, "completion_mean") for item in items]
    together, alone_each = (
        read(tiny_llama, [item.tokens for item in items], where, [SITE], batch_tokens=size)[SITE]
        for size in (10_000, 1)
    )
    torch.testing.assert_close(together, alone_each, atol=1e-4, rtol=1e-4)


def test_progress_ends_at_one(tiny_llama: Model) -> None:
    told: list[float] = []
    of_pairs(tiny_llama, PAIRS, [SITE], progress=told.append)
    assert told == sorted(told) and told[-1] == 1.0
    told.clear()
    read(tiny_llama, [[5], [6], [7], [8]], [[0]] * 4, [SITE], batch_tokens=1, progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]


# Refused ------------------------------------------------------------------------------------------------------------


def test_errors_name_the_pair(tiny_llama: Model) -> None:
    short = PairSet.from_lists(["The cat " * 20, "dog"], ["The dog " * 20, "cat"])
    long = PairSet.from_lists(["a", "cat " * 200], ["b", "c"])
    with pytest.raises(ValueError, match="Pair 2: .* reads at most 128 tokens"):
        of_pairs(tiny_llama, long, [SITE])
    with pytest.raises(ValueError, match="Pair 1: .*differ in exactly one token"):
        of_pairs(tiny_llama, PAIRS, [SITE], position="differing")
    with pytest.raises(ValueError, match="Pair 2: Position 40 is outside"):
        of_pairs(tiny_llama, short, [SITE], position=40)


def test_an_sae_reads_its_own_site_only(tiny_llama: Model, sae_of: Callable[..., Sae]) -> None:
    with pytest.raises(ValueError, match=r"reads blocks\.1\.hook_resid_post; asked for blocks\.2"):
        of_pairs(tiny_llama, PAIRS, [Site(2)], sae=sae_of("standard"))
    with pytest.raises(ValueError, match="layers 0 to 3"):
        of_pairs(tiny_llama, PAIRS, [Site(7)])


# Streams ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_sae", [False, True])
def test_a_stream_gives_every_token_once(with_sae: bool, family: str, lm: Model, sae_of: Callable[..., Sae]) -> None:
    sae = sae_of("standard", family=family) if with_sae else None
    texts = [f"The cat number {i} " * (1 + i % 4) for i in range(70)]
    seen: dict[tuple[int, int], torch.Tensor] = {}
    for chunk in stream(lm, iter(texts), SITE, sae=sae, batch_tokens=200):
        assert len(chunk.activations) == len(chunk.tokens) <= 200
        for h, token, text, position in zip(chunk.activations, chunk.tokens, chunk.text, chunk.position, strict=True):
            assert lm.tokens(texts[int(text)])[int(position)] == int(token)
            assert (int(text), int(position)) not in seen
            seen[int(text), int(position)] = h
    skipped = int(family in tiny.WITH_BOS)
    assert len(seen) == sum(len(lm.tokens(text)) - skipped for text in texts)
    for text in (0, 3, 69):
        own = alone(lm, tuple(lm.tokens(texts[text])))[-1]
        expected = sae.encode(own) if sae else own
        torch.testing.assert_close(seen[text, len(lm.tokens(texts[text])) - 1], expected, atol=1e-3, rtol=1e-3)


def test_a_stream_is_lazy_and_cuts_long_texts(tiny_llama: Model) -> None:
    def endless():
        while True:
            yield "The cat sat on the mat. " * 50

    chunk = next(iter(stream(tiny_llama, endless(), SITE, context=16)))
    assert int(chunk.position.max()) == 15
    longest = next(iter(stream(tiny_llama, endless(), SITE)))
    assert int(longest.position.max()) == tiny.N_CTX - 2
    assert len(next(iter(stream(tiny_llama, endless(), SITE, batch_tokens=20, bos=True))).tokens) == 20


def test_bos_comes_only_when_asked_for(tiny_llama: Model) -> None:
    with_bos = next(iter(stream(tiny_llama, ["The cat"], SITE, bos=True)))
    without = next(iter(stream(tiny_llama, ["The cat"], SITE)))
    assert int(with_bos.tokens[0]) == tiny_llama.tokenizer.bos_token_id
    torch.testing.assert_close(with_bos.activations[1:], without.activations)
    bos = int(with_bos.tokens[0])
    within = next(iter(stream(tiny_llama, [[bos, 50, bos, 60]], SITE)))  # between two texts, as packed data has it
    assert within.tokens.tolist() == [50, bos, 60] and within.position.tolist() == [1, 2, 3]
