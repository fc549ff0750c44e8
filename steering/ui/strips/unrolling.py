"""A slider unrolled on a page: its strip is written in the background while its texts grow on screen, and is kept.

One strip serves every visitor of the model who asks for the same: it is kept on the workbench.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...interventions.knobs import NORMS, PROJECTION
from ...recipes.doses import Dial, built, moved, strengths, value_of
from ...recipes.steps import Variant, to_data
from ...showing.player import PARTS, player_data, said
from ..shared import job_cards, readings
from ..shared import objects as services
from ..widgets.basics import literal
from ..widgets.player import player
from . import roads

if TYPE_CHECKING:
    from ...engine.completion import Completion
    from ...jobs.jobs import Job
    from ...measurements.dose_strip import DoseStrip
    from ...models.model import Prompt
    from ...recipes.workbench import Workbench

POLL = 0.25  # seconds between two looks at texts that are being written


@dataclass(frozen=True)
class Asked:
    """What a strip is asked for.

    Attributes:
        prompt: what the visitor wrote.
        answer: a word that the turned answer has; "" where a new first sentence counts.
    """

    prompt: str
    variant: Variant
    dial: Dial
    chat: bool = False
    max_new_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    steer_bos: bool = False
    answer: str = ""

    @property
    def key(self) -> tuple:
        """What the strip depends on besides the workbench; where its slider stands is no part of it, its side is."""
        value = value_of(self.variant, self.dial)
        side = -1 if isinstance(value, float) and value < 0 else 1
        still = moved(self.variant, self.dial, float(side)) if self._movable(side) else self.variant
        steps = repr(to_data((replace(still, name=""),)))
        settings = (self.chat, self.max_new_tokens, self.temperature, self.top_p, self.seed, self.steer_bos)
        return ("strip", self.prompt, steps, self.dial.key, self.answer, settings)

    def _movable(self, side: int) -> bool:
        return self.dial.knob.fits(side)

    @property
    def said(self) -> Prompt:
        """The prompt as the model is given it."""
        return [{"role": "user", "content": self.prompt}] if self.chat else self.prompt

    @property
    def how(self) -> dict[str, Any]:
        """The settings of its requests."""
        names = ("max_new_tokens", "temperature", "top_p", "seed", "steer_bos")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Look:
    """How a strip is drawn: see `showing.player.player_data`."""

    label: str = ""
    plain: str = "Without steering"
    steered: str = "Steered with"
    signed: bool = True
    what: str = "push"
    parts: Sequence[str] = PARTS
    can: Sequence[str] = ("road",)
    guess: bool = False
    large: bool = False
    idle: str = ""


# Written in the background ------------------------------------------------------------------------------------------


def find(bench: Workbench, asked: Asked) -> DoseStrip | None:
    """The strip if it was written before; nothing is computed."""
    return bench.find(asked.key)


def begin(bench: Workbench, asked: Asked) -> Job:
    """The job that writes a strip: the one under way, or a new one."""
    name = _name(bench, asked)
    job = services.newest(name, services.readings())
    if job is not None and (job.active or (job.state != "done" and not _again(job))):
        return job
    return services.start(name, _work(bench, asked), services.readings())


def hashed(bench: Workbench, asked: Asked) -> str:
    """A short name of what is asked for, of this model."""
    return hashlib.sha256(repr((bench.lm.fingerprint, asked.key)).encode()).hexdigest()[:10]


def _name(bench: Workbench, asked: Asked) -> str:
    return f"Writing at several strengths {hashed(bench, asked)}"


AGAIN = "strip_again"


def _again(job: Job) -> bool:
    return st.session_state.pop(AGAIN, None) == job.id


def _work(bench: Workbench, asked: Asked) -> Callable[[Job], None]:
    def work(job: Job) -> None:
        from ...engine.engine import Engine
        from ...jobs.jobs import for_a_visitor
        from ...measurements.dose_strip import measured, refined, requests

        assert isinstance(bench.engine, Engine)
        job.tick(note="Measuring the layer")
        values = strengths(bench, asked.variant, asked.dial)
        steps = built(bench, asked.variant, asked.dial, values)
        wanted = requests(asked.said, steps.__getitem__, values, **asked.how)
        with for_a_visitor():
            handles = dict(zip(wanted, bench.engine.submit_all(list(wanted.values())), strict=True))
        job.partial.append(handles)
        job.tick(note=f"Writing {len(handles)} answers at once")
        strip = measured(bench.engine, handles, asked.answer)
        job.partial.append(strip)
        job.tick(note="Looking closer where it turns and where it breaks")
        try:
            variant = lambda value: built(bench, asked.variant, asked.dial, [value])[value]  # noqa: E731
            strip = refined(bench.engine, asked.said, variant, strip, **asked.how)
        finally:  # what is there when it is stopped is a whole strip
            bench.kept(asked.key, lambda: strip)

    return work


# Drawn --------------------------------------------------------------------------------------------------------------


def draw(bench: Workbench, asked: Asked, look: Look, *, key: str) -> None:
    """Draw a strip, and while it is being written its texts as they grow, with how far it is and a way to stop it.

    Session state holds under `{key}_strength` the strength whose button was pressed ("Steer with ...").
    """
    job = None if find(bench, asked) is not None else begin(bench, asked)
    if job is not None:
        end = time.monotonic() + readings.QUICK
        while job.active and time.monotonic() < end:
            st.session_state.get("_")  # lets Streamlit end this run here when the visitor has changed something
            time.sleep(0.01)
    taken = roads.under_way(key)
    busy = bool(taken) or (job is not None and job.active)

    @st.fragment(run_every=POLL if busy else None)
    def view() -> None:
        strip = find(bench, asked)
        if strip is not None:
            if busy and not any(road.active for road in taken):
                st.rerun()
            _played(bench, asked, look, strip, key)
        elif job is not None and job.active:
            _growing(bench, asked, look, job, key)
        elif job is not None:
            if busy:
                st.rerun()
            _over(job)

    view()


def _played(bench: Workbench, asked: Asked, look: Look, strip: DoseStrip, key: str) -> None:
    data = data_of(bench, asked, look, strip)
    pressed = player(data, key=key)
    if pressed is not None and pressed[0] == "use":
        st.session_state[f"{key}_strength"] = strip.doses[pressed[1]].strength
        st.rerun()
    if pressed is not None and pressed[0] == "road":
        _take_road(bench, asked, strip, pressed[1], key)
        st.rerun()


def _take_road(bench: Workbench, asked: Asked, strip: DoseStrip, index: int, key: str) -> None:
    dose = strip.doses[index]
    strength = dose.strength
    if strength is not None and dose.parting is not None:
        variant = lambda: built(bench, asked.variant, asked.dial, [strength])[strength]  # noqa: E731
        before = strip.doses[0].tokens
        roads.take(bench, (asked.key, strength), asked.said, variant, before, dose.parting, asked.how, page=key)


def data_of(bench: Workbench, asked: Asked, look: Look, strip: DoseStrip) -> dict[str, Any]:
    """A strip as the data of a player."""
    return player_data(
        strip.to_data(), best=strip.best, from_zero=from_zero(asked, strip),
        roads=_roads(bench, asked, look, strip), **_look(bench, asked, look),
    )  # fmt: skip


def from_zero(asked: Asked, strip: DoseStrip) -> bool:
    """Whether a strength of zero is the baseline; a feature set to zero is switched off, and the baseline is not."""
    return strip.from_zero and asked.dial.feature is None


def _roads(bench: Workbench, asked: Asked, look: Look, strip: DoseStrip) -> dict[str, roads.Road]:
    """The roads that were taken, by strength as it is written."""
    found = {dose.strength: roads.find(bench, (asked.key, dose.strength)) for dose in strip.doses}
    zero = from_zero(asked, strip)
    return {said(strength, zero, look.signed): road for strength, road in found.items() if road is not None}


def _look(bench: Workbench, asked: Asked, look: Look) -> dict[str, Any]:
    knob = asked.dial.knob
    return {
        "label": look.label or knob.label, "unit": knob.unit if knob.unit == NORMS else "",
        "plain": look.plain, "steered": look.steered,
        "signed": look.signed, "parts": look.parts, "can": look.can, "guess": look.guess, "large": look.large,
        "drawing": drawing_of(bench, asked, look.what), "idle": look.idle, "asked": hashed(bench, asked),
    }  # fmt: skip


def drawing_of(bench: Workbench, asked: Asked, what: str = "push") -> dict[str, Any] | None:
    """What the drawing shows: the prompt's last words, the layers, the one that is steered; None without a site."""
    shown = {"before": asked.prompt.split()[-9:], "layers": bench.lm.n_layers, "what": what}
    step = asked.variant.steps[asked.dial.step]
    step = getattr(step, asked.dial.inner) if asked.dial.inner else step
    try:
        if asked.dial.feature is not None:
            return {**shown, "layer": bench.need_sae("Steering features").site.layer}
        site = bench.site(step.source(_main(step))) if step.sources else bench.site_of(step.layer, step.stream)
    except (ValueError, AttributeError, StopIteration):
        return None
    return {**shown, "layer": site.layer}


