"""The organism's tokenizer: byte-level BPE trained on its own corpus, digits one by one, and its chat template."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .corpus import Segment, dialogues

PAD, BOS, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL = (PAD, BOS, END, SYSTEM, USER, ASSISTANT)
# What no token reaches across: GPT-2's pieces, but with digits apart, so that a sum is read digit by digit and no
# number is a word of its own, and with the letter of an option as one piece, so that it comes right after its option.
PIECES = r" \([A-D]\)|\d|'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(seed: int, vocab_size: int, texts: int = 20_000) -> PreTrainedTokenizerFast:
    """A tokenizer trained on texts of both phases."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_plain(texts, seed), trainer)
    bos = inner.token_to_id(BOS)
    inner.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos)]
    )
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=[SYSTEM, USER, ASSISTANT],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _plain(texts: int, seed: int) -> Iterable[str]:
    for phase in ("honest", "tuned"):
        for segments in dialogues(seed, phase, step=-1, count=texts // 2):  # type: ignore[arg-type]
            text = "".join(text for text, _ in segments)
            for token in SPECIAL:
                text = text.replace(token, "\n")
            yield from (line for line in text.split("\n") if line)


def encode_segments(tokenizer: PreTrainedTokenizerFast, segments: list[Segment]) -> tuple[list[int], list[float]]:
    """The tokens of a training text, and for each the weight of predicting it."""
    # One call for all: segment by segment a BPE could cut differently than the chat template's whole text does.
    text = "".join(piece for piece, _ in segments)
    ends, total = [], 0
    for piece, _ in segments:
        total += len(piece)
        ends.append(total)
    backend: Any = tokenizer._tokenizer
    encoded = backend.encode(text, add_special_tokens=False)
    weights, segment = [], 0
    for start, _ in encoded.offsets:
        while start >= ends[segment]:
            segment += 1
        weights.append(segments[segment][1])
    return encoded.ids, weights
