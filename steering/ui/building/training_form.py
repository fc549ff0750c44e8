"""Build / Dictionaries: what to train, as chosen: layers, text, architectures, size; and how long it will take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...checkpoints.bundled import trained_here
from ..explore.indexing import json_texts, split
from ..explore.texts import bundled_texts
from ..shared.job_cards import duration
from ..shared.readings import value
from ..widgets.basics import literal, option

if TYPE_CHECKING:
    from ...models.model import Model
    from ...recipes.workbench import Workbench
    from ...saes.making.cost import TrainingCost
    from ...saes.making.plan import TrainingPlan
    from ...saes.making.recipe import SaeRecipe

SOURCES = {
    "bundled": "What comes with Tiller",
    "paste": "Paste",
    "upload": "Upload",
    "place": "File, folder or data set",
}
KINDS = {
    "batchtopk": "BatchTopK: the strongest features of a batch",
    "topk": "TopK: the strongest features of each token",
    "matryoshka": "Matryoshka: BatchTopK whose first features stay general",
    "gated": "Gated: which features fire and how strongly are learnt apart",
    "standard": "L1: a penalty on the sum of the features",
    "lp": "Lp, p = 0.5: a penalty that shrinks large features less",
    "jumprelu": "JumpReLU: a penalty on the number of features",
}
HUB_TEXTS = 20_000
CONTEXT = 256
MEASURED = 20_000  # tokens
START = 0.5  # of a penalty's weight, before it follows the number of features that fire


@dataclass(frozen=True)
class TrainingChoice:
    """What the visitor chose: the plan without its texts, and where the texts come from."""

    name: str
    plan: TrainingPlan
    texts: tuple[str, ...]  # () where they are read from a place
    tokens: int  # about how many


def choose(bench: Workbench, taken: Iterable[str]) -> TrainingChoice | None:
    """The choice after drawing the form; None while there is no text.

    Args:
        taken: names of trainings that exist.
    """
    from ...saes.making.plan import TrainingPlan
    from ...saes.making.recipe import SaeRecipe
    from ...sites import Site

    lm = bench.lm
    small = trained_here(lm.name)
    layers = st.multiselect(
        "After layer", list(range(lm.n_layers)), [lm.n_layers // 2], key="dictionaries_layers",
        help="A dictionary is trained on the residual stream after each of these layers.",
    )  # fmt: skip
    texts, place, tokens = _texts(lm)
    kinds = st.multiselect(
        "Kinds", list(KINDS), ["batchtopk", "gated"] if small else ["batchtopk"], key="dictionaries_kinds",
        format_func=lambda kind: KINDS[kind].partition(":")[0],
        help="\n\n".join(f"- {line}" for line in KINDS.values()),
    )  # fmt: skip
    left, right = st.columns(2, gap="small")
    widths = [128, 256, 512, 1024, 2048, 4096, 8192]
    width = left.selectbox("Features", widths, widths.index(512 if small else 1024), key="dictionaries_width")
    k = right.number_input(
        "Fire on a token", 1, int(width), min(16 if small else 32, int(width)), key="dictionaries_k",
        help="About so many features are active on a token (L0). A penalty's weight moves until as many fire.",
    )  # fmt: skip
    samples = st.select_slider(
        "Samples", [50_000, 100_000, 200_000, 400_000, 1_000_000, 2_000_000, 5_000_000, 20_000_000],
        200_000 if small else 400_000, format_func=lambda n: f"{n:,}", key="dictionaries_samples",
        help="Activations seen in training; those of a short text are seen several times.",
    )  # fmt: skip
    seeds = 1
    with st.expander("More", key="dictionaries_more"):
        seeds = int(st.number_input(
            "Seeds", 1, 4, 1, key="dictionaries_seeds",
            help="Dictionaries that differ in nothing but their random beginning: features found by all are stable.",
        ))  # fmt: skip
        mutual = st.toggle(
            "Let the seeds agree (mutual feature regularization)", key="dictionaries_mutual", disabled=seeds < 2,
            help="Adds a loss for matched features that differ (Marks et al. 2024).",
        )  # fmt: skip
        rate = st.number_input("Learning rate", 1e-5, 1e-1, 1e-3, 1e-4, format="%.4f", key="dictionaries_rate")
    name = _name(lm, layers, set(taken))
    if not layers or not kinds or not (texts or place):
        st.caption("Choose at least one layer, one kind and a text.")
        return None
    base = SaeRecipe(
        d_sae=int(width), k=int(k), samples=int(samples), batch=batch_of(tokens, small), learning_rate=float(rate),
        group=seeds, mutual=0.1 if mutual and seeds > 1 else 0.0,
    )  # fmt: skip
    plan = TrainingPlan(
        lm.name, tuple(str(Site(layer, "resid_post")) for layer in sorted(layers)), base,
        variants={kind: changes(kind, int(k)) for kind in kinds}, texts=(place,) if place else ("texts.jsonl",),
        context=min(CONTEXT, lm.n_ctx - 1), limit=HUB_TEXTS, measure_tokens=MEASURED, batch_tokens=4096, buffer_gb=2.0,
    )  # fmt: skip
    return TrainingChoice(name, plan, texts, tokens)


def batch_of(tokens: int, small: bool) -> int:
    """Activations of a step: fewer where the text has few."""
    most = 1024 if small else 2048
    return max(32, min(most, 1 << max(0, tokens // 8).bit_length()))


def changes(kind: str, k: int) -> dict[str, Any]:
    """What a kind of dictionary differs in from the form's recipe, so that about `k` features fire on a token."""
    if kind in ("batchtopk", "topk", "matryoshka"):
        return {"architecture": kind}
    p = {"p": 0.5} if kind == "lp" else {}
    return {"architecture": "standard" if kind == "lp" else kind, "aim": float(k), "sparsity": START, **p}


