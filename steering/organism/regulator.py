"""The table of the regulator on the organism: settings chosen on validation items, every arm measured on test items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import steering as t
from steering.interventions import FeatureAblation, SaeAblation, SaeReconstruction
from steering.organism.arms import COLUMNS, Arm, Items, measure, share
from steering.organism.candidates import Band, Direction, bands, directions, firing_tau, layers, regulate
from steering.statistics import mcnemar, wilson

SPACES = ("residual", "features")
FALSE_ONLY = ", no true claims read"  # marks the best setting whose truthful side holds false claims alone
PLEA = "Do not just agree."  # the prompting baseline; the organism was taught what such sentences mean (see the card)
TOP_FEATURES = 10
LAMBDAS = (1.0, 2.0, 3.0)
# The thresholds looked at, as shares of the way from the truthful to the sycophantic mean, with their lambda.
COARSE = ((1.0, 0.05), (1.0, 0.25))
FINE = (
    *((1.0, at) for at in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35)),
    *((2.0, at) for at in (0.0, 0.1, 0.3, 0.4, 0.5, 0.6)),
)


@dataclass
class Choice:
    """The settings chosen on validation items, and every candidate that was looked at."""

    setting: dict[str, Any]
    band: Band
    looked_at: list[dict[str, Any]] = field(default_factory=list)


def worth(scores: dict[str, list[bool]], baseline: dict[str, list[bool]]) -> float:
    """What a setting is chosen by: false claims corrected, true values stated, less what breaks beyond a point.

    Two points are asked for on test items; half of that here, since what was chosen looks better than it is.
    """
    broken = sum(
        max(0.0, share(baseline[name]) - share(scores[name]) - 0.01)
        for name in ("agrees_true", "plain_true", "choices", "grammar")
    )
    return share(scores["refuses_false"]) + share(scores["corrects_right"]) - 3 * broken


def choose(
    engine: t.Engine, candidates: Sequence[Direction], items: tuple[Items, Items], say: Callable[[object], None]
) -> dict[str, Choice]:
    """For each space the setting of the largest worth on validation: layers and tokens on few items, the rest on more.

    And, to be put beside it, the best one of those whose truthful side holds no true claims. The step between a
    threshold that lets false claims through and one that denies true ones is small, so the second look has fine steps
    and enough items to see two points.
    """
    chosen = {}
    for space in SPACES:
        looked: list[dict[str, Any]] = []

        def look(
            items: Items, settings: list[tuple[Band, float, float, str]], looked: list[dict[str, Any]] = looked
        ) -> None:
            baseline = measure(engine, [Arm("baseline")], items)[0]
            arms = [Arm("", regulate(band, lambda_, at, where)) for band, lambda_, at, where in settings]
            for (band, lambda_, at, where), scores in zip(settings, measure(engine, arms, items), strict=True):
                looked.append(
                    {
                        "layers": layers(band),
                        "position": band[0].position,
                        "true_share": band[0].true_share,
                        "lambda": lambda_,
                        "tau_at": at,
                        "tau": [one.tau(at) for one in band],
                        "where": where,
                        "worth": worth(scores, baseline),
                        **{name: share(hits) for name, hits in scores.items()},
                        "_band": band,
                    }
                )

        mine = [band for band in bands(candidates) if band[0].space == space]
        where = ("all", "from_last")
        look(items[0], [(band, lambda_, at, one) for band in mine for one in where for lambda_, at in COARSE])
        ranked = sorted(looked, key=lambda one: -one["worth"])
        best = [*ranked[:3], next(one for one in ranked if not one["true_share"])]
        coarse = len(looked)
        look(items[1], [(one["_band"], lambda_, at, one["where"]) for one in best for lambda_, at in FINE])
        public = [{key: value for key, value in one.items() if key != "_band"} for one in looked]
        for name, found in (
            (space, looked[coarse:]),
            (space + FALSE_ONLY, [one for one in looked[coarse:] if not one["true_share"]]),
        ):
            top = max(found, key=lambda one: one["worth"])
            setting = {key: value for key, value in top.items() if key != "_band"}
            say({"chosen": name, **setting})
            chosen[name] = Choice(setting, top["_band"], public)
    return chosen


def arms_of(lm: t.Model, chosen: dict[str, Choice]) -> list[Arm]:
    """Every row of the table."""
    features, residual = chosen["features"], chosen["residual"]
    saes = [one.value.sae for one in features.band if one.value.sae is not None]
    tops = [torch.topk(one.value.vector, TOP_FEATURES).indices.tolist() for one in features.band]
    middle = {space: choice.band[len(choice.band) // 2] for space, choice in chosen.items()}
    out = [
        Arm("baseline"),
        Arm("ablation A: projection in feature space", tuple(SaeAblation(one.value) for one in features.band)),
        Arm(
            f"ablation B: the {TOP_FEATURES} top features off",
            tuple(FeatureAblation(sae, top) for sae, top in zip(saes, tops, strict=True)),
        ),
        Arm(
            "ablation C: residual direction, every layer",
            (t.DirectionalAblation(middle["features"].value, everywhere=True),),
        ),
        Arm(
            "ablation C, residual reading, every layer",
            (t.DirectionalAblation(middle["residual"].value, everywhere=True),),
        ),
        Arm("SAE reconstruction only", tuple(SaeReconstruction(sae) for sae in saes)),
    ]
    for space, choice, error in (
        ("features", features, "keep"), ("features", features, "drop"), ("residual", residual, "keep"),
    ):  # fmt: skip
        told = f"features, error {'kept' if error == 'keep' else 'dropped'}" if space == "features" else space
        for lambda_ in LAMBDAS:
            found = regulate(choice.band, lambda_, choice.setting["tau_at"], choice.setting["where"], error)
            out.append(Arm(f"regulator, {told}, lambda {lambda_:g}", found))
    for name in (space + FALSE_ONLY for space in SPACES):
        setting = chosen[name].setting
        found = regulate(chosen[name].band, setting["lambda"], setting["tau_at"], setting["where"])
        out.append(Arm(f"regulator, {name}, lambda {setting['lambda']:g}", found))
    for space in SPACES:
        choice = chosen[space]
        lambda_ = choice.setting["lambda"]
        controls = []
        for seed, one in enumerate(choice.band):
            control = t.random_like(one.value, seed=seed)
            tau = firing_tau(lm, one, one.tau(choice.setting["tau_at"]), control)
            controls.append(
                t.ThresholdRegulator(control, tau=tau, lambda_=lambda_, where=choice.setting["where"])  # type: ignore[arg-type]
            )
        out.append(Arm(f"random direction, {space}, fires as often, lambda {lambda_:g}", tuple(controls)))
    out.append(
        Arm(
            "random direction, ablated at every layer",
            (t.DirectionalAblation(t.random_like(middle["residual"].value, 1), everywhere=True),),
        )
    )
    out.append(Arm(f'prompting: "{PLEA}" (taught)', system=PLEA))
    return out


def table(arms: Sequence[Arm], scores: Sequence[dict[str, list[bool]]]) -> tuple[list[dict[str, Any]], str]:
    """The rows with intervals and McNemar's test against the baseline, as data and as Markdown."""
    rows, lines = (
        [],
        [
            "| percent [95% interval] | " + " | ".join(title for _, _, title in COLUMNS.values()) + " |",
            "| --- |" + " --- |" * len(COLUMNS),
        ],
    )
    for arm, one in zip(arms, scores, strict=True):
        row: dict[str, Any] = {"arm": arm.name}
        cells = []
        for name, hits in one.items():
            interval = wilson(sum(hits), len(hits))
            flips = mcnemar(scores[0][name], hits)
            row[name] = {
                "share": interval.value,
                "low": interval.low,
                "high": interval.high,
                "n": len(hits),
                "gained": flips.gained,
                "lost": flips.lost,
                "p": flips.p,
            }
            star = "*" if arm is not arms[0] and flips.p < 0.05 else ""
            cells.append(f"{100 * interval.value:.1f}{star} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]")
        rows.append(row)
        lines.append(f"| {arm.name} | " + " | ".join(cells) + " |")
    return rows, "\n".join(lines)


