"""Build / Discover: choose prompts, two layers and a method; watch the search; read what each direction writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...checkpoints.bundled import trained_here
from ...plots import figures
from ...recipes.sources import Source
from ...recipes.steps import Step, Variant
from ..shared import job_cards, state
from ..shared import objects as services
from ..shared.frame import short_name
from ..shared.indexes import maybe_index
from ..steer import sending
from ..widgets import theme
from ..widgets.basics import chart, clear_errors, literal
from .pair_table import suitable

if TYPE_CHECKING:
    from ...jobs.jobs import Job
    from ...measurements.discovery import Discovery, FoundDirection
    from ...recipes.workbench import Workbench
    from ...sites import Site

SAYS = {
    "jacobian": "The directions along which a small push at the first layer moves the second one most.",
    "melbo": "Vectors of a fixed length that climb until the second layer has changed as much as they can make it.",
    "dct": "Directions whose effects grow faster than they do, ranked by how much of the response they explain.",
}
PLAIN = "Once upon a time there was a little dog. One day"


@dataclass(frozen=True)
class Search:
    """What is searched for, as chosen."""

    prompts: tuple[str, ...]
    source: int
    target: int
    method: str
    n: int
    length: float | None
    energy: float | None
    named: tuple[str, ...]
    tokens: int

    def job(self, model: str) -> str:
        """The name of its job on a model."""
        from ...measurements.discovery import METHODS

        said = f"{METHODS[self.method]}, layer {self.source} to {self.target}"
        return f"{said}, {short_name(model)} {hashlib.sha256(repr((self, model)).encode()).hexdigest()[:10]}"


def choose(bench: Workbench) -> Search:
    """Draw the prompt, the stack with both layers, and the method; return the search as chosen."""
    from ...experiments.unlabeled import SETTINGS
    from ...measurements.discovery import METHODS

    lm, last = bench.lm, bench.lm.n_layers - 1
    ready = SETTINGS.get(lm.name)
    default = (ready or SETTINGS["smollm2"]).prompts[0] if lm.has_chat_template else PLAIN
    layers = (ready.source, ready.target) if ready else (lm.n_layers // 3, max(1, 2 * lm.n_layers // 3))
    text = st.text_area(
        "Prompt", default, key="discover_prompt", height=96, max_chars=4000, bind="query-params",
        help="Several prompts: put a line of three dashes (---) between them. The texts are written for the first.",
    )  # fmt: skip
    low, high = st.slider(
        "Push here, watch there", 0, last, (min(layers[0], last), min(layers[1], last)), key="discover_layers",
        help="A vector is added after the first layer; the second layer is where its effect is measured.",
    )  # fmt: skip
    st.plotly_chart(
        figures.stack(lm.n_layers, low, high, theme.palette()), key="discover_stack", theme=None,
        config={"displayModeBar": False, "staticPlot": True}, alt=f"A push after layer {low}, watched at layer {high}",
    )  # fmt: skip
    method = st.selectbox("Find them by", list(METHODS), format_func=METHODS.__getitem__, key="discover_method")
    st.caption(SAYS[method])
    n = st.slider("How many", 2, 16, 6, key="discover_n")
    with st.expander("More", key="discover_more"):
        length = st.number_input(
            "Length, in layer norms (0: calibrate it)", 0.0, 4.0, 0.0, 0.05, key="discover_length",
            help="Calibrated: where a quarter of what random directions do is no longer proportional to their length.",
        )  # fmt: skip
        inside = st.toggle(
            "Only in what the prompts span", key="discover_inside", disabled=method == "dct",
            help="Searches the directions that hold 95% of the prompts' activations (on-manifold). Inside the span one "
            "can still exaggerate: the push may go further than any text does.",
        )  # fmt: skip
        known = suitable(lm)
        named = st.multiselect(
            "Compare with the directions of", known, known if trained_here(lm.name) else known[:1],
            key="discover_named",
        )  # fmt: skip
        tokens = st.number_input("Tokens", 4, 128, 32, key="discover_tokens")
    prompts = tuple(part.strip("\n") for part in (text or "").split("\n---\n"))
    return Search(
        prompts, low, high, method, int(n), float(length) or None, 0.95 if inside and method != "dct" else None,
        tuple(named), int(tokens),
    )  # fmt: skip


def run(bench: Workbench, search: Search) -> Discovery | None:
    """Draw the button, the search in progress or how it ended; return the result once there is one."""
    name = search.job(bench.lm.name)
    return job_cards.on_demand(
        name, "Search", lambda: _start(bench, search, name), key="discover_go", disabled=not search.prompts[0].strip()
    )


def _start(bench: Workbench, search: Search, name: str) -> None:
    from ...measurements.discovery import discover
    from ...models.chat import chat
    from ...sites import Site

    lm, model = bench.lm, bench.lm.name
    if search.source >= search.target:
        raise ValueError("The layer that is watched comes after the one that is pushed; move the slider's ends apart.")
    prompts: list[Any] = [chat(text) if lm.has_chat_template else text for text in search.prompts]
    for prompt in prompts:
        lm.tokens(prompt)  # an empty or too long prompt is refused now
    source, target = Site(search.source, "resid_post"), Site(search.target, "resid_post")
    choice = _sae_at(bench, source)

    def work(job: Job) -> Discovery:
        desk = services.shelf().workbench(model, None, services.store())
        named = []
        for number, pairs in enumerate(search.named):
            job.tick(number, 10 * len(search.named), f"Reading {pairs.replace('_', ' ')} to compare with")
            with suppress(ValueError):  # a set that this model cannot read is not compared with
                named.append(desk.direction(Source(f"pairs:{pairs}", layer=search.source)))
        norm = None if search.length is None else search.length * desk.typical_norm(source)
        return discover(
            services.shelf().engine(model), prompts, source, target, method=search.method, n=search.n, norm=norm,
            energy=search.energy, named=named, max_new_tokens=search.tokens, tick=job.tick,
            sae=None if choice is None else services.shelf().sae(model, *choice),
        )  # fmt: skip

    services.start(name, work)
    st.rerun()


def _sae_at(bench: Workbench, source: Site) -> tuple[str, str] | None:
    """The SAE at a site: the visitor's own, or one that ships; None where there is none."""
    own = state.sae_choice(bench.lm.name)
    if own is not None and bench.sae is not None and bench.sae.site == source:
        return own
    return next((one for one in state.bundled_saes(bench.lm.name) if one[1] == str(source)), None)