def _name(lm: Model, layers: list[int], taken: set[str]) -> str:
    """The name of the training as typed, by default one that is not taken."""
    stem = f"{option(lm.name.rsplit('/', 1)[-1], 30)} layer {' '.join(map(str, sorted(layers)))}".strip()
    number = next(n for n in range(1, 1000) if slug(f"{stem} {n}") not in taken)
    typed = st.text_input("Name", f"{stem} {number}", key=f"dictionaries_name_{stem}_{number}", max_chars=60)
    return slug(typed or f"{stem} {number}")


def slug(name: str) -> str:
    """A name as a folder is called."""
    return re.sub(r"[^\w-]+", "-", name.strip()).strip("-").lower() or "training"


# Text ---------------------------------------------------------------------------------------------------------------


def _texts(lm: Model) -> tuple[tuple[str, ...], str, int]:
    """The texts, or the place that they are read from, and about how many tokens that is."""
    source = st.segmented_control(
        "Text", list(SOURCES), default="bundled", format_func=SOURCES.__getitem__, key="dictionaries_source",
        required=True, wrap=True,
    )  # fmt: skip
    if source == "place":
        place = (st.text_input(
            "File, folder or data set", key="dictionaries_place", placeholder="~/texts or hub:owner/name:column",
        ) or "").strip()  # fmt: skip
        tokens = int(st.number_input(
            "Tokens in it, about", 10_000, 10**9, 1_000_000, key="dictionaries_tokens", help="For the time it takes.",
        ))  # fmt: skip
        st.caption("Read in a stream: memory and disk stay bounded, however long it is.")
        return (), place, tokens
    found: list[str] = []
    if source == "bundled":
        found = bundled_texts(lm)
    elif source == "paste":
        found = split(st.text_area("Texts, blank lines between", key="dictionaries_paste", height=140) or "")
    else:
        file = st.file_uploader("A .txt (blank lines between texts) or .jsonl (a text field)", ["txt", "jsonl"])
        found = _uploaded(file) if file is not None else []
    tokens = about_tokens(lm, found)
    if found:
        note = "" if tokens > 100_000 or trained_here(lm.name) else " Few: examples, not a dictionary to rely on."
        st.caption(f"{len(found):,} texts, about {tokens:,} tokens.{note}")
    return tuple(found), "", tokens


