"""Build / Direction, the evidence: do the pairs agree, what separates, what it says, which method, which layer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from ...checkpoints.bundled import trained_here
from ...plots import charts as plots
from ...plots import matrices
from ...plots.base import percent
from ...recipes.sources import CONTRASTS
from ...showing.visible import visible
from ..explore import browsing as explore
from ..measure import seen
from ..shared import job_cards, readings
from ..shared import objects as services
from ..shared.indexes import maybe_index
from ..widgets import theme
from ..widgets.basics import chart, literal
from ..widgets.threshold import threshold
from . import strength_panel
from .direction import PairStudy, doubled
from .pair_table import drop

if TYPE_CHECKING:
    from ...directions.pairs import PairSet, PromptPair
    from ...jobs.jobs import Job
    from ...measurements.layers import LayerEffect
    from ...recipes.workbench import Workbench

VIEWS = ("Agreement", "Separation", "What it says", "Methods and layers", "Layer by effect", "Layer and strength")
SHOWN_PAIRS = 60
TESTED_PAIRS = 24


def headline(found: PairStudy) -> None:
    """Draw the numbers that say whether the direction is worth generating with."""
    from ...statistics import wilson

    held, agree = found.judged.held_out, found.judged.agreement
    right = wilson(int(held.right.sum()), len(held.right))
    with st.container(horizontal=True, gap="medium"):
        st.metric(
            "Left-out pairs right", percent(right.value), width="content",
            help=f"95% interval {percent(right.low)} to {percent(right.high)}: pairs whose positive side "
            "lies above the negative one, on a direction made without them.",
        )  # fmt: skip
        st.metric(
            "Held-out AUROC", f"{held.auroc:.2f}", width="content",
            help="Any positive side above any negative one: 0.5 is chance.",
        )  # fmt: skip
        st.metric(
            "Mean cosine", f"{agree.mean_cosine:+.2f}", width="content",
            help="Between the differences of two pairs; 0: nothing in common.",
        )  # fmt: skip
        st.metric(
            "Cone", f"{np.quantile(agree.cone, 0.95):.0f}°", width="content",
            help="95% of the directions of resampled pairs lie within this angle. Random directions are 90° apart.",
        )  # fmt: skip


def warn(bench: Workbench, pairs: PairSet) -> None:
    """Draws which evaluation sets have items that occur in the pairs; no text is read by the model for it."""
    seen.draw(seen.of_pairs(bench, pairs))


def show(found: PairStudy) -> None:
    """Draw the chosen panel."""
    view = st.segmented_control(
        "Evidence", VIEWS, default=VIEWS[0], key="direction_view", required=True, bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    panels = {
        "Agreement": _agreement,
        "Separation": _separation,
        "What it says": _says,
        "Methods and layers": _methods,
        "Layer by effect": _effects,
        "Layer and strength": strength_panel.show,
    }
    panels[str(view)](found)


# Agreement ----------------------------------------------------------------------------------------------------------


def _agreement(found: PairStudy) -> None:
    agree = found.judged.agreement
    order = found.judged.order[:SHOWN_PAIRS]
    n = len(order)
    left, right = st.columns(2, gap="medium")
    named = labels(found.pairs.pairs, 24)
    names = [f"{i + 1} {named[int(i)]}" for i in order]
    numbers = [str(i + 1) for i in order]
    with left:
        figure = matrices.heatmap(
            agree.cosines[np.ix_(order, order)].tolist(), names, numbers, theme.palette(), height=420, numbers=n <= 10
        )
        if n > 16:  # names would cover each other; they are in the tooltips
            figure.update_xaxes(showticklabels=False, title_text="pairs, like beside like")
            figure.update_yaxes(showticklabels=False, title_text="pairs")
        chart(
            figure,
            title="Do the pairs point the same way?",
            caption="Cosine between the differences (positive minus negative) of any two pairs. Blocks are groups with "
            "a direction of their own; a pale row is a pair that shares little."
            + (f" {n} of {len(found.pairs)} pairs are shown." if n < len(found.pairs) else ""),
            key="direction_cosines",
        )
    with right:
        least = np.argsort(agree.others)[:14]
        figure = plots.bars(
            [f"{i + 1} {named[int(i)]}" for i in least],
            agree.others[least].tolist(),
            theme.palette(),
            x="cosine with the mean of all other pairs",
            height=420,
        )
        chart(
            figure,
            title="The pairs that agree least",
            caption="Each pair's difference against the mean of the others. Below zero it pulls the other way.",
            key="direction_others",
        )
    _outliers(found, agree.outliers)


def labels(pairs: Sequence[PromptPair], width: int) -> list[str]:
    """What tells the pairs apart, in so many characters each: the beginning or the end of a text of theirs."""

    def head(text: str) -> str:
        return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"

    def tail(text: str) -> str:
        return text if len(text) <= width else f"…{text[1 - width :].lstrip()}"

    fields = ("positive_prompt", "positive", "prompt")
    found = [[cut(" ".join(getattr(pair, name).split())) for pair in pairs] for name in fields for cut in (head, tail)]
    return max(found, key=lambda texts: len(set(texts)))  # the first of equals


def _outliers(found: PairStudy, outliers: list[int]) -> None:
    if not outliers:
        st.caption("No pair stands out from the others.")
        return
    with st.container(border=True):
        st.markdown(f"**{len(outliers)} of {len(found.pairs)} pairs stand out from the others**")
        for number in outliers[:5]:
            pair = found.pairs[number]
            sides = [f"{prompt} {completion}".strip() for prompt, completion in pair.sides]
            if not (pair.positive_prompt or pair.negative_prompt):
                sides[1] = pair.negative  # the prompt is the same
            st.text(f"{number + 1}. {' | '.join(sides)}"[:360])
        if len(found.pairs) - len(outliers) >= 2:
            st.button("Drop them", key="direction_drop", on_click=drop, args=(outliers,))
        st.caption("Look before you drop: an odd pair may be the one that shows what the others leave out.")


# Separation ---------------------------------------------------------------------------------------------------------


def _separation(found: PairStudy) -> None:
    neutral = found.neutral()
    if neutral is None:
        return
    positive, negative = found.sides
    unit = (found.direction.vector / found.direction.norm).double().numpy()
    groups = {
        "positive pairs": (positive @ unit).tolist(),
        "negative pairs": (negative @ unit).tolist(),
        "neutral text": neutral,
    }
    colors = theme.palette()
    tau = threshold(
        groups,
        colors={"positive pairs": colors.series[0], "negative pairs": colors.negative, "neutral text": colors.muted},
        key=f"direction_tau_{found.direction.fingerprint}",
        title="Where the two classes and neutral text lie along the direction",
    )
    st.caption(
        f"Projections in the direction's own units; the line is a threshold (tau {tau:.3g}) and can be moved. The "
        "direction has seen these pairs, so the rates are a little too good; the held-out numbers above are not. "
        "Neutral text beside both classes means that ablation to zero moves it too."
    )


# What it says -------------------------------------------------------------------------------------------------------


def _says(found: PairStudy) -> None:
    from ...features import promoted_tokens

    vector = found.direction.decoded()[None]
    columns = st.columns(2, gap="medium")
    for column, title, suppressed in zip(
        columns, ("Makes more likely", "Makes less likely"), (False, True), strict=True
    ):
        ids, values = promoted_tokens(found.lm, vector / vector.norm(), 12, suppressed=suppressed)
        names = [f"“{visible(text)}”" for text in found.lm.token_texts(ids[0].tolist())]
        with column:
            figure = plots.bars(names, values[0].tolist(), theme.palette(), x="change of the logit")
            chart(figure, title=title, key=f"direction_tokens_{int(suppressed)}")
    st.caption(
        "Logit lens: the unit direction through the final norm's gain and the unembedding, without later layers."
    )
    _features(found)


def _features(found: PairStudy) -> None:
    sae = found.choice.sae or found.bench.sae
    if sae is None:
        st.caption("Load an SAE in the sidebar to see which features the direction is made of.")
        return
    if found.direction.sae is not None:
        values, score = found.direction.unit().vector.numpy(), "Share"
        note = "Share: the feature's entry in the unit direction."
    else:
        rows = sae.written
        values = (
            ((rows @ found.direction.unit().vector.to(rows.device)) / rows.norm(dim=-1).clamp_min(1e-9)).cpu().numpy()
        )
        score, note = "Cosine", "Cosine of the direction with what the feature writes."
        if sae.site != found.choice.site:
            note += f" The SAE is at {sae.site}, the direction at {found.choice.site}: read with care."
    st.markdown("**Its strongest features**")
    index = maybe_index(found.lm, sae)
    order = np.argsort(-np.abs(values))[:10]
    if index is None:
        st.dataframe([{"#": int(i), score: float(values[i])} for i in order], hide_index=True)
    else:
        keys = np.full(len(values), -np.inf)
        keys[order] = np.abs(values[order])
        found_rows, _ = index.search(sort=keys, limit=len(order), dead=True)
        shown = [explore.with_score(row, float(values[row.index])) for row in found_rows]
        explore.table(shown, key="direction_features", score=score, opens=True)
    st.caption(note + " Click a row to open the feature." if index else note)


# Methods and layers -------------------------------------------------------------------------------------------------


def _methods(found: PairStudy) -> None:
    from ...directions.agreement import cosines, estimators

    left, right = st.columns(2, gap="medium")
    with left:
        made = found.contrasts()
        if made is None:
            return
        names = [CONTRASTS[name] for name in made]
        figure = matrices.heatmap(
            cosines(np.stack(list(made.values()))).tolist(), names, names, theme.palette(), height=340
        )
        chart(
            figure,
            title="Do the methods find the same direction?",
            caption="Cosine between the contrasts at the chosen site. A probe may separate well and still point "
            "elsewhere: it uses whatever tells the classes apart.",
            key="direction_methods",
        )
    with right:
        if len(found.all) == 1:
            st.caption("In feature space there is one site, the SAE's. Choose the residual stream to compare layers.")
            return
        vectors = np.stack([estimators.mean_difference(*doubled(pair)) for pair in found.all.values()])
        layers = [str(site.layer) for site in found.all]
        figure = matrices.heatmap(
            cosines(vectors).tolist(), layers, layers, theme.palette(), height=340, x="layer", y="layer"
        )
        chart(
            figure,
            title="Is it the same direction in every layer?",
            caption="Cosine between the layers' mean differences. Where it changes, a direction from one layer does "
            "not fit another.",
            key="direction_layers",
        )
    _auroc(found)


def _auroc(found: PairStudy) -> None:
    xs = [float(site.layer) for site in found.all]
    by_layer = found.by_layer()
    if by_layer is None:
        return
    series = {CONTRASTS[name]: values for name, values in by_layer.items()}
    figure = plots.lines(xs, series, theme.palette(), x="layer", y="held-out AUROC", height=260)
    figure.add_hline(y=0.5, line={"color": theme.palette().baseline, "dash": "dot", "width": 1})
    figure.update_xaxes(tickmode="array", tickvals=xs)
    chart(
        figure,
        title="Which layer separates the classes?",
        caption="Held-out: pairs are judged by a direction made without them. Dotted: chance. Separation is not "
        "causation; look at the effect too.",
        key="direction_auroc",
    )


# Layer by effect ----------------------------------------------------------------------------------------------------


def _effects(found: PairStudy) -> None:
    if found.choice.sae is not None:
        st.caption("Layers are compared in the residual stream. Choose it as the space.")
        return
    units = st.slider(
        "Strength, in units of the layer's typical norm", 0.1, 1.0, 0.4 if trained_here(found.lm.name) else 0.1, 0.1,
        key="direction_units", width=340,
    )  # fmt: skip
    name = _job_name(found, units)
    job = next((job for job in services.jobs().all() if job.name == name), None)
    if job is not None and job.active:
        job_cards.progress(job, "Each layer is steered with its own direction and with random ones.")
        return
    if job is not None and job.error is not None:
        st.error(literal(f"The measurement stopped: {job.error}", 400))
    if job is not None and job.state == "done":
        _effect_chart(found, job.value, units)
        return
    st.caption(
        "A layer at which two classes separate need not be one at which the model uses what separates them. This adds "
        "the direction of half of the pairs at each layer and asks the model for the other half: does the positive "
        "answer become more likely against the negative one, and more so than by random directions of equal norm?"
    )
    scored = len(found.all) * 4 * 2 * min(TESTED_PAIRS, len(found.pairs) // 2)
    if st.button("Measure the effect of every layer", type="primary", key="direction_effects"):
        _start(found, name, units)
    length = sum(len(text) for pair in found.pairs.pairs[:TESTED_PAIRS] for side in pair.sides for text in side)
    each = 30 + length / (8 * min(TESTED_PAIRS, len(found.pairs)))  # tokens of a side, with a template's own
    if (times := readings.about(found.bench, scored * each)) is not None:
        st.caption(f"{len(found.all)} layers, {scored:,} answers to score: about {times[0]} here.")


def _job_name(found: PairStudy, units: float) -> str:
    parts = (found.lm.fingerprint, *found.key(), found.choice.contrast, units)
    pairs = (found.pairs.name or "own pairs").removeprefix("general_").replace("_", " ")
    return f"Effect by layer of {pairs} {hashlib.sha256(repr(parts).encode()).hexdigest()[:10]}"


def _start(found: PairStudy, name: str, units: float) -> None:
    from ...directions.pairs import PairSet

    bench, choice, sites = found.bench, found.choice, list(found.all)
    train, test = found.pairs.split(0.5)
    test = PairSet(test.pairs[:TESTED_PAIRS], test.name)

    def work(job: Job) -> list[LayerEffect]:
        from ...measurements.layers import causal_effects

        job.tick(0, len(sites), "Reading the pairs")
        engine = bench.engine
        assert engine is not None  # the pages' workbenches are made of engines
        norms = {site: bench.typical_norm(site) for site in sites}
        read = bench.activations(train, sites, choice.position)  # type: ignore[arg-type]
        return causal_effects(engine, read, test, norms, units=units, contrast=choice.contrast, tick=job.tick)

    services.start(name, work)
    st.rerun()


def _effect_chart(found: PairStudy, effects: list[LayerEffect], units: float) -> None:
    from ...measurements.layers import layer_verdicts

    figure = plots.effect_by_layer(
        [effect.layer for effect in effects],
        [effect.effect for effect in effects],
        [effect.controls for effect in effects],
        theme.palette(),
        y="change of log p(positive) − log p(negative), nats a token",
    )
    found_clear = layer_verdicts(effects)
    order = sorted(
        range(len(effects)),
        key=lambda k: (found_clear[k] == "better", effects[k].effect.low - max(effects[k].controls)),
    )
    best, clear = effects[order[-1]], found_clear[order[-1]] == "better"
    chart(
        figure,
        title=f"Layer {best.layer} takes effect most clearly" if clear else "No layer has an effect beyond random ones",
        caption=f"Adding {units:g} layer norms of each layer's own direction to every token; at most {TESTED_PAIRS} "
        "left-out pairs, scored by teacher forcing. Bars: 95% intervals over pairs. Band: random directions. A verdict "
        "counts all layers (Holm), and takes at least ten pairs.",
        key="direction_effect_chart",
    )
    st.dataframe(
        [
            {
                "Layer": effect.layer,
                "Effect": effect.effect.value,
                "from": effect.effect.low,
                "to": effect.effect.high,
                "Random": float(np.mean(effect.controls)),
                "Held-out AUROC": effect.separation,
                "Alpha": effect.alpha,
                "Verdict": said,
            }
            for effect, said in zip(effects, found_clear, strict=True)
        ],
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in ("Effect", "from", "to", "Random")
        },
    )
    st.button("Use this layer", key="direction_use_layer", on_click=use_layer, args=(best.layer,), disabled=not clear)


def use_layer(layer: int) -> None:
    """Choose a layer (a callback of buttons and clicks)."""
    st.session_state["direction_layer"] = layer
