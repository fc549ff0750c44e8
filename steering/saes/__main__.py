"""`python -m steering.saes train CONFIG.toml`: train dictionaries on a model's activations, or go on with it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..models.loading import load_model
from .making.plan import TrainingPlan, make


class ProgressLine:
    """A line that is rewritten: the step, how far it is, the time left and the latest measures."""

    def __init__(self) -> None:
        self._what, self._begun, self._first, self._shown = "", 0.0, 0, ""

    def __call__(self, what: str, done: int, total: int, shown: dict[str, float]) -> None:
        """Show where the work is."""
        now = time.monotonic()
        if what != self._what:
            print(file=sys.stderr)
            self._what, self._begun, self._first, self._shown = what, now, done, ""
        speed = (done - self._first) / max(now - self._begun, 1e-9)
        left = f", {(total - done) / speed / 60:.1f} min left" if total and speed > 0 else ""
        self._shown = "".join(f", {name} {value:.3g}" for name, value in shown.items()) or self._shown
        far = f" {done:,} of {total:,}" if total else (f" {done:,}" if done else "")
        print(f"\r\033[K{what}:{far}{left}{self._shown}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when dictionaries were written, 2 for a user's mistake, 130 when stopped."""
    parser = argparse.ArgumentParser(prog="python -m steering.saes", description="Train sparse autoencoders.")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train the dictionaries of a plan, or go on where it was stopped")
    train.add_argument("plan", type=Path, help="a TOML file: model, sites, texts, [recipe]")
    train.add_argument("--out", type=Path, help="folder of the results; by default the plan's name without .toml")
    train.add_argument("--device", help="cpu, cuda, mps")
    train.add_argument("--dtype", default="float32", help="the model's, for harvesting: float32 or bfloat16")
    train.add_argument("--keep-work", action="store_true", help="keep tokens, activations and checkpoints")
    options = parser.parse_args(arguments)
    torch.set_float32_matmul_precision("high")  # on a GPU: the training's products in TensorFloat-32
    try:
        plan = TrainingPlan.parse(options.plan.read_text(encoding="utf-8"))
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(options.dtype)
        if dtype is None:
            raise ValueError(f"--dtype is float32 or bfloat16; {options.dtype!r} arrived.")
        lm = load_model(plan.model, device=options.device, dtype=dtype)
        folder = options.out or options.plan.with_suffix("")
        make(plan, lm, folder, ProgressLine(), keep_work=options.keep_work)
    except (ValueError, OSError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    print(f"\n{(folder / 'measures.md').read_text(encoding='utf-8')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
