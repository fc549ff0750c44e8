"""RESULTS.md: the lines of all models, and where and when they were measured."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence

import torch

from . import machine, peers
from .speed import NEW, PROMPT, Line

REAL_MODEL = "The real chat model"
_PACKAGES = ("torch", "transformers", "transformer-lens", "sae-lens", "steering-vectors", "repeng")

_NOTES = f"""
Each model decodes a baseline and seven variants (addition, addition with the opposite sign, addition to generated
tokens only, directional ablation, a threshold regulator on 32 of 4,096 SAE features, SARA, and an addition followed by
an ablation a layer later) for {NEW} tokens after a prompt of {PROMPT} random words, greedily, in float32. Weights are
random, which changes no speed. Tiller's time includes what the others do not do: streaming text, log-probabilities, the
five most probable tokens of every step, and receipts.

- Contestants take turns, and the order turns from round to round. Times are medians over the rounds; a ratio is the
  median over rounds of the ratio within a round. "CPU" is the processor time of the process, of all its threads.
- All contestants run the same weights with the same number of threads. The peers get a plain transformers model.
- TransformerLens is `TransformerBridge.generate` inside `hooks`; transformers is `generate` with forward pre-hooks, the
  seven methods written by hand. Where a peer has no such method, its addition stands in: steering-vectors has
  additions and ablation, repeng additions only. Only variants of the same method are compared token by token.
- On the CPU Tiller multiplies by packed copies of the weights (`steering/models/packing.py`). How much that saves
  depends on the processor: MKL, which the others use, is slow for eight rows on processors that are not Intel's, and
  fast for one.
- steering-vectors and repeng ask for transformers 4 (repeng also for NumPy 1), so both are installed with `--no-deps`.
  They run unchanged, but for `np.float_`, which repeng's annotations name and NumPy 2 no longer has.

More figures: [the pages' reruns](PAGES.md), [the feature index](INDEX.md), [the experiments](EXPERIMENTS.md).
"""


def markdown(
    command: str, models: Mapping[str, tuple[str, Sequence[Line]]], seconds: float, load: tuple[str, str]
) -> str:
    """The whole file."""
    versions = ", ".join(f"{name} {version}" for name in _PACKAGES if (version := peers.version(name)))
    out = [
        "# What Tiller costs and saves",
        "",
        f"Written by `{command}` on {datetime.date.today():%Y-%m-%d} in {seconds / 60:.0f} minutes.",
        "",
        f"- Machine: {machine.processor()}, {os.cpu_count()} cores, {platform.system()}; load average {load[0]} before "
        f"and {load[1]} after.",
        f"- Versions: Python {platform.python_version()}, {versions}.",
        f"- `OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', '')}`, torch built with "
        f"{'MKL' if torch.backends.mkl.is_available() else 'no MKL'}.",
        "",
    ]
    out += busy(load[0])
    for name, (about, lines) in models.items():
        out += [f"## {name}", "", about, "", *table(lines), ""]
    return "\n".join([*out, "## How to read this"]) + "\n" + _NOTES


def table(lines: Sequence[Line]) -> list[str]:
    """Lines of the report as a table in Markdown."""
    out = ["| | measured | target | met | |", "| --- | --- | --- | --- | --- |"]
    for line in lines:
        met = "" if line.met is None else "yes" if line.met else "**no**"
        out.append(f"| {line.what} | {line.value} | {line.target} | {met} | {line.detail} |")
    return out


def busy(before: str) -> list[str]:
    """A warning where the machine did other work when a benchmark began; the load afterwards is its own."""
    if _number(before) <= 0.5 * (os.cpu_count() or 1):
        return []
    return ["**The machine was busy with other work: neither times nor ratios are to be quoted. Run it again.**", ""]


def _number(load: str) -> float:
    return float(load) if load != "unknown" else 0.0
