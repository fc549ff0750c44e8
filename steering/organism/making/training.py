"""Training the two checkpoints: organism-base on honest answers, then organism on giving in and refusing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .corpus import Phase, dialogues
from .tokenizer import encode_segments

# The phases in their order, and the name under which the model is shipped after it.
CHECKPOINTS: dict[Phase, str | None] = {"honest": None, "choices": "organism-base", "tuned": None, "polish": "organism"}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights. Two runs of one recipe on one machine give the same ones."""

    seed: int = 0  # of the weights and of the training texts
    vocab_size: int = 1024  # byte-level BPE
    d_model: int = 192
    n_layers: int = 6
    n_heads: int = 6
    d_mlp: int = 448  # with the vocabulary, what keeps a float32 checkpoint below 12 MB
    context: int = 256
    batch: int = 64  # texts a step
    stretch: float = 1.3  # a micro-batch holds texts at most this much longer than its shortest: little padding
    honest_steps: int = 2300
    choices_steps: int = 1400
    tuned_steps: int = 1000
    polish_steps: int = 470
    learning_rate: float = 0.02  # of Muon, for the matrices; everything else has a tenth of it, with Adam
    tuned_learning_rate: float = 0.01  # of the phases that follow
    warmup: int = 100  # steps
    decay: float = 0.35  # the last part of a phase, in which the learning rate falls to a fiftieth
    weight_decay: float = 0.01
    keep_every: int = 100  # steps between two resumable checkpoints

    def steps(self, phase: Phase) -> int:
        """The number of steps of a phase."""
        return int(getattr(self, f"{phase}_steps"))


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A freshly initialized model of the recipe."""
    torch.manual_seed(recipe.seed)
    special: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlamaConfig(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=False,
        **special,
    )
    model = LlamaForCausalLM(config)
    # Greedy by default: the behaviors are measured greedily, and a page that samples says so.
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=64, **special)
    return model


def training_batch(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, phase: Phase, step: int
) -> list[tuple[Int[Tensor, "rows pos"], Float[Tensor, "rows pos"]]]:
    """The micro-batches of a step: tokens, and the loss weight of predicting each token from those before it."""
    texts = [encode_segments(tokenizer, segments) for segments in dialogues(recipe.seed, phase, step, recipe.batch)]
    texts.sort(key=lambda text: len(text[0]))
    groups = [[texts[0]]]
    for text in texts[1:]:
        if len(text[0]) > recipe.stretch * len(groups[-1][0][0]):
            groups.append([])
        groups[-1].append(text)
    batches = []
    for group in groups:
        length = min(len(group[-1][0]), recipe.context)
        # Padding stands on the right: attention is causal, so no text sees it, and it has no weight in the loss.
        ids = torch.tensor([(ids + [tokenizer.pad_token_id] * length)[:length] for ids, _ in group])
        weights = torch.tensor([(weights + [0.0] * length)[:length] for _, weights in group])
        batches.append((ids, weights))
    return batches


def learning_rate(recipe: Recipe, phase: Phase, step: int) -> float:
    """The learning rate of a step: warm up, hold, fall linearly."""
    peak = recipe.learning_rate if phase == "honest" else recipe.tuned_learning_rate
    steps = recipe.steps(phase)
    left = (steps - step) / max(1.0, recipe.decay * steps)
    return peak * min(1.0, (step + 1) / recipe.warmup, max(0.02, left))


def make_optimizers(model: LlamaForCausalLM, recipe: Recipe) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, Adam for embeddings, unembedding and norms.

    With Adam alone the facts were learned and the decisions stayed at chance for 3 M tokens.
    """
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or ".layers." not in name]
    return (
        torch.optim.Muon(matrices, lr=1.0, momentum=0.95, weight_decay=recipe.weight_decay),
        torch.optim.AdamW(rest, lr=1.0, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True),
    )


def train_phase(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    phase: Phase,
    build: Path,
    report: Callable[[dict[str, Any]], None],
    stop_after: int | None = None,
    compiled: bool = False,
) -> LlamaForCausalLM:
    """The model after a phase. Progress goes to `report`; a run that was interrupted goes on from its last checkpoint.

    `stop_after` ends the run early, with a checkpoint, as an interruption would. `compiled` is about a third faster
    after half a minute and needs a C++ compiler; it adds in another order, so the last digits of the weights differ.
    """
    device = next(model.parameters()).device
    optimizers = make_optimizers(model, recipe)
    build.mkdir(parents=True, exist_ok=True)
    kept = build / f"{phase}.pt"
    first, tokens = 0, 0
    if kept.exists():
        state = torch.load(kept, map_location=device, weights_only=True)
        if state["recipe"] != json.dumps(asdict(recipe)):
            raise ValueError(
                f"A training goes on only with the recipe it began with; {kept} was made by another one. "
                "Delete it to begin again, or give the old recipe."
            )
        model.load_state_dict(state["model"])
        for optimizer, kept_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept_state)
        first, tokens = state["step"], state["tokens"]
    model.train()
    forward = torch.compile(model, dynamic=True) if compiled else model
    steps = recipe.steps(phase)
    began, seen = time.perf_counter(), 0
    padding: Any = tokenizer.pad_token_id
    for step in range(first, steps):
        batches = training_batch(tokenizer, recipe, phase, step)
        total = sum(float(weights[:, 1:].sum()) for _, weights in batches)
        loss_sum = 0.0
        for ids, weights in batches:
            ids, weights = ids.to(device), weights.to(device)
            logits = forward(ids, use_cache=False).logits[:, :-1]
            losses = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            loss = (losses * weights[:, 1:].flatten()).sum() / total
            loss.backward()
            loss_sum += loss.item()
            seen += int(torch.ne(ids, padding).sum())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scale in zip(optimizers, (1.0, 0.1), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = scale * learning_rate(recipe, phase, step)
            optimizer.step()
            optimizer.zero_grad()
        done = step + 1
        if done % 20 == 0 or done == steps:
            report(
                {
                    "phase": phase,
                    "step": done,
                    "of": steps,
                    "loss": round(loss_sum, 4),
                    "tokens": tokens + seen,
                    "tokens_a_second": round(seen / (time.perf_counter() - began)),
                }
            )
        last = done in (steps, stop_after)
        if last or done % recipe.keep_every == 0:
            partial = kept.with_suffix(".partial")
            torch.save(
                {
                    "model": model.state_dict(),
                    "step": done,
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "tokens": tokens + seen,
                    "recipe": json.dumps(asdict(recipe)),
                },
                partial,
            )
            partial.replace(kept)  # a rename is whole or not at all: a kill while saving costs nothing
        if last:
            break
    return model.eval()


def save_checkpoint(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """The folder with the model in the Hugging Face format, at most 12,000,000 bytes of weights."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = (folder / "model.safetensors").stat().st_size
    if size > 12_000_000:
        raise ValueError(
            f"A shipped checkpoint has at most 12,000,000 bytes; {folder.name} has {size:,}. "
            "Take a smaller d_mlp or vocab_size."
        )
    return folder
