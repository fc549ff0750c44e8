"""Build / Direction: the map of layers and strengths: what it will cost, how it grows, steering with a cell of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from ...plots.maps import strength_grid
from ...recipes.steps import Step, Variant
from ..shared import job_cards, readings
from ..shared import objects as services
from ..shared.directions import shown_name
from ..steer import sending
from ..widgets import theme
from ..widgets.basics import chart, literal, option
from .direction import PairStudy, reference

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...measurements.strength_map import MapCell, StrengthMap

ASKED = "direction_map_cell"  # the cell that was clicked


def show(found: PairStudy) -> None:
    """Draw the map, the job that makes it, or what it will cost."""
    if found.choice.sae is not None:
        st.caption("Layers are compared in the residual stream. Choose it as the space.")
        return
    if len(found.pairs) < 4:
        st.caption("A map is measured on pairs that its directions have not seen; it takes at least four.")
        return
    name = _job_name(found)
    job = services.newest(name)
    if job is not None and job.error is not None:
        st.error(literal(f"The measurement stopped: {job.error}", 400))
    if job is not None and (job.active or job.partial or job.state == "done"):
        _grown(found, job)
        return
    st.markdown("**At which layer, and how hard?**")
    st.caption(
        "Every cell is a layer and a strength. Its color says how much more likely the positive answers of left-out "
        "pairs become against the negative ones; it fades where the text that the model then writes gets unlikely or "
        "repeats itself. A few layers first, then finer around the best cells. A click on a cell steers with it."
    )
    if st.button("Measure the map", type="primary", icon=":material/play_arrow:", key="direction_map_go"):
        _start(found, name)
        st.rerun()
    _cost(found)


def _job_name(found: PairStudy) -> str:
    parts = ("map", found.lm.fingerprint, *found.key(), found.choice.contrast)
    pairs = shown_name(found.pairs.name or "own pairs")
    return f"Map of {pairs} {hashlib.sha256(repr(parts).encode()).hexdigest()[:10]}"


def _cost(found: PairStudy) -> None:
    """Say how much is read, and about how long that takes here."""
    from ...measurements import strength_map as measuring

    bench, lm = found.bench, found.lm
    layers, strengths = len(measuring.coarse_layers(lm.n_layers)), len(measuring.STRENGTHS)
    test = _test(found)
    asked = measuring.openings(lm, test)
    study = measuring.MapStudy(bench.engine, {}, {}, test, asked)  # type: ignore[arg-type]
    times = readings.about(bench, *(study.cost(cells) for cells in (layers * strengths, 2 * measuring.FINER)))
    if times is not None:
        st.caption(
            f"{layers} layers at {strengths} strengths: about {times[0]} here, then up to {times[1]} for finer cells. "
            "You see it grow, and what is measured is kept when you stop."
        )


def _test(found: PairStudy):
    from ...directions.pairs import PairSet
    from ...measurements.strength_map import PAIRS

    _, test = found.pairs.split(0.5)
    return PairSet(test.pairs[:PAIRS], test.name)


def _start(found: PairStudy, name: str) -> None:
    from ...measurements import strength_map as measuring

    bench, choice = found.bench, found.choice
    train, _ = found.pairs.split(0.5)
    test = _test(found)

    def work(job: Job) -> StrengthMap:

        from ...directions.activations import of_pairs
        from ...directions.agreement import FITS
        from ...directions.contrasts import fitted
        from ...jobs.watching import watched
        from ...sites import Site

        job.tick(0, 1, "Reading the pairs")
        engine, lm = bench.engine, bench.lm
        assert engine is not None  # the pages' workbenches are made of engines
        sites = [Site(layer, choice.site.stream) for layer in range(lm.n_layers)]
        with watched(lambda done, total: job.tick(done, total, "Reading the pairs at every layer")):
            read = of_pairs(lm, train, sites, position=choice.position)  # type: ignore[arg-type]
        made = {
            site.layer: fitted(
                choice.contrast, FITS[choice.contrast], sides, lm, train, site, position=choice.position  # type: ignore[arg-type]
            )
            for site, sides in read.items()
        }  # fmt: skip
        norms = {site.layer: bench.typical_norm(site) for site in sites}
        study = measuring.MapStudy(engine, made, norms, test, measuring.openings(lm, test))

        def grown(so_far: StrengthMap) -> None:
            job.partial[:] = [so_far]

        return measuring.strength_map(study, measuring.coarse_layers(lm.n_layers), rounds=2, tick=job.tick, grown=grown)

    services.start(name, work)


# Shown ----------------------------------------------------------------------------------------------------------------


def _grown(found: PairStudy, job: Job) -> None:
    """Draw the map as far as it is, and again whenever it has grown."""
    shown = len(job.partial[0].cells) if job.partial else 0

    @st.fragment(run_every=1.0 if job.active else None)
    def watch() -> None:
        if not job.active or (len(job.partial[0].cells) if job.partial else 0) != shown:
            st.rerun()
        st.progress(job.fraction, text=job_cards.title(job) + (f": {literal(job.note)}" if job.note else ""))
        st.caption(f"{job_cards.left(job)}It goes on when you leave this page. What is measured is kept.")
        job_cards.stop_button(job, "Stop", f"stop_{job.id}")

    if job.active:
        watch()
    else:
        st.button("Measure it again", key="direction_map_again", icon=":material/replay:", on_click=_start,
                  args=(found, job.name))  # fmt: skip
    if job.partial:
        _map(found, job.partial[0])


def _map(found: PairStudy, measured: StrengthMap) -> None:
    stars = [cell for cell in (measured.best(-1), measured.best(1)) if cell is not None]
    cells = {cell.place: cell for cell in measured.cells}
    figure, layers, strengths = strength_grid(
        {place: cell.effect.value for place, cell in cells.items()},
        {place: measured.fluency(cell) for place, cell in cells.items()},
        {place: _said(measured, cell) for place, cell in cells.items()},
        theme.palette(),
        stars=[cell.place for cell in stars],
    )
    n = len(_test(found))
    point = chart(
        figure,
        title=_title(stars),
        caption=f"Change of log p(positive) − log p(negative), nats a token, mean over {n} left-out pairs, by adding "
        "each layer's own direction to every token. ★: the largest effect of either sign whose text holds. × and "
        "faded: the text breaks (1 nat more surprising to the unsteered model, or a fifth more repeated word triples).",
        key=f"direction_map_{len(cells)}",
        select=True,
        says=_in_words(stars),
    )
    if point and (cell := cells.get((layers[int(point["y"])], strengths[int(point["x"])]))):
        _steer(found, cell)
    _chosen(found, measured, stars, cells)


def _title(stars: list[MapCell]) -> str:
    if not stars:
        return "No cell has an effect whose text holds"
    return " and ".join(f"layer {cell.layer} at {cell.strength:+g}" for cell in stars).capitalize().replace("-", "−")


def _in_words(stars: list[MapCell]) -> str:
    parts = [
        f"layer {cell.layer} at {cell.strength:+g} changes the log-odds by {cell.effect.value:+.2f}" for cell in stars
    ]
    return "Map of layers and strengths. " + ("Best: " + "; ".join(parts) + "." if parts else "No cell's text holds.")


def _said(measured: StrengthMap, cell: MapCell) -> str:
    fluency = measured.fluency(cell)
    text = " ".join(cell.texts[0].split())
    return f"layer {cell.layer}, {cell.strength:+g}: effect {cell.effect.value:+.2f}, fluency {fluency:.0%}. {text}"


def _chosen(found: PairStudy, measured: StrengthMap, stars: list[MapCell], cells: dict) -> None:
    """Draw one cell beside the baseline: its texts, its interval, its controls, and the button that steers with it."""
    order = [*stars, *(cell for cell in sorted(cells.values(), key=lambda cell: cell.place) if cell not in stars)]
    with st.container(border=True, key="direction_map_card", gap="small"):
        row = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
        names = {
            f"{cell.layer}:{cell.strength:g}": ("★ " if cell in stars else "")
            + f"layer {cell.layer}, {cell.strength:+g}"
            for cell in order
        }
        if not names:
            return
        chosen = row.selectbox(
            "Cell", list(names), format_func=names.__getitem__, key="direction_map_chosen", width=220
        )
        cell = order[list(names).index(chosen)]
        if row.button("Steer with this cell", type="primary", key="direction_map_steer"):
            _steer(found, cell)
        low, high = cell.effect.low, cell.effect.high
        controls = ", ".join(f"{value:+.2f}" for value in cell.controls)
        st.caption(
            f"Effect {cell.effect.value:+.2f} ({low:+.2f} to {high:+.2f}, 95%)"
            + (f"; random directions of equal norm: {controls}" if controls else "")
            + f". Surprise {cell.surprise:.2f} nats a token (without steering {measured.baseline.surprise:.2f}), "
            f"repetition {cell.repetition:.0%} ({measured.baseline.repetition:.0%})."
        )
        for column, title, text in zip(
            st.columns(2, gap="medium"), ("Without steering", names[chosen]),
            (measured.baseline.texts[0], cell.texts[0]), strict=True,
        ):  # fmt: skip
            with column:
                st.caption(literal(title))
                st.text(text.strip() or "(nothing)")


def _steer(found: PairStudy, cell: MapCell) -> None:
    """Open Compare with the cell's layer and strength; does not return."""
    from ...sites import Site

    site = Site(cell.layer, found.choice.site.stream)
    here = replace(
        found, choice=replace(found.choice, site=site), judged=replace(found.judged, direction=_at(found, site))
    )
    name = option(shown_name(found.pairs.name) or "own pairs", 40)
    step = Step(
        "add", direction=reference(here, f"{name}, layer {cell.layer}"), contrast=found.choice.contrast,
        layer=cell.layer, stream=site.stream, alpha=cell.strength,
    )  # fmt: skip
    sending.steer_with(found.lm, Variant(f"{name}, layer {cell.layer}", (step,)))


def _at(found: PairStudy, site):
    """The direction of all the pairs at another site."""
    import torch

    from ...directions.agreement import FITS
    from ...directions.contrasts import fitted

    positive, negative = (torch.from_numpy(side) for side in found.all[site])
    contrast = found.choice.contrast
    return fitted(
        contrast, FITS[contrast], (positive, negative), found.lm, found.pairs, site, position=found.choice.position  # type: ignore[arg-type]
    )  # fmt: skip
