"""Experiments that are programs and not files: `python -m steering.evaluate refusal`, `tuning` and others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.engine import Engine
from ...features.index import FeatureIndex
from ...models.loading import load_model
from ...recipes.workbench import Workbench
from ...saes.loading import BUNDLED, bundled_saes, load_sae
from ...saes.sae import Sae

Tick = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Program:
    """An experiment that is a program: its title, the model that it runs on unless another is named, and what it does.

    Attributes:
        perform: from the model's name and a tick to the report as Markdown.
        with_texts: the same with folders of texts, for a program that takes some (`--texts`).
    """

    title: str
    model: str
    perform: Callable[[str, Tick | None], str]
    with_texts: Callable[[str, Tick | None, Sequence[Path]], str] | None = None


def _refusal(model: str, tick: Tick | None) -> str:
    from .refusal import run_refusal, to_markdown

    with contextlib.closing(Engine(load_model(model))) as engine:
        return to_markdown(run_refusal(engine, tick=tick))


BASE, SHORTCUT = "organism-base", Path("build") / "organism-shortcut"


def _tuning(model: str, tick: Tick | None) -> str:
    """Base against tuned; with the copy that `python -m steering.organism shortcut` makes, where it was made."""
    from .tuning import run_tuning, to_markdown

    base, tuned = load_model(BASE), load_model(model)
    places = [one for one in bundled_saes().get(model, []) if one.count(".") == 2][3:5]
    saes = [load_sae(tuned, model, place) for place in places]
    planted = load_model(SHORTCUT) if (SHORTCUT / "config.json").is_file() else None
    with contextlib.closing(Engine(base)) as a, contextlib.closing(Engine(tuned)) as b:
        return to_markdown(run_tuning(a, b, saes=saes, shortcut=planted, name_feature=fires_on, tick=tick))


def fires_on(sae: Sae, feature: int) -> str:
    """The tokens on which a feature of a bundled SAE fires most, with what stands before them; "" without an index."""
    try:
        found = FeatureIndex.open(BUNDLED / sae.name / "index").feature(feature)
    except ValueError:
        return ""
    shown = []
    for one in [example for band in found.bands for example in band.examples][:3]:
        before = "".join(one.tokens[max(0, one.peak - 4) : one.peak])
        shown.append(f"{before}[{one.tokens[one.peak]}]".replace("\n", " ").replace("|", "/"))
    return "; ".join(dict.fromkeys(shown))


def _unlabeled(model: str, tick: Tick | None) -> str:
    from ..unlabeled import run_unlabeled, to_markdown

    with contextlib.closing(Engine(load_model(model))) as engine:
        return to_markdown(run_unlabeled(engine, tick=tick))


def _steerability(model: str, tick: Tick | None) -> str:
    from .steerability import run_steerability, to_markdown

    with contextlib.closing(Engine(load_model(model, products="bfloat16"))) as engine:
        return to_markdown(run_steerability(Workbench(engine), tick=tick))


def _moods(model: str, tick: Tick | None, texts: Sequence[Path] = ()) -> str:
    from .mood_report import to_markdown
    from .mood_texts import emotion_texts
    from .moods import run_moods

    found = emotion_texts(texts)  # before the model is loaded: a wrong folder is said at once
    with contextlib.closing(Engine(load_model(model, products="bfloat16"))) as engine:
        return to_markdown(run_moods(engine, found, tick=tick))


PROGRAMS = {
    "refusal": Program("Refusal taken out and put in, in every form", "organism", _refusal),
    "tuning": Program("What tuning changed, and the reward that it followed", "organism", _tuning),
    "unlabeled": Program("Directions without labels: do Jacobian vectors do what MELBO's do?", "organism", _unlabeled),
    "steerability": Program("Steerability by item, dose and layer", "smollm2", _steerability),
    "moods": Program("Moods from texts about emotions: read in others, and steered to", "smollm2", _moods, _moods),
}
