"""Library / Models: the SAEs that fit a model, and all of SAELens' registry: search, filter, load, use."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...checkpoints.forms import Form
from ..shared import job_cards, loading, state
from ..shared import objects as services
from ..widgets.basics import literal
from . import models_page

if TYPE_CHECKING:
    from ...library.catalogue import SaeEntry

LIMIT = 300  # rows that are shown at once
ANY = "Any"


# What there is to filter by, computed once ----------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _fitting(source: str) -> tuple[SaeEntry, ...]:
    from ...library.catalogue import MODELS, fitting_saes

    entry = next((one for one in MODELS if one.hub_id == source), None)
    return tuple(fitting_saes(entry or source))


def all_saes() -> tuple[SaeEntry, ...]:
    """Every SAE of SAELens' registry; its names are taken apart once per server."""
    from ...library.catalogue import saes

    if not saes.cache_info().currsize:
        with st.spinner("Reading SAELens' registry, once per server"):
            return saes()
    return saes()


@lru_cache(maxsize=64)
def _choices(source: str) -> dict[str, list]:
    """The models, places, layers and widths that occur among the SAEs of a model, or among all."""
    rows = _fitting(source) if source else all_saes()
    sites = [row.site for row in rows if row.site is not None]
    return {
        "model": sorted({row.model for row in rows}),
        "stream": sorted({site.stream for site in sites}),
        "layer": sorted({site.layer for site in sites}),
        "width": sorted({row.width for row in rows if row.width is not None}),
    }


def shown_width(width: int | None) -> str:
    """A number of features as names of SAEs have it: 16k, 1M."""
    if width is None:
        return ""
    return f"{width / 2**20:.3g}M" if width >= 2**20 else f"{width / 1024:.3g}k" if width >= 1024 else str(width)


# Search ---------------------------------------------------------------------------------------------------------------


def choose(source: str, key: str) -> SaeEntry | None:
    """Draw search, filters and the table of a model's SAEs (or of all); return the chosen one, or None."""
    rows, options = _fitting(source) if source else all_saes(), _choices(source)
    with_model = len(options["model"]) > 1
    found = _filtered(rows, options, key, with_model)
    shown = found[:LIMIT]
    more = f"; the first {LIMIT} are shown, so search or filter for fewer" if len(found) > LIMIT else ""
    st.caption(f"{len(found):,} of {len(rows):,} SAEs{more}.")
    if not shown:
        return None
    # A row is chosen by its number, so another list is another table.
    table = f"{key}_table_{hash(tuple((row.release, row.id) for row in shown)) & 0xFFFFFFFF:x}"
    event = st.dataframe(
        [_cells(row, with_model) for row in shown], key=table, hide_index=True, on_select="rerun", row_height=32,
        selection_mode="single-row", height=min(420, 38 + 32 * len(shown)),
        column_config={
            "Release": st.column_config.TextColumn(width=210),
            "Layer": st.column_config.NumberColumn(width=50),
            "L0": st.column_config.NumberColumn(format="%.0f", help="Features that fire on a token, on average."),
            "Explained": st.column_config.TextColumn(help="Share of the variance it explains, where that is known."),
        },
    )  # fmt: skip
    picked = event["selection"]["rows"]  # type: ignore[index]
    return shown[picked[0]] if picked and picked[0] < len(shown) else None


def _filtered(rows: tuple[SaeEntry, ...], options: dict[str, list], key: str, with_model: bool) -> list[SaeEntry]:
    from ...library.catalogue import search

    query = st.text_input(
        "Search", key=f"{key}_query", type="search", live="300ms", bind="query-params",
        placeholder="gemma-2-2b resid_post layer 12 16k",
        help="Words of the release, the id, the model, the site, the kind and the width; all of them must occur.",
    )  # fmt: skip
    names = [*(["model"] if with_model else []), "stream", "layer", "width"]
    chosen: dict[str, Any] = {}
    for name, column in zip(names, st.columns(len(names), gap="small"), strict=True):
        chosen[name] = column.selectbox(
            name.capitalize(), [ANY, *options[name]], key=f"{key}_{name}",
            format_func=shown_width_or_any if name == "width" else str,
        )  # fmt: skip
    with st.container(horizontal=True, gap="medium"):
        readable = st.toggle("Only what Tiller can load", value=True, key=f"{key}_readable")
        plain = st.toggle("No transcoders", key=f"{key}_plain")
    wanted = {name: value for name, value in chosen.items() if value != ANY}
    return [
        row
        for row in search(query or "", rows, readable=bool(readable))
        if all(_has(row, name) == value for name, value in wanted.items()) and not (plain and row.kind == "transcoder")
    ]


def shown_width_or_any(width: Any) -> str:
    """A width as an option of the filter."""
    return width if width == ANY else shown_width(width)


def _has(row: SaeEntry, name: str) -> Any:
    """The value of an SAE in the column that a filter is named after."""
    if name in ("stream", "layer"):
        return None if row.site is None else getattr(row.site, name)
    return getattr(row, name)