# Shown --------------------------------------------------------------------------------------------------------------


def show(bench: Workbench, found: Discovery) -> None:
    """Draw the directions found, beside random ones: how far each moves the target, and what the model then writes."""
    real = [one for one in found.found if not one.random]
    chance = [sum(one.moved) / 2 for one in found.found if one.random]
    st.markdown(
        f"**{len(real)} directions at layer {found.source.layer}, each {found.norm / found.typical:.2f} of an "
        f"activation's length, in {found.seconds:.0f} s**"
    )
    st.caption(f"The search itself: {found.search_seconds:.1f} s, {found.passes} passes of a prompt.")
    figure = figures.reach(
        [_short(one) for one in real], [one.moved for one in real], chance, theme.palette(),
        y=f"how far layer {found.target.layer} moves",
    )  # fmt: skip
    chart(
        figure,
        title="Found directions move the later layer further than random ones"
        if chance and min(max(one.moved) for one in real) > max(chance)
        else "Not every found direction moves the later layer further than random ones",
        caption="Filled: plus, open: minus; all of one length. Band: random directions of that length.",
        key="discover_reach",
    )
    _table(found, _feature_names(bench, found))
    st.markdown("**What the model writes**")
    st.caption("Without steering:")
    st.text(found.baseline or "(nothing)")
    for number, group in _groups(real):
        if len(group) > 1:
            st.caption(f"Group {number}: these move layer {found.target.layer} the same way")
        for one in group:
            _card(bench, found, one)
    st.caption("Random directions of the same length, for comparison:")
    for one in (one for one in found.found if one.random):
        _card(bench, found, one)


def _short(one: FoundDirection) -> str:
    return one.direction.name.replace("jacobian ", "J").replace("melbo ", "M").replace("dct ", "D")


def _groups(real: list[FoundDirection]) -> Iterator[tuple[int, list[FoundDirection]]]:
    for number in dict.fromkeys(one.group for one in real):
        yield number, [one for one in real if one.group == number]