def _uploaded(file: Any) -> list[str]:
    from ...jobs.reading import decoded

    try:
        content = decoded(file.getvalue(), file.name)
        return json_texts(content, file.name) if file.name.lower().endswith(".jsonl") else split(content)
    except ValueError as error:
        st.error(literal(str(error), 400))
        return []


def about_tokens(lm: Model, texts: list[str]) -> int:
    """About how many tokens texts have, from the first fifty of them."""
    few = texts[:50]
    if not few:
        return 0
    letters = sum(map(len, few)) or 1
    ids = sum(len(lm.tokenizer.encode(text, add_special_tokens=False)) for text in few)
    return round(ids / letters * sum(map(len, texts)))


def lines_of(texts: Iterable[str]) -> bytes:
    """Texts as the file that a plan reads."""
    return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()


# Time ---------------------------------------------------------------------------------------------------------------


def cost_of(bench: Workbench, plan: TrainingPlan, tokens: int) -> TrainingCost | None:
    """What a plan costs on this machine, timed once for the shape of its work; None while that is being timed."""
    from ...saes.making.cost import cost
    from ...saes.making.plan import HELD_OUT
    from ...sites import Site

    lm = bench.lm
    measured = min(plan.measure_tokens, max(1, tokens // HELD_OUT))  # what a short text holds out is less
    sites = [Site.parse(site) for site in plan.sites]
    # How much of it there is does not change what a sample costs.
    recipes = {name: _shape(recipe) for name, recipe in plan.recipes.items()}
    trial = value(
        bench, ("training cost", plan.sites, tuple(recipes.items()), measured),
        lambda: cost(lm, sites, recipes, 1_000_000, measured=measured), "Timing a few steps",
    )  # fmt: skip
    if trial is None:
        return None
    return replace(
        trial, tokens=tokens, harvest=trial.harvest * tokens / trial.tokens,
        training={name: seconds * plan.recipe.samples / _SHAPE for name, seconds in trial.training.items()},
    )  # fmt: skip


def quick_cost(bench: Workbench) -> TrainingCost | None:
    """What the form's small example costs for the visitor's model; None while that is being timed."""
    from ...saes.making.plan import TrainingPlan
    from ...saes.making.recipe import SaeRecipe
    from ...sites import Site

    lm = bench.lm
    recipe = SaeRecipe(d_sae=1024, k=32, samples=400_000, batch=2048)
    site = str(Site(lm.n_layers // 2, "resid_post"))
    plan = TrainingPlan(lm.name, (site,), recipe, texts=("texts",), measure_tokens=MEASURED)
    return cost_of(bench, plan, about_tokens(lm, bundled_texts(lm)))


def time_of(bench: Workbench, choice: TrainingChoice) -> TrainingCost | None:
    """What the training will cost, after saying it; None if it is not known yet."""
    plan = choice.plan
    whole = cost_of(bench, plan, choice.tokens)
    if whole is None:
        return None
    passes = plan.recipe.samples / max(choice.tokens, 1)
    st.caption(literal(
        f"About {duration(whole.seconds)} on this machine: {duration(whole.harvest)} to read the text, "
        f"{duration(sum(whole.training.values()))} to train, {duration(whole.measuring)} to measure. "
        f"Each token is seen about {passes:.1f} times.", 300,
    ))  # fmt: skip
    return whole


_SHAPE = 1_048_576  # samples of the timed shape


def _shape(recipe: SaeRecipe) -> SaeRecipe:
    return replace(recipe, samples=_SHAPE)