def _cells(row: SaeEntry, with_model: bool) -> dict[str, Any]:
    return {
        "Release": row.release,
        **({"Model": row.model} if with_model else {}),
        "Layer": None if row.site is None else row.site.layer,
        "Reads": "" if row.site is None else row.site.stream,
        "Width": shown_width(row.width),
        "L0": row.l0,
        "Explained": "" if row.explained_variance is None else f"{row.explained_variance:.2f}",
        "Kind": row.kind,
        "Id": row.id,
        **({"Refused": row.refused} if row.refused else {}),
    }


# One SAE --------------------------------------------------------------------------------------------------------------


def fitting(source: str) -> None:
    """Draw the SAEs that fit a model, its bundled ones first, and the chosen one."""
    all_saes()
    rows = _fitting(source)
    bundled = state.bundled_saes(source)
    st.subheader("SAEs that fit it", anchor=False)
    if bundled:
        st.caption(f"{len(bundled)} come with Tiller: choose among them under Change in the sidebar.")
    if not rows:
        if not bundled:
            st.info("SAELens' registry has none for it. An SAE of your own is opened by its folder.")
        return
    if row := choose(source, "models_fit"):
        card(row)


def everything() -> None:
    """Draw the search in all SAEs of the registry, and the chosen one."""
    row = choose("", "models_saes")
    if row is None:
        st.caption("Click a row to see which model it wants, and to load it.")
    else:
        card(row)


def card(row: SaeEntry) -> None:
    """Draw one SAE: where it belongs, which models it fits, and the button for the next step."""
    with st.container(border=True, key="card_sae"):
        st.text(f"{row.release} / {row.id}")
        st.caption(literal(_about(row), 400))
        if row.refused:
            st.error(literal(f"Tiller does not load it. {row.refused}", 300))
            return
        model = _model_for(row)
        if model is None:
            _wants(row)
        else:
            next_step(model, (row.release, row.id))


def _about(row: SaeEntry) -> str:
    place = "a place that only its files tell" if row.site is None else f"layer {row.site.layer}, {row.site.stream}"
    parts = [f"Made on {row.model}", f"reads {place}", row.kind]
    if row.width:
        parts.append(f"{row.width:,} features")
    if row.l0:
        parts.append(f"about {row.l0:.0f} fire on a token")
    if row.explained_variance is not None:
        parts.append(f"explains {row.explained_variance:.0%} of the variance")
    return " · ".join(parts)


def _model_for(row: SaeEntry) -> str | None:
    """The visitor's model, if the SAE fits it."""
    name = state.model_name()
    return name if any(row == one for one in _fitting(Form.parse(name).source)) else None


def _wants(row: SaeEntry) -> None:
    """Draw which model an SAE was made for, and the button that leads there."""
    from ...library.catalogue import fitting_models

    names = [entry.hub_id for entry in fitting_models(row)] or [row.model]
    if row.model not in names:
        names.insert(0, row.model)
    st.info(literal(f"It fits another model than yours ({state.model_name()}). Load that one first.", 300))
    with st.container(horizontal=True, gap="small"):
        for number, name in enumerate(names[:4]):
            st.button(
                literal(name, 60), key=f"models_wants_{number}", on_click=models_page.look_at, args=(name,),
                icon=":material/arrow_forward:",
            )  # fmt: skip


def next_step(model: str, choice: tuple[str, str], *, here: bool | None = None) -> None:
    """Draw the next step with an SAE: the button that loads it, the loading in progress, or the button that uses it."""
    from huggingface_hub import constants

    loading.use_what_came(model, choice)
    job = loading.find(loading.job_name(model, choice))
    if job is not None and job.active:
        job_cards.show(job, "models_sae_job")
        return
    if job is not None and job.state != "done":
        job_cards.outcome(job, job_cards.DOWNLOAD_STOPPED)
    if loading.is_used(model, choice):
        st.badge("You are using this SAE", icon=":material/check:", color="green")
        _warnings()
    elif job is not None and job.state == "done":
        st.button(
            "Use this SAE", type="primary", key="models_use_sae", on_click=loading.use_sae, args=(model, *choice),
            icon=":material/check:",
        )  # fmt: skip
    else:
        here = loading.sae_is_here(choice) if here is None else here
        offline = not here and constants.is_offline_mode()
        if offline:
            st.info("Offline mode is on (HF_HUB_OFFLINE), so nothing can be downloaded. Unset it and restart Tiller.")
        st.button(
            f"{'Load' if here else 'Download'} and use it with {literal(model, 50)}", type="primary", disabled=offline,
            key="models_load_sae", on_click=loading.start, args=(model, choice),
            icon=":material/memory:" if here else ":material/download:",
        )  # fmt: skip


def _warnings() -> None:
    sae = services.maybe_sae()
    for sentence in sae.warnings if sae is not None else ():
        st.warning(literal(sentence, 300))
