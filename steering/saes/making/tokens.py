"""Texts as token windows in a file, so that text is tokenized once and read in any order, whatever its size.

A window is a sequence of its own: a piece of one text, or one chat. Its first `skip` tokens are context only: the
system message that every chat begins with would otherwise be learned by heart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int

from ...jobs.checkpoint import Checkpoint
from ...jobs.files import write_atomically
from ...models.model import Model

T = TypeVar("T")
SHORTEST = 8  # a window of fewer tokens says little and is left out


@dataclass(frozen=True)
class Windows:
    """Token windows kept in a folder: `ids` of all of them in a row, and start, length and skip of each."""

    folder: Path
    ids: Int[np.ndarray, " tokens"]
    places: Int[np.ndarray, "windows 3"]

    @classmethod
    def open(cls, folder: Path) -> Windows:
        """The windows of a folder, mapped into memory rather than read."""
        places = np.fromfile(folder / "windows.bin", np.int64).reshape(-1, 3)
        return cls(folder, np.memmap(folder / "ids.bin", np.int32, "r"), places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> list[int]:
        start, length, _ = self.places[number]
        return self.ids[start : start + length].tolist()

    @property
    def counted(self) -> Int[np.ndarray, " windows"]:
        """How many tokens of each window are to be learned from, at most."""
        return self.places[:, 1] - self.places[:, 2]

    @property
    def tokens(self) -> int:
        """The tokens to be learned from, over all windows."""
        return int(self.counted.sum())


def write_windows(
    folder: Path, sequences: Iterable[tuple[Sequence[int], int]], about: dict[str, Any], tick: Callable[[int], None]
) -> Windows:
    """Token sequences, each with its skip, as a folder of windows; `tick` is called with the sequences so far.

    A folder that is whole already, made from the same thing (`about`), is opened and not written again.

    Raises:
        ValueError: no sequence has enough tokens.
    """
    described = json.dumps(about, sort_keys=True)
    done = folder / "windows.json"
    if done.is_file() and done.read_text(encoding="utf-8") == described:
        return Windows.open(folder)
    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    places, start = [], 0
    with (folder / "ids.bin").open("wb") as file:
        for number, (ids, skip) in enumerate(sequences, start=1):
            tick(number)
            if len(ids) - skip < SHORTEST:
                continue
            file.write(np.asarray(ids, np.int32).tobytes())
            places.append((start, len(ids), skip))
            start += len(ids)
    if not places:
        raise ValueError(f"A dictionary is trained on texts of at least {SHORTEST} tokens; there is none.")
    (folder / "windows.bin").write_bytes(np.asarray(places, np.int64).tobytes())
    write_atomically(done, described.encode())
    return Windows.open(folder)


def text_windows(lm: Model, texts: Iterable[str], context: int) -> Iterator[tuple[list[int], int]]:
    """Windows of at most `context` tokens of each text, with BOS in front of each where the tokenizer puts one."""
    bos = lm.tokenizer.bos_token_id
    adds = lm.tokenizer.encode("a")[:1] == [bos]
    first: list[int] = [int(bos)] if bos is not None and adds else []
    room = context - len(first)
    for text in texts:
        ids = lm.tokenizer.encode(text, add_special_tokens=False)
        while first and ids[:1] == first:  # a rendered chat brings a BOS of its own
            ids = ids[1:]
        for start in range(0, len(ids), room):
            yield [*first, *ids[start : start + room]], 0


def chat_windows(lm: Model, chats: Iterable[Sequence[dict[str, str]]], context: int) -> Iterator[tuple[list[int], int]]:
    """Windows of chats in the model's own template, the first `context` tokens of each.

    What the template puts in front of every chat is context only, in all chats but the first.
    """
    chats = list(chats)
    if not chats:
        return
    prefix = _common([lm.tokens([{"role": "user", "content": letter}]) for letter in ("x", "q")])
    for number, chat in enumerate(chats):
        # Ends with the last message as it stands: an answer that was cut off is not closed.
        ids = lm.tokens(chat, continue_final=chat[-1]["role"] == "assistant")[:context]
        yield ids, len(prefix) if number and ids[: len(prefix)] == prefix else 0


def template_opening(lm: Model) -> str:
    """What a model's template writes in front of every chat's first message, a default system message included."""
    return "".join(_common([lm.rendered([{"role": "user", "content": letter}]) for letter in ("x", "q")]))


def _common(sequences: Sequence[Sequence[T]]) -> list[T]:
    """The longest prefix that the sequences share."""
    shared: list[T] = []
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared


@torch.no_grad()
def answers(
    lm: Model,
    prompts: Sequence[str],
    kept: Checkpoint,
    tick: Callable[[int, int], None],
    *,
    tokens: int = 256,
    temperature: float = 0.7,
    rows: int = 16,
    seed: int = 0,
) -> list[list[dict[str, str]]]:
    """Chats of a model with itself as the assistant: each prompt and a sampled answer, shorter prompts first.

    Batches of the same prompts that `kept` knows are not sampled again. The same prompts, seed, rows and device give
    the same answers.
    """
    encoded = sorted(((lm.tokens([{"role": "user", "content": prompt}]), prompt) for prompt in prompts), key=_length)
    chats = []
    for start in range(0, len(encoded), rows):
        tick(start, len(encoded))
        part, key = encoded[start : start + rows], f"{seed}-{rows}-{start}"
        known, asked = kept.get(key), [prompt for _, prompt in part]
        if known is None or known["prompts"] != asked:
            said = _sampled(lm, [ids for ids, _ in part], tokens, temperature, seed + start)
            known = {"prompts": asked, "answers": said}
            kept.add([(key, known)])
        for prompt, answer in zip(known["prompts"], known["answers"], strict=True):
            if answer:
                chats.append([{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}])
    return chats


def _sampled(lm: Model, prompts: list[list[int]], tokens: int, temperature: float, seed: int) -> list[str]:
    ids, mask, _ = lm.pad(prompts)
    stops = sorted(lm.eos_tokens)
    with lm.lock, torch.random.fork_rng(devices=[lm.device] if lm.device.type == "cuda" else []):
        torch.manual_seed(seed)
        generate: Any = lm.hf.generate
        out = generate(
            input_ids=ids, attention_mask=mask.long(), do_sample=True, temperature=temperature, top_k=50, top_p=1.0,
            max_new_tokens=tokens, eos_token_id=stops, pad_token_id=stops[0],
        )[:, ids.shape[1] :].tolist()  # fmt: skip
    ends = [next((at for at, token in enumerate(row) if token in lm.eos_tokens), len(row)) for row in out]
    return [lm.text(row[:end]).strip() for row, end in zip(out, ends, strict=True)]


def _length(item: tuple[list[int], str]) -> int:
    return len(item[0])