def _feature_names(bench: Workbench, found: Discovery) -> Callable[[int], str]:
    """A feature's number with its name, if an index of the SAE that was compared with is at hand."""
    choice = _sae_at(bench, found.source) if found.sae else None
    with suppress(ValueError):
        sae = None if choice is None else services.sae(bench.lm.name, choice)
        index = maybe_index(bench.lm, sae) if sae is not None and sae.name == found.sae else None
        if index is not None:
            return lambda number: f"{number} {index.name(number)}".strip()
    return str


def _table(found: Discovery, named: Callable[[int], str]) -> None:
    value = {"jacobian": "Singular value", "melbo": "Objective", "dct": "Weight"}[found.method]
    rows = [
        {
            "Direction": one.direction.name,
            value: None if one.random and found.method != "jacobian" else one.value,
            "On-manifold": one.share,
            "Group": one.group,
            "Resembles": ", ".join(f"{name} {cosine:+.2f}" for name, cosine in one.similar[:2]),
            **({"Features": ", ".join(f"{named(k)} {c:+.2f}" for k, c in one.features)} if found.sae else {}),
            "Makes likelier": " ".join(one.promoted[0][:3]),
            "Minus": " ".join(one.promoted[1][:3]),
        }
        for one in found.found
    ]
    st.dataframe(
        rows, hide_index=True, key="discover_table",
        column_config={
            value: st.column_config.NumberColumn(format="%.3g", help="What the method ranks by."),
            "On-manifold": st.column_config.NumberColumn(
                format="%.2f",
                help=f"The share of it in what texts span; {found.chance:.2f} for a random direction.",
            ),
            "Resembles": st.column_config.TextColumn(help="Cosine with directions made from pairs at the same layer."),
            "Features": st.column_config.TextColumn(
                help="Features of the layer's SAE that write most alike, with cosines. See what random ones reach."
            ),
        },
    )  # fmt: skip
    st.caption(
        f"A random direction has {found.chance:.2f} of itself on the manifold. Inside it a push can still exaggerate: "
        "further along an ordinary direction than any text goes."
    )


def _key(found: Discovery, one: FoundDirection) -> str:
    return f"discover_{found.method}_{one.direction.name.replace(' ', '_')}"


def _name_key(one: FoundDirection) -> str:
    return f"discover_name_{one.direction.fingerprint[:12]}"  # a name is not that of the next search's direction


def _card(bench: Workbench, found: Discovery, one: FoundDirection) -> None:
    key = _key(found, one)
    with st.container(border=True, gap="xsmall", key=f"{key}_card"):
        st.markdown(f"**{literal(one.direction.name)}**")
        for column, sign, text in zip(st.columns(2, gap="small"), ("plus", "minus"), one.texts, strict=True):
            column.caption(sign)
            column.text(text or "(nothing)")
        with st.container(horizontal=True, gap="small"), clear_errors():
            if st.button("Steer with this", key=f"{key}_steer", type="tertiary", icon=":material/arrow_outward:"):
                _send(bench, found, one, sending.steer_with)
            if st.button("Measure this", key=f"{key}_measure", type="tertiary", icon=":material/fact_check:"):
                _send(bench, found, one, lambda _, *variants: sending.measure_with(*variants))
            with st.popover("Save", icon=":material/bookmark_add:", type="tertiary", key=f"{key}_box"):
                name = st.text_input("Name", one.direction.name, key=_name_key(one), max_chars=80)
                if st.button("Save in the Library", key=f"{key}_save", type="primary"):
                    row = services.store().save_direction(one.direction, name or "")
                    st.toast(f"Saved as {literal(row.name)}. It is among the directions of every page.")


def _send(bench: Workbench, found: Discovery, one: FoundDirection, to: Callable[..., None]) -> None:
    """Open another page with the direction in both signs, at the length at which the texts were written."""
    row = services.store().save_direction(one.direction, st.session_state.get(_name_key(one)) or "")
    alpha = float(f"{found.norm / bench.typical_norm(found.source):.3g}")
    step = {"direction": f"saved:{row.id}", "layer": found.source.layer, "stream": found.source.stream}
    st.session_state["compare_prompt"] = st.session_state.get("discover_prompt", "").split("\n---\n")[0]
    to(bench.lm, *(Variant(f"{sign} {row.name}"[:80], (Step("add", alpha=a, **step),)) for sign, a in
                   (("+", alpha), ("−", -alpha))))  # fmt: skip
