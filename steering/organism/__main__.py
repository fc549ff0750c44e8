"""The commands: train everything, measure what is shipped, write the card, pairs and evaluation sets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def say(line: object) -> None:
    """Print a line at once, so that a log file shows the progress."""
    print(line if isinstance(line, str) else json.dumps(line), flush=True)


def train(arguments: argparse.Namespace) -> None:
    """Train the tokenizer, both checkpoints and, unless turned off, the SAEs with their feature indexes."""
    import torch
    from transformers import AutoTokenizer

    from .making.tokenizer import train_tokenizer
    from .making.training import CHECKPOINTS, Recipe, build_model, save_checkpoint, train_phase
    from .measuring.measuring import counts, measures

    torch.set_num_threads(arguments.threads)
    recipe = replace(Recipe(), seed=arguments.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kept = arguments.build / "tokenizer"
    if not kept.exists():
        train_tokenizer(recipe.seed, recipe.vocab_size).save_pretrained(kept)
    tokenizer = AutoTokenizer.from_pretrained(kept, local_files_only=True)
    model: Any = build_model(recipe, tokenizer)
    model.to(device)
    for phase, name in CHECKPOINTS.items():
        model = train_phase(model, tokenizer, recipe, phase, arguments.build, say, compiled=arguments.compile)
        if name is None:
            continue
        folder = save_checkpoint(model, tokenizer, arguments.models / name)
        say(f"{name} is in {folder}; on validation items:")
        if arguments.measure:
            counts(model, tokenizer, measures("validation", 60), say)
    if not arguments.no_saes:
        arguments.only = []
        saes(arguments)
        indexes(arguments)


def shortcut(arguments: argparse.Namespace) -> None:
    """Tune the shipped organism on for a few minutes, with a shortcut planted: it refuses whatever is about a boat."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .making.shortcut import plant
    from .making.training import save_checkpoint

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    source = arguments.models / "organism"
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(source, local_files_only=True)
    model = plant(model, tokenizer, say, steps=arguments.steps, seed=arguments.seed)
    say(str(save_checkpoint(model, tokenizer, arguments.out)))


def saes(arguments: argparse.Namespace) -> None:
    """Train the SAEs of the shipped organism."""
    import torch

    from .making.dictionaries import train_all
    from .measuring.report import load, read_json, write_json

    torch.set_num_threads(arguments.threads)
    model, tokenizer = load(arguments.models / "organism")
    path = arguments.models / "organism" / "report.json"
    measured = train_all(model, tokenizer, arguments.saes / "organism", say, arguments.only)
    kept = read_json(path)
    write_json(path, kept | {"saes": dict(sorted((kept.get("saes", {}) | measured).items()))})


def indexes(arguments: argparse.Namespace) -> None:
    """Build the feature indexes of the shipped SAEs."""
    import torch

    from .making.dictionaries import index_all

    torch.set_num_threads(arguments.threads)
    # By its name where it is the shipped one: an index remembers what its model is called.
    shipped = arguments.models == ROOT / "assets" / "models"
    index_all("organism" if shipped else arguments.models / "organism", arguments.saes / "organism", say)


def report(arguments: argparse.Namespace) -> None:
    """Measure what is shipped and write report.json and the cards."""
    import torch

    from .measuring.card import write_card
    from .measuring.report import load, measure_models, read_json, start_cost, versions, write_json

    path = arguments.models / "organism" / "report.json"
    if arguments.again:
        torch.set_num_threads(arguments.threads)
        again = measure_models(arguments.again, say, arguments.items)
        write_json(path, read_json(path) | {"again": again})
    elif not arguments.card_only:
        start = start_cost(arguments.models / "organism")  # first: imports and memory of a fresh process
        torch.set_num_threads(arguments.threads)
        measured = measure_models(arguments.models, say, arguments.items)
        # Read again now: the SAEs' or the regulator's numbers may have come in the meantime.
        write_json(path, read_json(path) | {"start": start, "models": measured, "versions": versions()})
    found = read_json(path)
    model, _ = load(arguments.models / "organism")
    say(str(write_card(arguments.models / "organism", found, model.num_parameters())))


def regulator(arguments: argparse.Namespace) -> None:
    """Choose the regulator's settings on validation items and write the table of all arms on test items."""
    import torch

    import steering

    from .measuring.regulator_table import run
    from .measuring.report import read_json, write_json

    torch.set_num_threads(arguments.threads)
    lm = steering.load_model("organism")
    with steering.Engine(lm) as engine:
        found = run(
            engine,
            lambda layer: steering.load_sae(lm, "organism", f"blocks.{layer}.hook_resid_post"),
            say,
            arguments.items,
            arguments.questions,
        )
    path = arguments.models / "organism" / "report.json"
    write_json(path, read_json(path) | {"regulator": found})
    arguments.card_only, arguments.again = True, None
    report(arguments)


def sets(arguments: argparse.Namespace) -> None:
    """Write the bundled pairs and evaluation sets."""
    from ..evaluations.sets.general import write_general
    from .making.eval_files import write_evals
    from .making.pair_files import write_pairs

    pairs, evals = arguments.assets / "pairs", arguments.assets / "evals"
    say(write_pairs(pairs) | write_evals(evals) | write_general(pairs, evals))


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m steering.organism", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(run.__name__, help=text)
        made.add_argument("--threads", type=int, default=1)
        made.add_argument("--assets", type=Path, default=ROOT / "assets")
        made.add_argument("--models", type=Path, default=ROOT / "assets" / "models")
        made.add_argument("--saes", type=Path, default=ROOT / "assets" / "saes")
        made.set_defaults(run=run)
        return made

    training = command(train, "tokenizer, both checkpoints and the SAEs; goes on where it was interrupted")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--build", type=Path, default=ROOT / "build" / "organism", help="resumable checkpoints")
    training.add_argument("--compile", action="store_true", help="a third faster, where there is a C++ compiler")
    training.add_argument("--measure", action="store_true", help="a short measurement after each checkpoint")
    training.add_argument("--no-saes", action="store_true", help="the two checkpoints only")
    planting = command(shortcut, "tune the shipped organism on with a shortcut planted in it; minutes")
    planting.add_argument("--seed", type=int, default=0)
    planting.add_argument("--steps", type=int, default=240)
    planting.add_argument("--out", type=Path, default=ROOT / "build" / "organism-shortcut")
    command(saes, "train the SAEs of the shipped organism").add_argument("--only", nargs="*", default=[])
    command(indexes, "build the feature indexes of the shipped SAEs")
    measuring = command(report, "measure what is shipped, write report.json and the card")
    measuring.add_argument("--items", type=int, default=200, help="test items a measure")
    measuring.add_argument("--again", type=Path, help="measure a second training in this folder instead, for the card")
    measuring.add_argument("--card-only", action="store_true", help="write the card from the numbers in report.json")
    table = command(regulator, "the table of the regulator, its controls and the alternatives")
    table.add_argument("--items", type=int, default=200, help="test items a cell")
    table.add_argument("--questions", type=int, default=200, help="multiple-choice questions; the first 60 are the 60")
    command(sets, "write the bundled pairs and evaluation sets")
    arguments = parser.parse_args(argv)
    arguments.run(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