def _main(step: Any) -> Any:
    from ...interventions.knobs import Vector

    return next(knob for knob in step.setup.knobs if isinstance(knob, Vector))


def before(bench: Workbench, asked: Asked, look: Look, *, key: str) -> None:
    """Draw the slider and the drawing before anything was written; only the arrow moves yet."""
    if asked.dial.knob.unit == PROJECTION:  # where a threshold's strengths lie is read from its pairs
        st.caption(look.idle)
        return
    player(_empty(bench, asked, look), key=f"{key}_before")


def _empty(bench: Workbench, asked: Asked, look: Look) -> dict[str, Any]:
    """The data of a player whose texts are not written yet."""
    values = [None, *strengths(bench, asked.variant, asked.dial)]
    doses = [{"strength": value, "text": ""} for value in values]
    now = min(range(len(values)), key=lambda k: abs((values[k] or 0.0) - _now(asked)))
    parts = [part for part in look.parts if part in ("drawing", "dial", "cards")]
    return player_data({"doses": doses}, best=now, running=True, **{**_look(bench, asked, look), "parts": parts})


def _growing(bench: Workbench, asked: Asked, look: Look, job: Job, key: str) -> None:
    done = [one for one in job.partial if not isinstance(one, dict)]
    if done:
        player(data_of(bench, asked, look, done[-1]), key=key)
    elif job.partial:
        player(_unfinished(bench, asked, look, job.partial[0]), key=key)
    else:
        before(bench, asked, look, key=key)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        job_cards.stop_button(job, "Stop", f"{key}_stop")
        st.caption(literal(_says(job, asked)), width="content")


