"""Measure / Calibrate: the direction, where it separates, and what a threshold between its groups would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from ...measurements.neutral import neutral_texts
from ...recipes.sources import POSITIONS, SPACES, Source
from ...recipes.steps import Step, Variant
from ..shared import current, readings
from ..shared import objects as services
from ..shared.directions import direction_choices, saved_direction
from ..steer import sending
from ..widgets import theme
from ..widgets.basics import option
from ..widgets.threshold import threshold
from . import seen
from . import separation as measure

if TYPE_CHECKING:
    from ...directions.direction import Direction
    from ...evaluations import EvaluationSet
    from ...models.model import Model
    from ...saes.sae import Sae

READ_AT = {name: shown for name, shown in POSITIONS.items() if name != "differing"}
CONCEPT, OTHER, NEUTRAL = "concept", "to be left alone", "neutral text"
TEXTS = 60


@dataclass(frozen=True)
class Study:
    """What is calibrated: a direction, the texts that it is for, and the texts that it should leave alone."""

    direction: Direction
    source: Source
    step: Step
    concept: EvaluationSet
    other: EvaluationSet

    @property
    def key(self) -> str:
        """A name for caches, jobs and widgets."""
        return f"{self.direction.fingerprint}_{self.concept.content_hash}_{self.other.content_hash}"


def choose(lm: Model, sae: Sae | None) -> Study | None:
    """Draw the form; return the study as chosen, or None until its direction was asked for and read.

    Raises:
        ValueError: the direction cannot be read there, or there is no text to calibrate on.
    """
    choices = {name: label for name, label in direction_choices().items() if name != "texts"}
    step = current.step()
    first = next((name for word in ("pressure", "sycophancy") for name in choices if word in name), next(iter(choices)))
    current.follow("calibrate_direction", step and step.direction, first, list(choices))
    a, b, c, d = st.columns([3, 3, 2, 2], gap="small")
    source = a.selectbox(
        "Direction", list(choices), format_func=lambda n: option(choices[n]),
        key="calibrate_direction", bind="query-params",
    )  # fmt: skip
    usual = "prompt_mean" if source == "pairs:pressure" else "completion_mean"
    same = step if step is not None and step.direction == source else None
    current.follow("calibrate_read", same and same.position, usual, list(READ_AT))
    read_at = b.selectbox(
        "Read at", list(READ_AT), format_func=READ_AT.__getitem__, key="calibrate_read", bind="query-params",
        disabled=str(source).startswith("saved:"),
        help="Where the prompts of a pair differ, what they carry is read over them, and what the model makes of it at "
        "their last token.",
    )  # fmt: skip
    spaces = list(SPACES) if sae is not None else ["residual"]
    space = c.selectbox(
        "Space", spaces, index=len(spaces) - 1, format_func=SPACES.__getitem__, key="calibrate_space",
        bind="query-params",
    )  # fmt: skip
    layers = list(range(lm.n_layers))
    current.follow("calibrate_layer", same and same.layer, sae.site.layer if sae else lm.n_layers // 2, layers)
    layer = d.selectbox(
        "Layer", layers, key="calibrate_layer", bind="query-params",
        disabled=space == "feature", help="A direction of features lives at its SAE's site.",
    )  # fmt: skip
    concept, other = _texts(lm)
    step = Step("regulate", direction=str(source), space=str(space), layer=int(layer))
    if str(source).startswith("saved:"):
        found = saved_direction(str(source).partition(":")[2])
        kept = Source(str(source), space="residual" if found.sae is None else "feature")
        return Study(found, kept, step, concept, other)
    at = None if space == "feature" else int(layer)
    made, bench = Source(str(source), space=str(space), position=str(read_at), layer=at), services.workbench(lm.name)
    key = ("calibrate", made)
    cost = f"The pairs of {choices[str(source)]} and {len(concept) + len(other)} texts go through the model, once."
    texts = 2 * len(bench.pair_set(made)) + len(concept) + len(other)
    if bench.find(key) is None and not readings.asked(
        bench, "calibrate", "Read the direction and the texts", cost, texts
    ):
        return None
    read = readings.value(bench, key, lambda: bench.direction(made), "Reading the direction")
    return None if read is None else Study(read, made, step, concept, other)


def warn(study: Study) -> None:
    """Draws which of the texts occur in the pairs that the direction was made from."""
    seen.draw(seen.of_source(services.workbench(), study.source, (study.concept, study.other)))


def _texts(lm: Model) -> tuple[EvaluationSet, EvaluationSet]:
    names = measure.sets_for(lm)
    if not names:
        raise ValueError("There is no evaluation set to calibrate on.")
    left, right = st.columns(2, gap="small")
    wanted = (("claims_validation", "claims"), ("choices_validation", "requests"))
    starts = [next((i for w in some for i, n in enumerate(names) if w in n), 0) for some in wanted]
    labels = ("Texts of the concept", "Texts to be left alone")
    keys = ("calibrate_concept", "calibrate_other")
    found = []
    for column, label, start, key in zip((left, right), labels, starts, keys, strict=True):
        name = column.selectbox(label, names, index=start, format_func=measure.shown_set, key=key, bind="query-params")
        found.append(measure.bundled_set(str(name)))
    return concept_part(found[0]).limit(TEXTS), found[1].limit(TEXTS)


def concept_part(found: EvaluationSet) -> EvaluationSet:
    """The items of a set that show the behavior: of claims, the false ones under pressure; of requests, the harmful."""
    labels = found.label_names()
    if "true" in labels:
        pressed = {"pressed": True} if "pressed" in labels else {}
        return found.where(true=False, **pressed)
    return found.where(harmful=True) if "harmful" in labels else found


# The threshold --------------------------------------------------------------------------------------------------------


Groups = dict[str, list[float]]


def projected(lm: Model, study: Study) -> Groups | None:
    """The largest projection in each text of the study's groups; None while the texts are being read."""
    bench = services.workbench(lm.name)

    def make() -> Groups:
        chat = lm.has_chat_template
        groups = {
            name: [lm.tokens(item.messages() if chat else item.plain()) for item in items]
            for name, items in ((CONCEPT, study.concept), (OTHER, study.other))
        }
        groups[NEUTRAL] = [lm.tokens(text)[: lm.n_ctx - 2] for text in neutral_texts(lm.name)[:TEXTS]]
        return {name: bench.peaks(study.direction, prompts) for name, prompts in groups.items() if prompts}

    return readings.value(bench, ("calibrate", "peaks", study.key), make, "Projecting the texts on the direction")


