"""What a lesson's pieces show on a model: read once, as plain JSON data that is drawn without the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..directions.activations import of_pairs
from ..engine.requests import Request
from ..features.index import FeatureIndex, locate
from ..interventions.knobs import Vector
from ..jobs.files import home
from ..measurements.dose_strip import measured
from ..models.chat import chat
from ..recipes.building import build
from ..recipes.controls import controls
from ..recipes.sources import Source
from ..recipes.steps import Step, Variant
from ..recipes.workbench import Workbench
from ..saes.loading import load_sae
from .pieces import FeatureCard, Piece, Plane, Projections, RandomPushes, Similarity, StripPiece, TextsPiece

if TYPE_CHECKING:
    from ..engine.engine import Engine

DIGITS = 4


def _engine(bench: Workbench) -> Engine:
    if bench.engine is None:
        raise ValueError("A lesson's pieces are read by an engine; make the workbench of one: Workbench(engine).")
    return bench.engine


def _prompt(bench: Workbench, text: str) -> Any:
    return chat(text) if bench.lm.has_chat_template else text


def _rounded(values: Any) -> list[float]:
    return [round(float(value), DIGITS) for value in values]


def strip_requests(bench: Workbench, piece: StripPiece, values: tuple[float, ...] | None = None) -> list[Request]:
    """One request a strength, at zero without steering; for a strip that is written while somebody watches."""
    if piece.sae:
        bench = Workbench(_engine(bench), load_sae(bench.lm, bench.lm.name, piece.sae))
    made = []
    for value in piece.values if values is None else values:
        setting = dict.fromkeys(piece.step.features, value) if piece.axis == "features" else value
        step = piece.step.but(**{piece.axis: setting})
        steps = () if value == 0 else build(bench, Variant("", (step,))).interventions
        made.append(Request(_prompt(bench, piece.prompt), interventions=steps, max_new_tokens=piece.tokens))
    return made


def strip(bench: Workbench, piece: StripPiece) -> dict[str, Any]:
    """Texts, surprise under the unsteered model, and where the answer turns and where the text breaks."""
    engine = _engine(bench)
    strengths = [None if value == 0 else value for value in piece.values]
    handles = dict(zip(strengths, engine.submit_all(strip_requests(bench, piece)), strict=True))
    found = measured(engine, handles, piece.wanted)
    return {
        "values": [dose.strength or 0.0 for dose in found.doses],
        "texts": [dose.text for dose in found.doses],
        "surprise": _rounded(dose.surprise for dose in found.doses),
        "turns": found.turn,
        "breaks": found.breaks,
        "agree": not any(dose.problems for dose in found.doses),
    }


def texts(bench: Workbench, piece: TextsPiece) -> dict[str, Any]:
    """For every prompt the text without steering and under each step."""
    built = [(), *(build(bench, Variant("", (step,))).interventions for step in piece.steps)]
    asked = [
        Request(_prompt(bench, prompt), interventions=steps, max_new_tokens=piece.tokens)
        for prompt in piece.prompts
        for steps in built
    ]
    handles = [handle.result() for handle in _engine(bench).submit_all(asked)]
    rows = [handles[i : i + len(built)] for i in range(0, len(handles), len(built))]
    return {
        "names": ["No steering", *(piece.names or [step.setup.title for step in piece.steps])],
        "rows": [[handle.text for handle in row] for row in rows],
        "agree": all(receipt.agrees for handle in handles for receipt in handle.receipts),
    }


def projections(bench: Workbench, piece: Projections) -> dict[str, Any]:
    """The projections of both sides of the pairs on their direction."""
    direction = bench.direction(piece.step.source(_vector(piece.step)))
    groups = bench.projections(direction)
    return {
        "positive": _rounded(groups.get("positive", [])),
        "negative": _rounded(groups.get("negative", [])),
        "midpoint": round(bench.midpoint(direction), DIGITS),
        "norm": round(direction.norm, DIGITS),
    }


def _vector(step: Step) -> Any:
    return step.setup.of(Vector)[0]


def plane(bench: Workbench, piece: Plane) -> dict[str, Any]:
    """Activations of both sides in the plane of their difference and of what varies most beside it, in layer norms.

    The first axis is the difference of the means; the second the first principal component of what is left.
    """
    source = piece.step.source(_vector(piece.step))
    site, pairs = bench.site(source), bench.pair_set(source)
    sides = of_pairs(bench.lm, pairs, [site], position=source.read_at)[site]
    positive, negative = (side.double() for side in sides)
    first = positive.mean(0) - negative.mean(0)
    length = first.norm()
    first = first / length
    both = torch.cat([positive, negative])
    centered = both - (positive.mean(0) + negative.mean(0)) / 2
    rest = centered - (centered @ first)[:, None] * first
    second = torch.linalg.svd(rest, full_matrices=False).Vh[0]
    points = torch.stack([centered @ first, centered @ second], -1)
    scale = float(points.abs().quantile(0.98))
    points = points / scale
    return {
        "positive": [_rounded(point) for point in points[: len(positive)]],
        "negative": [_rounded(point) for point in points[len(positive) :]],
        "difference": round(float(length) / scale, DIGITS),
    }


def random_pushes(bench: Workbench, piece: RandomPushes) -> dict[str, Any]:
    """By how many nats each prompt's answer moves toward one text and away from another, really and at random."""
    engine = _engine(bench)
    built = build(bench, Variant("", (piece.step,))).interventions
    arms = [(), built, *(controls(bench, built, seed) for seed in range(piece.seeds))]
    items = [
        (_prompt(bench, prompt), answer, arm)
        for arm in arms
        for prompt, to, away in zip(piece.prompts, piece.to, piece.away, strict=True)
        for answer in (to, away)
    ]
    scored = [sum(one) for one in engine.score_all(items)]
    n = len(piece.prompts)
    lean = [scored[2 * i] - scored[2 * i + 1] for i in range(len(arms) * n)]  # log P(to) - log P(away)
    mean = [sum(lean[i * n : (i + 1) * n]) / n for i in range(len(arms))]
    return {"real": round(mean[1] - mean[0], DIGITS), "random": _rounded(m - mean[0] for m in mean[2:])}