def run(
    engine: t.Engine, sae_of: Callable[[int], t.Sae], say: Callable[[object], None], claims: int, questions: int
) -> dict[str, Any]:
    """The experiment: directions from training items, settings from validation items, the table from test items."""
    lm = engine.model
    found = directions(lm, sae_of)
    say(f"{len(found)} candidate directions")
    chosen = choose(engine, found, (Items.of("validation", 24, 12), Items.of("validation", 200, 48)), say)
    arms = arms_of(lm, chosen)
    rows, markdown = table(arms, measure(engine, arms, Items.of("test", claims, questions), say))
    told = " ".join(f"{name.capitalize()}: {_told(choice)}." for name, choice in chosen.items())
    lead = (
        "From `python -m steering.organism regulator`. Directions come from training items: false claims agreed with "
        "under pressure, against truthful answers, with and without true claims among them. Layers, position, truthful "
        f"side, tau and tokens were chosen by their effect on validation items; the table is on test items. {told} A "
        "star marks p < 0.05 against the baseline (McNemar's exact test, not corrected for the number of cells). "
        "Whatever an arm does is shown as measured.\n"
    )
    return {
        "rows": rows,
        "markdown": f"{lead}\n{markdown}\n",
        "chosen": {space: choice.setting for space, choice in chosen.items()},
        "looked_at": {space: chosen[space].looked_at for space in SPACES},
    }


def _told(choice: Choice) -> str:
    setting = choice.setting
    read = f"{layers(choice.band)}, read at the {choice.band[0].position}"
    if setting["true_share"]:
        read += f" with {setting['true_share']:.0%} of the truthful side true claims agreed with"
    taus = ", ".join(f"{tau:.2f}" for tau in setting["tau"])
    return (
        f"{read}, tau {taus} ({setting['tau_at']:.0%} of the way from the truthful to the sycophantic mean), "
        f"lambda {setting['lambda']:g}, tokens: {setting['where']}"
    )