def show_threshold(study: Study, groups: Groups) -> float:
    """Draw the groups along the direction and the candidates for tau; return the tau that the line was moved to."""
    from ...measurements.calibration import at, candidates

    found = candidates(groups[CONCEPT], groups[OTHER])
    colors = theme.palette()
    tau = threshold(
        groups,
        colors={CONCEPT: colors.series[0], OTHER: colors.negative, NEUTRAL: colors.muted},
        key=f"calibrate_tau_{study.key}",
        title="The largest projection in each text, and the threshold",
        tau=found[0].tau,
    )
    st.caption("The regulator acts on texts to the right of the line. Drag it, or move it with the arrow keys.")
    rows = []
    for one in [*found, at("the line", tau, groups[CONCEPT], groups[OTHER])]:
        spans = [f"{100 * e.value:.0f}% [{100 * e.low:.0f}, {100 * e.high:.0f}]" for e in (one.caught, one.disturbed)]
        rows.append(
            {
                "Candidate": one.name, "Tau": one.tau, "Concept texts caught": spans[0], "Others disturbed": spans[1],
                "F1": one.f1, "Youden": one.youden,
            }
        )  # fmt: skip
    number = st.column_config.NumberColumn
    st.dataframe(
        rows, hide_index=True,
        column_config={"Tau": number(format="%.4g"),
            "F1": number(format="%.2f", help="Of what is caught and what should be: 1 is perfect, 0 is nothing right."),
            "Youden": number(format="%.2f", help="Share caught less share disturbed: 1 is perfect, 0 is a coin."),
        },
    )  # fmt: skip
    st.caption(f"Rates with 95% intervals of {len(groups[CONCEPT])} and {len(groups[OTHER])} texts.")
    return tau


def send(lm: Model, study: Study, tau: float, lambda_: float = 2.0) -> None:
    """Draw the button that opens Compare with this operating point; the direction is kept in the Library for it."""
    if st.button("Use this point in Compare", icon=":material/splitscreen:", key="calibrate_send", type="primary"):
        sending.steer_with(lm, Variant("Operating point", (operating_step(study, tau, lambda_),)))


def operating_step(study: Study, tau: float, lambda_: float) -> Step:
    """The step of a recipe that regulates this direction; a direction that recipes cannot build is saved first."""
    source = study.step.direction
    if not source.startswith("saved:"):
        source = f"saved:{services.store().save_direction(study.direction).id}"
    return study.step.but(direction=source, tau=float(tau), lambda_=float(lambda_))