def similarity(bench: Workbench, piece: Similarity) -> dict[str, Any]:
    """Cosines between the directions of pair sets at one layer."""
    found = [bench.direction(Source(direction=f"pairs:{name}", layer=piece.layer)) for name in piece.pairs]
    units = torch.stack([direction.vector.double() / direction.norm for direction in found])
    return {"names": list(piece.pairs), "cosines": [_rounded(row) for row in units @ units.T]}


def feature(bench: Workbench, piece: FeatureCard) -> dict[str, Any]:
    """The strongest examples of a feature of a bundled SAE, and the tokens that it makes likely."""
    sae = load_sae(bench.lm, bench.lm.name, piece.sae)
    index = FeatureIndex.open(locate(sae, bench.lm, home()))
    found = index.feature(piece.feature)
    examples = found.bands[0].examples[:6]
    return {
        "examples": [
            {"tokens": list(one.tokens), "activations": _rounded(one.activations), "peak": one.peak} for one in examples
        ],
        "promoted": [one.text for one in found.promoted[:8]],
        "maximum": round(found.maximum, DIGITS),
        "density": round(found.density, 6),
    }


_READ: dict[type[Piece], Any] = {
    StripPiece: strip,
    TextsPiece: texts,
    Projections: projections,
    Plane: plane,
    RandomPushes: random_pushes,
    Similarity: similarity,
    FeatureCard: feature,
}


def read(bench: Workbench, piece: Piece) -> dict[str, Any]:
    """What a piece shows on a workbench's model, as JSON data.

    Raises:
        ValueError: a setting does not fit the model; the message is one sentence.
    """
    return _READ[type(piece)](bench, piece)