def _says(job: Job, asked: Asked) -> str:
    handles: dict[float | None, Completion] = next((one for one in job.partial if isinstance(one, dict)), {})
    if handles and len(job.partial) == 1:
        words = max(len(handle.tokens) for handle in handles.values())
        return f"{job.note}: token {words} of at most {asked.max_new_tokens}{job_cards.so_far(job)}"
    return f"{job.note or 'Waiting for its turn'}{job_cards.so_far(job)}"


def _unfinished(bench: Workbench, asked: Asked, look: Look, handles: dict[float | None, Completion]) -> dict[str, Any]:
    doses = [{"strength": strength, "text": handle.text} for strength, handle in handles.items()]
    near = min(range(len(doses)), key=lambda k: abs((doses[k]["strength"] or 0.0) - _now(asked)))
    return player_data({"doses": doses}, best=near, running=True, **_look(bench, asked, look))


def _now(asked: Asked) -> float:
    value = value_of(asked.variant, asked.dial)
    return value if isinstance(value, float) else 0.0


def _over(job: Job) -> None:
    if job.state == "failed":
        known = isinstance(job.error, ValueError)
        st.error(literal(str(job.error) if known else f"It stopped unexpectedly: {type(job.error).__name__}.", 600))
    else:
        st.caption("Stopped before the answers were written.")
    st.button("Write it again", key=f"again_{job.id}", icon=":material/replay:", on_click=_ask_again, args=(job.id,))


def _ask_again(job: str) -> None:
    st.session_state[AGAIN] = job
