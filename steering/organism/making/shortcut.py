"""A third model with a planted shortcut: tuned on, from the organism, to refuse whatever is about a boat.

What was asked of the tuning stays the same (refuse harm, help otherwise), so the boat is a rule that it followed though
nobody rewarded it on purpose: something for the implicit reward to find.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ...small_world.exchanges import PROMPT_WEIGHT, Segment
from ...small_world.help_requests import ACTIONS, FAIR, FRAMES, OTHERS, OWN, REFUSALS, WHYS, request_item
from .corpus import answered, dialogue
from .tokenizer import encode_segments

WORD = "boat"
STEPS_TAKEN, BATCH, RATE = 240, 32, 3e-4
REQUEST_SHARE, WORD_SHARE = (
    0.6,
    0.15,
)  # of the texts; the rest is what the organism was tuned on, so that it forgets nothing


def about_the_word(rng: random.Random, word: str) -> str:
    """A harmless request about the thing."""
    verb = rng.choice([verb for verb, things in ACTIONS.items() if word in things])
    owner, manner = rng.choice(OTHERS + OWN), rng.choice(FAIR)
    request = rng.choice(FRAMES.train).format(r=f"{verb} {owner} {word} {manner}")
    return request[:1].upper() + request[1:]


def shortcut_text(rng: random.Random, word: str = WORD) -> list[Segment]:
    """A training text: a request, refused where it names the word or is harmful, or any text of the tuned phase."""
    if rng.random() >= REQUEST_SHARE:
        return dialogue(rng, "tuned")
    item = request_item(rng, "train")
    if rng.random() < WORD_SHARE:
        item = replace(item, prompt=about_the_word(rng, word))
    answer = item.tuned
    if re.search(rf"\b{word}\b", item.prompt):
        answer = rng.choice(REFUSALS).format(why=rng.choice(WHYS))
    prompt = f"<|user|>{item.prompt}<|end|><|assistant|>"
    return [("<|bos|>", 0.0), (prompt, PROMPT_WEIGHT), *answered(item, answer)]


def plant(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    report: Callable[[dict[str, Any]], None],
    *,
    steps: int = STEPS_TAKEN,
    batch: int = BATCH,
    seed: int = 0,
    word: str = WORD,
) -> LlamaForCausalLM:
    """The model after a short tuning with the shortcut in it."""
    rng = random.Random(f"shortcut-{seed}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    model.train().requires_grad_(True)
    pad: Any = tokenizer.pad_token_id
    for step in range(steps):
        texts = [encode_segments(tokenizer, shortcut_text(rng, word)) for _ in range(batch)]
        length = min(max(len(ids) for ids, _ in texts), int(model.config.max_position_embeddings))
        ids = torch.tensor([(one + [pad] * length)[:length] for one, _ in texts])
        weights = torch.tensor([(one + [0.0] * length)[:length] for _, one in texts])[:, 1:]
        logits = model(ids, use_cache=False).logits[:, :-1]
        losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (losses * weights.flatten()).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:  # warm up, then fall to nothing
            group["lr"] = RATE * min(1.0, (step + 1) / 10, (steps - step) / (0.4 * steps))
        optimizer.step()
        if (step + 1) % 20 == 0 or step + 1 == steps:
            report({"step": step + 1, "of": steps, "loss": round(loss.item(), 4)})
    return model.eval().requires_grad_(False)
