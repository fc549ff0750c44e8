"""One step for every method and every option that it declares, so that no test leaves one out by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from steering.interventions.knobs import (
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
from steering.interventions.protocol import METHODS
from steering.recipes.sources import Source
from steering.recipes.steps import WHERE, Step

TEXTS = {"positive": "the king is here", "negative": "one bird sat"}


def usual(method: str, pairs: str) -> dict[str, Any]:
    """Settings with which a method does something, whatever it is."""
    found: dict[str, Any] = {}
    setup = METHODS[method].setup
    for knob in setup.knobs:
        if isinstance(knob, Vector) and knob.name == "direction":
            found |= {"direction": f"pairs:{pairs}", "layer": 1, "space": knob.spaces[0]}
        elif isinstance(knob, Vector) and knob.default == "pairs:":
            found[knob.name] = Source(f"pairs:{pairs}", layer=0)
        elif isinstance(knob, AtSite):
            found |= {"layer": 1}
        elif isinstance(knob, Words):
            found[knob.name] = TEXTS["positive" if knob == setup.of(Words)[0] else "negative"]
        elif isinstance(knob, Features):
            found["features"] = {3: 6.0, 17: -4.0}
        elif isinstance(knob, Number):
            found[knob.name] = 0.3 if knob.unit == PROJECTION else 0.7 * knob.high
        elif isinstance(knob, Inner):
            found[knob.name] = Step("add", direction="texts", alpha=1.5, layer=2, **TEXTS)
    return found


def every_step(pairs: str, saved: str) -> Iterator[tuple[str, Step]]:
    """A name and a step for every method, option, token range, contrast, position and kind of direction.

    Args:
        pairs: the name of a pair set, or the place of its file.
        saved: the id of a saved direction in the residual stream.
    """
    for method, kind in METHODS.items():
        base = Step(method, **usual(method, pairs))
        yield method, base
        for where in list(WHERE)[1:]:
            yield f"{method}, {where}", base.but(where=where)
        yield f"{method}, start", base.but(start=2)
        for knob in kind.setup.knobs:
            space = {"space": "feature"} if getattr(knob, "only", "") else {}
            if isinstance(knob, OneOf):
                for value in knob.options:
                    yield f"{method}, {knob.name} {value}", base.but(**{knob.name: value}, **space)
            elif isinstance(knob, Flag):
                yield f"{method}, {knob.name}", base.but(**{knob.name: not knob.default}, **space)
            elif isinstance(knob, Number) and knob.unit == NORMS:
                yield f"{method}, {knob.name} raw", base.but(**{f"{knob.name}_raw": 3.25})
            elif isinstance(knob, Number) and knob.default is None:
                yield f"{method}, {knob.name} found", base.but(**{knob.name: None})
            elif isinstance(knob, Words) and not knob.required:
                yield f"{method}, no {knob.name}", base.but(**{knob.name: ""})
            elif isinstance(knob, Vector) and knob.name == "direction":
                yield from directions(method, base, knob, saved)
            elif isinstance(knob, Vector):
                other = Source("texts", layer=1, **TEXTS)
                yield f"{method}, {knob.name} of texts", base.but(**{knob.name: other})
            elif isinstance(knob, Within):
                yield f"{method}, {knob.name}", base.but(**{knob.name: "a cat sat\n\nthe dog looked up", knob.count: 3})
            elif isinstance(knob, Inner):
                inside = Step("regulate", **usual("regulate", pairs) | {"tau": None, "where": "generated"})
                yield f"{method}, {knob.name} regulate", base.but(**{knob.name: inside})


def directions(method: str, base: Step, knob: Vector, saved: str) -> Iterator[tuple[str, Step]]:
    """The step with its direction from everywhere, made and read in every way."""
    if "feature" in knob.spaces:
        yield f"{method}, feature", base.but(space="feature")
        yield f"{method}, top 5 features", base.but(space="feature", top_k=5)
    if "residual" in knob.spaces:
        yield f"{method}, texts", base.but(direction="texts", **TEXTS)
        yield f"{method}, saved", base.but(direction=f"saved:{saved}")
        yield f"{method}, middle layer", base.but(layer=None)
        yield f"{method}, resid_mid", base.but(stream="resid_mid")
    if method != "add":
        return
    for contrast in ("pca", "probe", "lda"):
        yield f"{method}, {contrast}", base.but(contrast=contrast)
    for position in ("prompt_mean", "prompt_last", "last", "-1"):
        yield f"{method}, {position}", base.but(position=position)
