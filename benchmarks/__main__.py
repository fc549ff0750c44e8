"""`python -m benchmarks`: measures both models and writes RESULTS.md. `--quick` repeats nothing."""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from pathlib import Path

import torch

import steering  # noqa: F401  sets how waiting threads wait, before they start
from steering.checkpoints.places import default_threads

from . import models
from .machine import load
from .report import REAL_MODEL, markdown
from .sections import section, with_section
from .speed import Bench, Targets, plain_copy

MODELS = {
    "small": (models.small, Targets(bridge=9, others=5, steered=1.08, regulators=1.15, prefill=0.65, busy=2.0)),
    "gpt2": (models.gpt2_small, Targets(bridge=4, others=3, steered=1.05, regulators=1.05, prefill=0.6, busy=1.5)),
}

OTHERS = (
    "Others have commands of their own: python -m benchmarks.neighbors_bench (gaps in a stream beside a job), "
    "benchmarks.index_bench, benchmarks.pages_bench, benchmarks.experiments_bench."
)


def main() -> None:
    """Measures, prints as it goes, and writes the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=OTHERS)
    parser.add_argument("--quick", action="store_true", help="one repeat of everything, for development")
    parser.add_argument("--only", choices=MODELS, help="one of the models")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)

    before, start, found = load(), time.perf_counter(), {}
    for name, (make, targets) in MODELS.items():
        if options.only not in (None, name):
            continue
        model = make()
        threads = default_threads(model.n_parameters)
        torch.set_num_threads(threads)
        about = (
            f"{model.name}: {model.n_parameters / 1e6:.1f} M parameters, {model.n_layers} layers of width "
            f"{model.d_model}, vocabulary {model.d_vocab:,}, float32, "
            f"{threads} thread{'s' * (threads > 1)} for everyone."
        )
        print(about, flush=True)
        repeats, short = (1, 3) if options.quick else (3, 7) if name == "gpt2" else (5, 15)
        with torch.inference_mode():
            plain = plain_copy(model)
        found[model.name] = about, Bench(model, targets, repeats, short, plain).run()
    arguments = [*(["--quick"] if options.quick else []), *([f"--only {options.only}"] if options.only else [])]
    command = "make bench" + (f' ARGS="{" ".join(arguments)}"' if arguments else "")
    text = markdown(command, found, time.perf_counter() - start, (before, load()))
    kept = section(options.out.read_text(), REAL_MODEL) if options.out.is_file() else ""
    options.out.write_text(with_section(text, REAL_MODEL, kept) if kept else text)
    print(f"Wrote {options.out.name} after {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
