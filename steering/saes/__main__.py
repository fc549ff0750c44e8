"""`python -m steering.saes`: train dictionaries on a model's activations, or try losses where the truth is known."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..jobs.checkpoint import Checkpoint
from ..jobs.files import write_atomically
from ..models.loading import load_model
from ..models.model import Model
from ..sites import Site
from ..small_world.stream import exchanges
from .making.plan import TrainingPlan, make
from .making.tokens import text_windows
from .truth.polysemy import codes, measure_code
from .truth.report import codes_table, losses_table, mutual_table
from .truth.trial import TruthExperiment, run


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


SYNTHETIC = Path(__file__).parents[2] / "assets" / "saes" / "synthetic"  # the bundled experiment and its results
REACHED = (("l0", "L0"), ("variance", "variance"), ("dead", "dead"))
KNOWN = (("found", "true features found"), ("mmcs", "mean max cosine"), ("true", "features that are true"))


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
    truth = commands.add_parser("truth", help="try losses on data with known features, and see which are found")
    truth.add_argument("experiment", type=Path, nargs="?", default=SYNTHETIC / "experiment.toml", help="a TOML file")
    truth.add_argument("--out", type=Path, help="file of the results; by default beside the experiment")
    options = parser.parse_args(arguments)
    if options.command == "truth":
        return _truth(options.experiment, options.out)
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


def _truth(file: Path, out: Path | None) -> int:
    """The exit code of the command `truth`, which prints its tables."""
    try:
        plan = TruthExperiment.parse(file.read_text(encoding="utf-8"))
        line = ProgressLine()
        lm = load_model(plan.model) if plan.model else None
        out = out or file.with_name("results.json")
        rows = out.with_suffix(".rows.jsonl")
        found = run(
            plan,
            lambda what, done, total: line(what, done, total, {}),
            None if lm is None else _activations(lm, Site.parse(plan.site)),
            Checkpoint(rows),
        )
    except (ValueError, OSError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from the last training that was finished.", file=sys.stderr)
        return 130
    write_atomically(out, json.dumps(found).encode())
    rows.unlink(missing_ok=True)
    print("\n\n" + losses_table(found["losses"], (*REACHED, *KNOWN)))
    print("\n" + mutual_table(found["mutual"]))
    if "model" in found:
        print("\n" + losses_table(found["model"], REACHED))
    print("\n" + codes_table([(code, measure_code(code)) for code in codes()]))
    return 0


def _activations(lm: Model, site: Site, texts: int = 2_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations of the small world's texts to train on, and others to measure on, without BOS."""
    rendered = [
        lm.rendered([*one.messages(), {"role": "assistant", "content": one.tuned}], continue_final=True)
        for one in exchanges(texts)
    ]
    windows = [ids for ids, _ in text_windows(lm, rendered, 256)]
    kept = []
    for start in range(0, len(windows), 32):
        found, mask = lm.activations(windows[start : start + 32], [site])
        mask = mask & (mask.long().cumsum(-1) > 1)  # the first token stands for no text
        kept.append(found[site][mask].float())
    rows = torch.cat(kept)
    return rows[: -len(rows) // 10], rows[-len(rows) // 10 :]


if __name__ == "__main__":
    sys.exit(main())
