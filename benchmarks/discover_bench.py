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
from steering.directions.unsupervised.melbo import melbo, objective
from steering.directions.unsupervised.response import random_units
from steering.experiments.unlabeled import SETTINGS, run_unlabeled, to_markdown
from steering.models.model import Model

from .machine import load, processor

HERE = Path(__file__).parent
STEPS, ROUNDS = (
    3,
    5,
)  # of MELBO in the table of costs, which is a step; a step costs the same at the beginning and later
COST_TOKENS = 48
NORM = 10.0


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
    batch, alone, published = [], [], []
    for seed in range(ROUNDS):  # in turns, so that what else the machine does falls on all of them
        began = cpu()
        melbo(lm, prompts, source, target, n=16, norm=NORM, steps=STEPS, seed=seed)
        batch.append(cpu() - began)
        began = cpu()
        melbo(lm, prompts, source, target, n=1, norm=NORM, steps=STEPS, seed=seed)
        alone.append(cpu() - began)
        began = cpu()
        climb(lm, prompts[0], source.layer, target.layer, seed)
        published.append(cpu() - began)
    # The least of several: other programs only ever add to it.
    together, single, loop = (min(times) / (STEPS + 1) for times in (batch, alone, published))
    return (
        f"| {name} | {len(prompts[0])} | {jacobian:.1f} s ({found.seconds:.1f} s by the clock), {found.passes} passes, "
        f"errors up to {float(found.errors.max()):.3f}, peak {peak:.1f} GiB | {together:.2f} s "
        f"| {16 * single:.2f} s: {16 * single / together:.1f} times | {16 * loop:.2f} s: {16 * loop / together:.1f} "
        "times |"
    )


def climb(lm: Model, ids: list[int], source: int, target: int, seed: int) -> None:
    """Let one vector climb as the published loop does: AdamW, the whole model at every step, torch's own products."""
    theta = torch.nn.Parameter(NORM * random_units(1, lm.d_model, seed)[0])
    climber = torch.optim.AdamW([theta], lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, amsgrad=True)
    tokens = torch.tensor([ids])
    with torch.no_grad():
        plain = lm.hf(tokens, output_hidden_states=True).hidden_states[target + 1]
    handle = lm.blocks[source].register_forward_hook(
        lambda module, args, output: output + theta if isinstance(output, torch.Tensor)
        else (output[0] + theta, *output[1:])
    )  # fmt: skip
    try:
        for _ in range(STEPS + 1):
            with torch.enable_grad():
                moved = lm.hf(tokens, output_hidden_states=True).hidden_states[target + 1]
                loss = -objective([moved], [plain], 2.0, 2.0).sum()
                (theta.grad,) = torch.autograd.grad(loss, theta)
            with torch.no_grad():
                theta.grad -= (theta.grad @ theta) * theta / NORM**2
                climber.step()
                theta.mul_(NORM / theta.norm())
    finally:
        handle.remove()


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
        f"processor time over all threads ({torch.get_num_threads()}). MELBO's are those of one step of 16 vectors, "
        f"the least of {ROUNDS}, taken in turns; one after another is 16 times the step of one vector; the published "
        "loop runs the whole model for one vector, with torch's own products.",
        "",
        "| model | prompt tokens | 16 Jacobian vectors | a step of 16 of MELBO's vectors in one batch "
        "| one after another | as published |",
        "| --- | --- | --- | --- | --- | --- |",
        *costs,
        "",
        *tables,
    ]
    given.out.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines[:9]))


if __name__ == "__main__":
    main()
