"""A step's form: every widget of it is drawn from what the method declares (interventions/knobs.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from ...interventions.knobs import (
    DEGREES,
    NORMS,
    PROJECTION,
    AtSite,
    Features,
    Flag,
    Inner,
    Number,
    OneOf,
    Vector,
    Within,
    Words,
)
from ...interventions.protocol import METHODS
from ...recipes import building
from ...recipes.sources import CONTRASTS, MAX_TEXT, POSITIONS, SPACES, Source, shown_position
from ...recipes.steps import MAIN, MAX_START, WHERE, Step, parse_features, show_features
from ...showing.glossary import GLOSSARY
from ..shared import readings
from ..widgets.basics import literal
from ..widgets.strength import strength
from . import feature_picker, feature_sliders

if TYPE_CHECKING:
    from ...recipes.workbench import Workbench

DERIVED = {"random:1000": "A random direction", "negative": "Its negative texts' mean"}


def draw(prefix: str, step: Step, bench: Workbench, directions: dict[str, str], methods: list[str]) -> Step:
    """Draw a step's form; return the step as chosen.

    Args:
        prefix: what the keys of its widgets begin with.
        directions: what a direction can be chosen from, value -> shown name.
        methods: the short names to choose from.
    """
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall", key=f"{prefix}_row")
    method = row.selectbox(
        "Method",
        methods,
        index=methods.index(step.method),
        format_func=lambda name: METHODS[name].setup.title,
        key=f"{prefix}_kind",
        label_visibility="collapsed",
        help=step.setup.help,
    )
    step = step.but(method=method) if method != step.method else step
    with row.popover("Details", icon=":material/tune:", width="content", help="Layer, stream, tokens, how it is made"):
        step = _settings(prefix, step, bench, directions)
    step = _material(prefix, step, bench, directions)
    step = _sliders(prefix, step, bench)
    for knob in step.setup.knobs:
        if isinstance(knob, Inner):
            with st.container(border=True, gap="xsmall", key=f"{prefix}_{knob.name}_box"):
                st.caption(knob.label)
                inside = [name for name in methods if not METHODS[name].setup.of(Inner)]
                inner = draw(f"{prefix}_{knob.name}", getattr(step, knob.name), bench, directions, inside)
            step = step.but(**{knob.name: inner})
    return step


# What it works with -------------------------------------------------------------------------------------------------


def _material(prefix: str, step: Step, bench: Workbench, directions: dict[str, str]) -> Step:
    """The step with its directions, texts or features as chosen."""
    for knob in step.setup.knobs:
        if isinstance(knob, Vector) and knob.name == MAIN:
            step = step.but(**_from(prefix, step.source(knob), directions))
        elif isinstance(knob, Vector) and knob.default not in DERIVED:
            chosen = _from(f"{prefix}_{knob.name}", step.source(knob), directions, knob.label)
            step = step.but(**{knob.name: Source(**{**_settings_of(step.source(knob)), **chosen})})
        elif isinstance(knob, Words):
            text = st.text_input(knob.label, getattr(step, knob.name), key=f"{prefix}_{knob.name}", max_chars=2000)
            step = step.but(**{knob.name: text or ""})
        elif isinstance(knob, Features):
            step = _features(prefix, step, knob, bench)
    return step


def _settings_of(source: Source) -> dict[str, Any]:
    return {name: getattr(source, name) for name in Source.__dataclass_fields__}


def _from(prefix: str, source: Source, directions: dict[str, str], label: str = "") -> dict[str, Any]:
    """The chosen source of a direction, and its two texts if it is their difference."""
    # A direction of a link or a saved run that is not here stays chosen, so that running it says what is missing.
    missing = (
        {} if source.direction in directions or source.direction == "pairs:" else {source.direction: source.direction}
    )
    shown = {**missing, **directions}
    options = list(shown)
    chosen = st.selectbox(
        label or "Direction",
        options,
        index=options.index(source.direction) if source.direction in options else 0,
        format_func=shown.__getitem__,
        key=f"{prefix}_direction",
        label_visibility="visible" if label else "collapsed",
    )
    if chosen != "texts":
        return {"direction": chosen}
    positive = st.text_input("Toward", source.positive, key=f"{prefix}_positive", max_chars=2000)
    negative = st.text_input("Away from", source.negative, key=f"{prefix}_negative", max_chars=2000)
    return {"direction": chosen, "positive": positive or "", "negative": negative or ""}


def _features(prefix: str, step: Step, knob: Features, bench: Workbench) -> Step:
    text_key = f"{prefix}_features"
    if text_key not in st.session_state:
        st.session_state[text_key] = show_features(step.features)
    if knob.valued:
        feature_sliders.take_over(prefix, text_key)
    text = st.text_input(
        knob.label, key=text_key, placeholder="17: 8, 203: 4", on_change=feature_sliders.forget, args=(text_key,)
    )
    feature_picker.find(prefix, step, bench.lm, bench.sae, text_key)
    try:
        features = parse_features(text or "")
    except ValueError as error:
        st.error(literal(str(error), 300))
        return step
    if knob.valued:
        features = feature_sliders.draw(prefix, features, bench, text_key)
    return step.but(features=features)


# Settings that are rarely changed -----------------------------------------------------------------------------------


def _settings(prefix: str, step: Step, bench: Workbench, directions: dict[str, str]) -> Step:
    """The step with site, tokens, and how its directions are made, as chosen."""
    for knob in step.setup.knobs:
        if isinstance(knob, Vector) and knob.name == MAIN:
            step = step.but(**_made(prefix, step.source(knob), knob, bench))
        elif isinstance(knob, Vector):
            step = step.but(**{knob.name: _second(f"{prefix}_{knob.name}", step, knob, bench, directions)})
        elif isinstance(knob, AtSite):
            step = step.but(**_place(prefix, step.layer, step.stream, bench))
    if bench.sae is not None and step.setup.of(Features):
        st.caption(f"Works at the SAE's site, {bench.sae.site}.")
    step = step.but(where=_choose("Tokens", WHERE, step.where, f"{prefix}_where"))
    start = st.number_input("From position", 0, MAX_START, step.start, key=f"{prefix}_start", help="0 is the first.")
    step = step.but(start=int(start or 0))
    for knob in step.setup.knobs:
        if isinstance(knob, OneOf | Flag) and step.offers(knob):
            step = step.but(**{knob.name: _option(prefix, knob, getattr(step, knob.name))})
        elif isinstance(knob, Within):
            step = step.but(**_within(prefix, step, knob, bench))
    return step


def _within(prefix: str, step: Step, knob: Within, bench: Workbench) -> dict[str, Any]:
    """The texts to whose span an addition is kept, and how many dimensions of it, as chosen."""
    texts = st.text_area(
        knob.label, getattr(step, knob.name), key=f"{prefix}_{knob.name}", max_chars=MAX_TEXT, height=80,
        help=f"{knob.help} Blank lines separate texts; empty for no limit.",
    )  # fmt: skip
    if not (texts or "").strip():
        return {knob.name: ""}
    most, now = bench.lm.d_model, getattr(step, knob.count)
    count = st.number_input("Dimensions", 1, most, min(now, most), key=f"{prefix}_{knob.count}", help=f"Of {most}.")
    st.caption("This limits where the addition points, not how far it goes: a large strength still exaggerates.")
    return {knob.name: texts, knob.count: int(count or now)}


def _option(prefix: str, knob: OneOf | Flag, value: Any) -> Any:
    if isinstance(knob, OneOf):
        return _choose(knob.label, knob.options, value, f"{prefix}_{knob.name}", knob.help)
    return st.toggle(knob.label, value, key=f"{prefix}_{knob.name}", help=knob.help or None)


def _choose(label: str, options: Any, value: str, key: str, note: str = "") -> str:
    names = list(options)
    index = names.index(value) if value in names else 0
    return str(st.selectbox(label, names, index=index, format_func=options.__getitem__, key=key, help=note or None))


def _made(prefix: str, source: Source, knob: Vector, bench: Workbench) -> dict[str, Any]:
    """How and where a direction is read, as chosen."""
    found: dict[str, Any] = {}
    spaces = [space for space in knob.spaces if space == "residual" or bench.sae is not None] or list(knob.spaces)
    shown = {space: SPACES[space] for space in spaces}
    found["space"] = _choose("Space", shown, source.space, f"{prefix}_space")
    if source.kind != "texts":  # two texts are one pair, and have a difference only
        found["contrast"] = _choose("Made by", CONTRASTS, source.contrast, f"{prefix}_contrast")
    positions = {name: shown_position(name) for name in dict.fromkeys((*POSITIONS, source.position))}
    found["position"] = _choose("Read at", positions, source.position, f"{prefix}_position")
    if found["space"] != "feature":
        return found | _place(prefix, source.layer, source.stream, bench)
    if bench.sae is not None:
        st.caption(f"Works at the SAE's site, {bench.sae.site}.")
        kept = st.number_input(
            "Largest features kept", 0, bench.sae.d_sae, source.top_k, key=f"{prefix}_top_k", help="0 keeps all."
        )
        found["top_k"] = int(kept or 0)
    return found


def _place(prefix: str, layer: int | None, stream: str, bench: Workbench) -> dict[str, Any]:
    lm = bench.lm
    now = lm.n_layers // 2 if layer is None else min(layer, lm.n_layers - 1)
    picked = st.selectbox("Layer", list(range(lm.n_layers)), index=now, key=f"{prefix}_layer", help=GLOSSARY["layer"])
    streams = list(lm.streams)
    index = streams.index(stream) if stream in streams else len(streams) - 1
    return {
        "layer": picked,
        "stream": st.selectbox("Stream", streams, index=index, key=f"{prefix}_stream", help=GLOSSARY["stream"]),
    }


def _second(prefix: str, step: Step, knob: Vector, bench: Workbench, directions: dict[str, str]) -> Source:
    """The source of a second direction: derived from the first, or made like one."""
    source = step.source(knob)
    with st.container(border=True, gap="xsmall", key=f"{prefix}_box"):
        if knob.default in DERIVED:
            derived = {**{knob.default: DERIVED[knob.default]}, **({source.direction: "A random direction"}
                       if source.kind == "random" else {})}  # fmt: skip
            source = Source(**{**_settings_of(source), **_from(prefix, source, {**derived, **directions}, knob.label)})
        else:
            st.caption(knob.label)
        if source.kind in ("random", "negative"):
            return source
        return Source(**{**_settings_of(source), **_made(prefix, source, knob, bench)})


# Strengths ----------------------------------------------------------------------------------------------------------


def _sliders(prefix: str, step: Step, bench: Workbench) -> Step:
    """The step with its strengths as set."""
    for knob in step.setup.knobs:
        if isinstance(knob, Number) and step.offers(knob):
            step = (
                _threshold(prefix, step, knob, bench) if knob.unit == PROJECTION else _slider(prefix, step, knob, bench)
            )
    return step


def _slider(prefix: str, step: Step, knob: Number, bench: Workbench) -> Step:
    key = f"{prefix}_{knob.name.rstrip('_')}"
    value = getattr(step, knob.name)
    low, high = min(knob.low, value), max(knob.high, value)  # a link may hold more than the slider's usual range
    detail = ""
    if knob.unit == NORMS:
        if getattr(step, f"{knob.name}_raw") is not None:
            st.caption(f"{knob.label} {getattr(step, f'{knob.name}_raw'):g}, in the direction's own units")
            return step
        held = st.session_state.get(key) or {}
        detail = raw_note(bench, step, min(high, max(low, float(held.get("value") or value))))
    short = "" if knob.unit == DEGREES else knob.label
    norms = knob.unit == NORMS
    set_to = strength(
        knob.long_label, value, key=key, low=low, high=high, step=knob.step, short=short, fine=norms,
        explanation=_help(knob), note=NORMS if norms else "", detail=detail, band=st.session_state.get(f"{key}_band"),
    )  # fmt: skip
    return step.but(**{knob.name: set_to})


def _help(knob: Number) -> str:
    """What a slider does, in words that a pupil knows."""
    return GLOSSARY.get(knob.name.rstrip("_"), knob.help)


def _threshold(prefix: str, step: Step, knob: Number, bench: Workbench) -> Step:
    made = (step.direction, step.space, step.layer, step.stream, step.contrast, step.position)
    reach = readings.value(bench, ("tau range", *made), lambda: tau_range(bench, step), "Reading where the pairs lie")
    if reach is None:
        return step
    low, high, middle = reach
    size = max((high - low) / 200, 1e-4)
    value = getattr(step, knob.name)
    set_to = strength(
        knob.long_label,
        value if isinstance(value, float) else middle,
        key="_".join(map(str, (prefix, knob.name.rstrip("_"), *made))),
        low=low,
        high=high,
        step=float(f"{size:.0e}"),
        note=knob.unit,
        short=knob.label,
        explanation=_help(knob),
    )
    unset = value is None and abs(set_to - middle) <= size
    return step.but(**{knob.name: None if unset else set_to})


def tau_range(bench: Workbench, step: Step) -> tuple[float, float, float]:
    """Lowest, highest and middle threshold worth choosing: where the pair set's two classes lie."""
    try:
        direction = bench.direction(step.source(Vector()))
        groups = bench.projections(direction, step.direction)
        middle = bench.midpoint(direction, step.direction)
    except ValueError:
        return -10.0, 10.0, 0.0
    values = [value for side in ("positive", "negative") for value in groups.get(side, [])]
    if not values:
        unit = bench.typical_norm(direction.site)
        return float(f"{-unit:.2g}"), float(f"{unit:.2g}"), 0.0
    low, high = min(values), max(values)
    room = 0.25 * (high - low) or 1.0
    return float(f"{low - room:.2g}"), float(f"{high + room:.2g}"), middle


