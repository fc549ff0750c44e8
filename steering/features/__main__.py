"""`python -m steering.features`: make feature indexes, those of a training plan, and names, without the dashboard."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ..models.loading import load_model
from ..saes.loading import load_sae
from ..saes.making.plan import TrainingPlan
from ..saes.texts import texts_of
from .index import FeatureIndex
from .making.build import build
from .making.passes import IndexSettings
from .making.planned import held_out_texts
from .names import GivenName, write_names
from .naming import make_names


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when an index was written, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m steering.features", description="Feature indexes of SAEs.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="build an index, or continue one that was stopped")
    make.add_argument("--model", required=True, help="bundled name, local folder or hub id")
    make.add_argument("--release", required=True, help="bundled name, SAE folder or SAELens release")
    make.add_argument("--sae", help="id of the SAE in its release")
    make.add_argument("--texts", required=True, help=".txt or .jsonl file, a folder, or hub:owner/data-set:column")
    make.add_argument("--limit", type=int, help="texts of a hub data set")
    make.add_argument("--out", required=True, type=Path, help="folder of the index")
    make.add_argument("--device", help="cpu, cuda, mps")
    make.add_argument("--context", type=int, default=IndexSettings.context, help="tokens in a window")
    make.add_argument("--examples", type=int, default=IndexSettings.examples, help="strongest examples per feature")
    make.add_argument("--restart", action="store_true", help="forget an unfinished index in the folder")
    planned = commands.add_parser("plan", help="build and name the indexes of what `steering.saes train` made")
    planned.add_argument("plan", type=Path, help="the TOML file of the training")
    planned.add_argument("--dictionaries", type=Path, help="folder of the dictionaries; by default the plan's")
    planned.add_argument("--texts", type=int, default=240, help="held-out texts, evenly from the whole")
    planned.add_argument("--chats", type=int, default=60, help="held-out prompts with the model's own answers")
    planned.add_argument("--context", type=int, default=IndexSettings.context, help="tokens in a window")
    planned.add_argument("--device", help="cpu, cuda, mps")
    naming = commands.add_parser("name", help="name every feature of an index after its strongest examples")
    naming.add_argument("index", type=Path, nargs="+", help="folders of indexes")
    giving = commands.add_parser("give", help="give a feature a name, after seeing what it does")
    giving.add_argument("index", type=Path, help="folder of the index")
    giving.add_argument("feature", type=int)
    giving.add_argument("name")
    giving.add_argument("--prompt", default="", help="with which it was clamped")
    giving.add_argument("--value", type=float, default=0.0, help="to which it was clamped")
    giving.add_argument("--seen", default="", help="what the model then wrote")
    options = parser.parse_args(arguments)
    try:
        if options.command == "give":
            return _give(options)
        if options.command == "name":
            return _name(options.index)
        if options.command == "plan":
            return _plan(options)
        lm = load_model(options.model, device=options.device)
        sae = load_sae(lm, options.release, options.sae)
        settings = IndexSettings(context=options.context, examples=options.examples)
        build(
            lm,
            sae,
            texts_of(options.texts, limit=options.limit),
            options.out,
            _progress,
            settings=settings,
            restart=options.restart,
        )
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    index = FeatureIndex.open(options.out)
    size = sum(file.stat().st_size for file in options.out.iterdir() if file.is_file())
    alive = int((index.density > 0).sum())
    counts = f"{index.about['tokens']} tokens, {alive} of {index.n_features} features fired, {size} bytes"
    print(f"\r{options.out}: {counts}")
    return 0


def _give(options: argparse.Namespace) -> int:
    index = FeatureIndex.open(options.index)
    if not 0 <= options.feature < index.n_features:
        raise ValueError(f"Features of this index run from 0 to {index.n_features - 1}; got {options.feature}.")
    given = GivenName(options.name, options.prompt, options.value, options.seen)
    write_names(options.index, index.made, {**index.given, options.feature: given})
    return 0


def _name(folders: Sequence[Path]) -> int:
    for folder in folders:
        index = FeatureIndex.open(folder)
        made = make_names(index, _progress)
        write_names(folder, made)
        print(f"\r{folder}: {len(made)} of {index.n_features} features have a name")
    return 0


def _plan(options: argparse.Namespace) -> int:
    plan = TrainingPlan.parse(options.plan.read_text(encoding="utf-8"))
    folder = options.dictionaries or options.plan.with_suffix("")
    places = sorted(path.parent for path in folder.glob("*/cfg.json"))
    if not places:
        raise ValueError(
            f"Indexes are built of the dictionaries that a plan made; there is none in {str(folder)!r}. "
            "Train them first (python -m steering.saes train), or name their folder with --dictionaries."
        )
    lm = load_model(plan.model, device=options.device)
    work = folder / "held-out"
    texts = held_out_texts(plan, lm, work, options.texts, options.chats, _progress)
    for place in places:
        sae = load_sae(lm, place)
        build(lm, sae, texts, place / "index", _progress, settings=IndexSettings(context=options.context))
        _name([place / "index"])
    shutil.rmtree(work, ignore_errors=True)
    return 0


def _progress(done: int, total: int) -> None:
    print(f"\r{done} of {total}" if total else f"\r{done} texts", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
