"""The objects that all visitors share: models, SAEs, engines and jobs, each loaded once and handed out by name.

Cached functions live in this importable module, never on a page: page files are executed anew in every run.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from ...measurements.neutral import neutral_texts
from ...recipes.steps import position_of, shown_position
from ..widgets.basics import literal
from . import state

if TYPE_CHECKING:
    from ...directions.activations import Position
    from ...directions.direction import Direction
    from ...engine.engine import Engine
    from ...jobs.jobs import Job, Jobs
    from ...library.shelf import Shelf
    from ...library.store import Store
    from ...models.model import Model
    from ...saes.sae import Sae
    from ...sites import Site


@st.cache_resource(show_spinner="Starting Tiller: reading in torch and the model libraries, once per server")
def warm() -> bool:
    """True once the heavy libraries are imported.

    What they leave in memory is then taken out of the garbage collector's sight: walking it costs a third of a second
    per collection. Only imports are frozen; a frozen model's reference cycles would never be collected.
    """
    from ...library import shelf  # noqa: F401

    gc.collect()
    gc.freeze()
    return True


def _close(shelf: Shelf) -> None:
    shelf.close()


def _forget_directions() -> None:
    """Directions of features hold their SAE: when one is let go, they are made anew where they are wanted."""
    for made in (_direction, _direction_from_texts):
        made.clear()


@st.cache_resource(on_release=_close, show_spinner=False)
def shelf() -> Shelf:
    """The loaded models, engines and SAEs of this server, within its memory (or within TILLER_MEMORY_GB)."""
    from ...library.shelf import Shelf

    limit = os.environ.get("TILLER_MEMORY_GB", "")
    try:
        return Shelf(int(float(limit) * 2**30) if limit else None, _forget_directions)
    except ValueError as error:
        raise ValueError(f"TILLER_MEMORY_GB is a number of gigabytes; got {limit!r}.") from error


def model(name: str | None = None) -> Model:
    """The model of that name (by default the visitor's choice), loaded once for all visitors; never downloaded here.

    Raises:
        ValueError: it cannot be loaded; the message is one sentence to show.
    """
    warm()
    name = name or state.model_name()
    if state.must_be_asked(name):
        raise ValueError(f"{name} is not on this machine. Download it on the page Models.")
    if shelf().has(name):
        return shelf().model(name)
    with st.spinner(f"Loading the model {literal(name)}"):
        return shelf().model(name)


def engine(name: str | None = None) -> Engine:
    """The engine of that model: the one thread that runs it, shared by all visitors."""
    model(name)
    return shelf().engine(name or state.model_name())


def sae(name: str | None = None, choice: tuple[str, str] | None = None) -> Sae | None:
    """The SAE that the visitor chose (or the one named) for that model, or None where there is none.

    Raises:
        ValueError: it is not on this machine, cannot be read or does not fit the model.
    """
    name = name or state.model_name()
    model(name)
    choice = choice or state.sae_choice(name)
    return None if choice is None else shelf().sae(name, *choice)


@st.cache_resource(show_spinner=False)
def jobs() -> Jobs:
    """The background jobs of this server."""
    from ...jobs.jobs import Jobs

    return Jobs()


def start(name: str, work: Callable[[Job], Any]) -> Job:
    """Starts a background job on the visitor's model, which is not let go while the job is under way."""
    job = jobs().start(name, work)
    shelf().use(state.model_name(), lambda: job.active)
    return job


@st.cache_resource(show_spinner=False)
def transfers() -> Jobs:
    """The jobs that download and load; apart from the others, so that none of them waits for a long measurement."""
    from ...jobs.jobs import Jobs

    return Jobs(workers=2)


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """The saved directions and runs (TILLER_HOME, by default in the user's data directory)."""
    from ...library.store import Store

    return Store()


def require_model() -> Model:
    """The visitor's model; where it cannot be loaded, one clear sentence and the end of the page."""
    try:
        return model()
    except ValueError as error:
        st.error(str(error))
        st.page_link(state.MODELS_PAGE, label="Choose or download a model", icon=":material/deployed_code:")
        st.stop()


def require_sae() -> Sae:
    """The visitor's SAE; where there is none, what to do about it and the end of the page."""
    try:
        found = sae()
    except ValueError as error:
        st.error(str(error))
        st.stop()
    if found is None:
        st.info(
            f"This page needs a sparse autoencoder (SAE), and none is loaded for {state.model_name()}. "
            "Choose one in the sidebar, or find one among all that are published."
        )
        st.page_link(state.MODELS_PAGE, label="Find an SAE", icon=":material/deployed_code:")
        st.stop()
    return found


def maybe_sae() -> Sae | None:
    """The visitor's SAE or None; an SAE that cannot be loaded counts as none (the sidebar says why)."""
    try:
        return sae()
    except ValueError:
        return None


@st.cache_data(max_entries=256, show_spinner=False)
def _typical_norm(model_name: str, layer: int, stream: str) -> float:
    from ...sites import Site

    lm = shelf().model(model_name)
    site = Site(layer, stream)
    prompts = [lm.tokens(text) for text in neutral_texts(model_name)[:16]]
    found, mask = lm.activations([p[: lm.n_ctx - 1] for p in prompts], [site])
    mask[range(len(prompts)), mask.long().argmax(-1)] = False  # the first token's norm is far off in most models
    return float(found[site].norm(dim=-1)[mask].median())


def typical_norm(site: Site, model_name: str | None = None) -> float:
    """The median norm of the activations at a site on neutral text: the unit in which alpha is chosen."""
    name = model_name or state.model_name()
    model(name)
    return _typical_norm(name, site.layer, site.stream)


# Directions ---------------------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=128, show_spinner="Reading the direction of {pairs} from the model")
def _direction(
    model_name: str, pairs: str, contrast: str, site: Site, sae_choice: tuple[str, str] | None, position: Position
) -> Direction:
    from ...directions.contrasts import CONTRASTS
    from ...directions.pairs import PairSet, bundled_pairs

    if pairs not in bundled_pairs():  # a link may name anything, and must not make the server read that file
        raise ValueError(f"There is no pair set {pairs!r}; there are {', '.join(bundled_pairs()) or 'none'}.")
    sae = None if sae_choice is None else shelf().sae(model_name, *sae_choice)
    made = CONTRASTS[contrast](shelf().model(model_name), PairSet.load(pairs), site, sae=sae, position=position)
    how = "" if contrast == "mean_difference" else f", {contrast}"
    how += "" if position == "completion_mean" else f", {shown_position(str(position)).lower()}"
    return replace(made, name=f"{pairs}, layer {site.layer}{'' if sae is None else ' features'}{how}")


def direction_from_pairs(
    name: str, pairs: str, contrast: str, site: Site, sae: Sae | None, position: str = "completion_mean"
) -> Direction:
    """The direction of a bundled pair set, made once for all visitors; `position` may be an index as text."""
    model(name)
    where: Position = position_of(position)  # type: ignore[assignment]
    return _direction(name, pairs, contrast, site, _choice_of(name, sae), where)


def _choice_of(name: str, sae: Sae | None) -> tuple[str, str] | None:
    return None if sae is None else state.sae_choice(name)


@st.cache_resource(max_entries=64, show_spinner=False)
def _direction_from_texts(
    model_name: str, positive: str, negative: str, site: Site, sae_choice: tuple[str, str] | None
) -> Direction:
    from ...directions.contrasts import mean_difference
    from ...directions.pairs import PairSet

    pairs = PairSet.from_lists([positive], [negative], name=f"“{_start(positive)}” − “{_start(negative)}”")
    sae = None if sae_choice is None else shelf().sae(model_name, *sae_choice)
    return mean_difference(shelf().model(model_name), pairs, site, sae=sae)


def _start(text: str) -> str:
    words = text.split()
    return " ".join(words[:4]) + ("…" if len(words) > 4 else "")


def direction_from_texts(name: str, positive: str, negative: str, site: Site, sae: Sae | None) -> Direction:
    """The difference of two texts' mean activations."""
    model(name)
    return _direction_from_texts(name, positive, negative, site, _choice_of(name, sae))


def saved_direction(id: str) -> Direction:
    """A direction of the Library; one in feature space is read with the visitor's SAE."""
    row = store().direction_row(id)
    return store().direction(id, require_fitting_sae() if row.space == "features" else None)


def require_fitting_sae() -> Sae:
    """The visitor's SAE.

    Raises:
        ValueError: there is none.
    """
    found = maybe_sae()
    if found is None:
        raise ValueError("This direction is in the features of an SAE, and none is loaded. Choose it in the sidebar.")
    return found


@st.cache_data(max_entries=256, show_spinner=False)
def _class_projections(model_name: str, pairs: str, fingerprint: str, _direction: Direction) -> dict[str, list[float]]:
    from ...directions.activations import of_pairs
    from ...directions.pairs import PairSet, bundled_pairs

    direction, lm = _direction, shelf().model(model_name)
    unit = direction.vector / direction.norm
    groups = {}
    if pairs in bundled_pairs():
        position = direction.provenance.get("position", "completion_mean")
        read = of_pairs(lm, PairSet.load(pairs), [direction.site], sae=direction.sae, position=position)
        sides = read[direction.site]
        groups = {
            name: (side.float() @ unit).tolist() for name, side in zip(("positive", "negative"), sides, strict=True)
        }
    prompts = [lm.tokens(text)[: lm.n_ctx - 1] for text in neutral_texts(model_name)[:16]]
    h, mask = lm.activations(prompts, [direction.site])
    x = h[direction.site] if direction.sae is None else direction.sae.encode(h[direction.site])
    mask[range(len(prompts)), mask.long().argmax(-1)] = False
    groups["neutral"] = (x.float().cpu() @ unit)[mask.cpu()].tolist()
    return groups


def class_projections(name: str, source: str, direction: Direction) -> dict[str, list[float]]:
    """Projections of the two classes of a pair set (its completions' means) and of neutral tokens on a direction."""
    model(name)
    known = dict(direction.provenance.get("pairs") or {}).get("name", "")
    pairs = source.removeprefix("pairs:") if source.startswith("pairs:") else str(known)
    return _class_projections(name, pairs, direction.fingerprint, direction)


def cosines(directions: list[Direction]) -> list[list[float]]:
    """Cosine of every direction with every other, in the residual stream."""
    import torch

    rows = torch.stack([d.decoded() / d.decoded().norm() for d in directions])
    return (rows @ rows.T).tolist()


@st.cache_data(max_entries=32, show_spinner="Reading the direction at every layer")
def _across_layers(model_name: str, pairs: str, stream: str, position: Position) -> tuple[list[str], list[list[float]]]:
    from ...directions.activations import of_pairs
    from ...directions.direction import Direction
    from ...directions.pairs import PairSet
    from ...sites import Site

    lm = shelf().model(model_name)
    sites = [Site(layer, stream) for layer in range(lm.n_layers)]
    read = of_pairs(lm, PairSet.load(pairs), sites, position=position)
    found = [Direction(read[site][0].mean(0) - read[site][1].mean(0), site) for site in sites]
    return [f"layer {site.layer}" for site in sites], cosines(found)


def across_layers(name: str, pairs: str, direction: Direction) -> tuple[list[str], list[list[float]]]:
    """Names of the layers, and the cosines between a pair set's mean differences, read as the direction's was."""
    model(name)
    position = direction.provenance.get("position", "completion_mean")
    return _across_layers(name, pairs, direction.site.stream, position)


def direction_choices() -> dict[str, str]:
    """What a recipe's step can choose from, value -> shown name: bundled pair sets, saved directions, two texts."""
    from ...directions.pairs import bundled_pairs

    lm = model()
    # The bundled model's sets are written in its small language; the general ones are plain English.
    own = lm.name == state.DEFAULT_MODEL
    names = [name for name in bundled_pairs() if name.startswith("general_") != own]
    found = {f"pairs:{name}": name.removeprefix("general_").replace("_", " ") for name in names}
    for row in store().directions():
        if row.model in ("", lm.name):
            found[f"saved:{row.id}"] = f"{row.name} (saved)"
    return {**found, "texts": "Two texts of your own"}