def raw_note(bench: Workbench, step: Step, norms: float) -> str:
    """The raw value behind a strength in layer norms; empty where it cannot be said without reading the model."""
    try:
        if not bench.at_hand(*step.sources):
            return ""
        if step.setup.make:  # making one means reading its texts, which is too much for a note
            return f"largest shift {norms * bench.typical_norm(bench.site_of(step.layer, step.stream)):.3g}"
        if any(getattr(step, knob.name).strip() for knob in step.setup.of(Within) if isinstance(knob, Within)):
            return f"shift {norms * bench.typical_norm(bench.direction(step.source(Vector())).site):.3g}"
        made = bench.kept(("unit", without_strengths(step).key), lambda: _unit(bench, step))
        return f"raw {norms * made[0] / max(made[1], 1e-12):.3g}, shift {norms * made[0]:.3g}"
    except ValueError:
        return ""


def without_strengths(step: Step) -> Step:
    """The step with every strength at its default, so that steps that need the same readings are equal."""
    return step.but(**{knob.name: knob.default for knob in step.setup.knobs if isinstance(knob, Number)})


def _unit(bench: Workbench, step: Step) -> tuple[float, float]:
    made = building.make(bench, without_strengths(step)).intervention
    return bench.typical_norm(made.place), made.unit_shift


def thresholds(step: Step) -> list[Number]:
    """The knobs of a step that are thresholds on its direction's projection."""
    return [knob for knob in step.setup.knobs if isinstance(knob, Number) and knob.unit == PROJECTION]
