"""`python -m benchmarks.discover_bench`: Jacobian vectors against MELBO on the bundled models; writes DISCOVER.md.

Also: what 16 Jacobian vectors cost, and MELBO's vectors in one batch against one after another.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
from pathlib import Path

import torch

from steering import Engine, Site, chat, load_model
from steering.checkpoints.bundled import bundled_models
from steering.directions.unsupervised.jacobian import jacobian_directions
from steering.directions.unsupervised.melbo import melbo
from steering.experiments.unlabeled import SETTINGS, run_unlabeled, to_markdown
from steering.models.model import Model

from .machine import load, processor

HERE = Path(__file__).parent
STEPS = {"organism": 100, "smollm2": 4}  # of MELBO in the table of costs; the ratio does not depend on them
COST_TOKENS = 48


def cpu() -> float:
    """Seconds of processor time that this process has used, all threads together."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cost(lm: Model, name: str) -> str:
    """A line of the cost table: 16 Jacobian vectors, and 16 of MELBO's in a batch against one after another."""
    prompts = [lm.tokens(chat(3 * SETTINGS[name].prompts[0]))[:COST_TOKENS]]
    source, target = (Site(layer, "resid_post") for layer in (SETTINGS[name].source, SETTINGS[name].target))
    began = cpu()
    found = jacobian_directions(lm, prompts, source, target, k=16, tolerance=2e-2)
    jacobian = cpu() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    norm = 10.0
    began = cpu()
    melbo(lm, prompts, source, target, n=16, norm=norm, steps=STEPS[name])
    together, began = cpu() - began, cpu()
    for seed in range(16):
        melbo(lm, prompts, source, target, n=1, norm=norm, steps=STEPS[name], seed=seed)
    alone = cpu() - began
    return (
        f"| {name} | {len(prompts[0])} | {jacobian:.1f} s ({found.seconds:.1f} s by the clock), {found.passes} passes, "
        f"errors up to {float(found.errors.max()):.3f}, peak {peak:.1f} GiB "
        f"| {together:.1f} s against {alone:.1f} s: {alone / together:.1f} times ({STEPS[name]} steps) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.discover_bench", description=__doc__)
    parser.add_argument("--models", nargs="*", default=[name for name in SETTINGS if name in bundled_models()])
    parser.add_argument("--out", type=Path, default=HERE / "DISCOVER.md")
    given = parser.parse_args()
    before, costs, tables = load(), [], []
    for name in given.models:
        lm = load_model(name)
        costs.append(cost(lm, name))
        print(costs[-1], flush=True)
        with contextlib.closing(Engine(lm)) as engine:
            result = run_unlabeled(engine)
        tables.append(to_markdown(result))
        print(tables[-1], flush=True)
    lines = [
        "# Directions without labels",
        "",
        f"`python -m benchmarks.discover_bench`, {processor()}, load {before} before it began. Costs are seconds of "
        f"processor time over all threads ({torch.get_num_threads()}), which other programs' load hardly changes.",
        "",
        "| model | prompt tokens | 16 Jacobian vectors | 16 of MELBO's vectors in one batch against one by one |",
        "| --- | --- | --- | --- |",
        *costs,
        "",
        *tables,
    ]
    given.out.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines[:9]))


if __name__ == "__main__":
    main()
