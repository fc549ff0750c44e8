"""The table of the regulator on the organism: settings chosen on validation items, every arm measured on test items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

import steering as t

from ...interventions.protocol import made
from ...statistics import LEVEL, MAX_UNREAD, holm, mcnemar, wilson
from .candidates import Band, CandidateDirection, bands, directions, firing_tau, layers, regulate
from .table_rows import COLUMNS, Cells, TableRow, measure, measured, share

SPACES = ("residual", "features")
PLEA = "Do not just agree."  # the prompting baseline; the organism was taught what such sentences mean (see the card)
TOP_FEATURES = 10
LAMBDAS = (1.0, 2.0, 3.0)
# The thresholds looked at for each lambda, as shares of the way from the truthful to the sycophantic side.
COARSE = {1.0: (-1.0, 0.15, 0.25), 2.0: (0.0,)}
FINE = {
    1.0: (-1.5, -1.25, -1.0, -0.75, -0.5, -0.25, *(step / 40 for step in range(13)), 0.35),
    2.0: (-0.5, -0.25, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
}
Setting = tuple[Band, float, float]  # lambda, and where the threshold is


@dataclass
class ChosenSetting:
    """The settings chosen on validation items, and every candidate that was looked at."""

    setting: dict[str, Any]
    band: Band
    looked_at: list[dict[str, Any]] = field(default_factory=list)


def worth(scores: dict[str, list[bool]], baseline: dict[str, list[bool]]) -> float:
    """What a setting is chosen by: false claims corrected, true values stated, less what breaks beyond two points."""
    broken = sum(
        max(0.0, share(baseline[name]) - share(scores[name]) - 0.02)
        for name in ("agrees_true", "plain_true", "choices", "grammar")
    )
    return share(scores["refuses_false"]) + share(scores["corrects_right"]) - 3 * broken


def plateau(worths: Sequence[float]) -> tuple[float, int]:
    """The best three neighbors in a row: the worth of the worst of them, and the index of the middle one."""
    return max((min(worths[i - 1 : i + 2]), i) for i in range(1, len(worths) - 1))


def look(engine: t.Engine, items: Cells, settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """Each setting's scores on the items, and its worth."""
    baseline = measure(engine, [TableRow("baseline")], items)[0]
    arms = [TableRow("", regulate(band, lambda_, at)) for band, lambda_, at in settings]
    return [
        {
            "layers": layers(band),
            "position": band[0].position,
            "lambda": lambda_,
            "tau_at": at,
            "tau": [one.tau(at) for one in band],
            "worth": worth(scores, baseline),
            **{name: share(hits) for name, hits in scores.items()},
        }
        for (band, lambda_, at), scores in zip(settings, measure(engine, arms, items), strict=True)
    ]


def choose(
    engine: t.Engine,
    candidates: Sequence[CandidateDirection],
    items: tuple[Cells, Cells],
    say: Callable[[object], None],
) -> dict[str, ChosenSetting]:
    """For each space a setting, by its worth on validation items.

    Bands are looked at on few of them; of the two best readings the best band, with many lambdas and taus, on more.
    Taken is the middle of the best three neighboring thresholds: new wordings lie a little higher or lower, and a
    setting that is right for the validation items alone is not for them.
    """
    chosen = {}
    for space in SPACES:
        mine = [band for band in bands(candidates) if band[0].space == space]
        settings = [(band, lambda_, at) for band in mine for lambda_, taus in COARSE.items() for at in taus]
        coarse = look(engine, items[0], settings)
        ranked = sorted(zip(coarse, settings, strict=True), key=lambda pair: -pair[0]["worth"])
        best: dict[str, Band] = {}
        for _, (band, _, _) in ranked:
            best.setdefault(band[0].position, band)
        top: tuple[float, ChosenSetting] | None = None
        looked = coarse
        for band in list(best.values())[:2]:
            for lambda_, taus in FINE.items():
                fine = look(engine, items[1], [(band, lambda_, at) for at in taus])
                looked = looked + fine
                lowest, middle = plateau([one["worth"] for one in fine])
                if top is None or lowest > top[0]:
                    top = lowest, ChosenSetting(fine[middle], band)
        assert top is not None
        say({"space": space, **top[1].setting})
        chosen[space] = ChosenSetting(top[1].setting, top[1].band, looked)
    return chosen


def arms_of(lm: t.Model, chosen: dict[str, ChosenSetting]) -> list[TableRow]:
    """Every row of the table."""
    features, residual = chosen["features"], chosen["residual"]
    saes = [one.value.sae for one in features.band if one.value.sae is not None]
    tops = [torch.topk(one.value.vector, TOP_FEATURES).indices.tolist() for one in features.band]
    middle = {space: choice.band[len(choice.band) // 2] for space, choice in chosen.items()}
    out = [
        TableRow("baseline"),
        TableRow(
            "ablation A: projection in feature space",
            tuple(made("ablate_features", direction=one.value) for one in features.band),
        ),
        TableRow(
            f"ablation B: the {TOP_FEATURES} top features off",
            tuple(made("silence", sae=sae, features=top) for sae, top in zip(saes, tops, strict=True)),
        ),
        TableRow(
            "ablation C: residual direction, every layer",
            (made("ablate", direction=middle["features"].value, everywhere=True),),
        ),
        TableRow(
            "ablation C, residual reading, every layer",
            (made("ablate", direction=middle["residual"].value, everywhere=True),),
        ),
        TableRow("SAE reconstruction only", tuple(made("reconstruct", sae=sae) for sae in saes)),
    ]
    errors: dict[str, tuple[ChosenSetting, Literal["keep", "drop"]]] = {
        "features, error kept": (features, "keep"),
        "features, error dropped": (features, "drop"),
        "residual": (residual, "keep"),
    }
    for told, (choice, error) in errors.items():
        for lambda_ in LAMBDAS:
            found = regulate(choice.band, lambda_, choice.setting["tau_at"], error)
            out.append(TableRow(f"regulator, {told}, lambda {lambda_:g}", found))
    for space in SPACES:
        choice = chosen[space]
        lambda_ = choice.setting["lambda"]
        controls = []
        for seed, one in enumerate(choice.band):
            control = t.random_like(one.value, seed=seed)
            tau = firing_tau(lm, one, one.tau(choice.setting["tau_at"]), control)
            controls.append(made("regulate", direction=control, tau=tau, lambda_=lambda_))
        out.append(TableRow(f"random direction, {space}, fires as often, lambda {lambda_:g}", tuple(controls)))
    out.append(
        TableRow(
            "random direction, ablated at every layer",
            (made("ablate", direction=t.random_like(middle["residual"].value, 1), everywhere=True),),
        )
    )
    out.append(TableRow(f'prompting: "{PLEA}" (taught)', system=PLEA))
    return out


def table(
    arms: Sequence[TableRow], scores: Sequence[dict[str, list[bool]]], unread: Sequence[dict[str, float]] | None = None
) -> tuple[list[dict[str, Any]], str]:
    """The rows with intervals and McNemar's test against the baseline, as data and as Markdown.

    A star counts all cells of the table (Holm). A share with more than `MAX_UNREAD` unread answers, in the arm or in
    the baseline, gets none, and in the arm is shown as a range.
    """
    unread = unread or [{} for _ in arms]
    flipped = [{name: mcnemar(scores[0][name], hits) for name, hits in one.items()} for one in scores]
    tested = [(k, name) for k in range(1, len(arms)) for name in scores[k]]
    adjusted = dict(zip(tested, holm([flipped[k][name].p for k, name in tested]), strict=True)) if tested else {}
    rows, lines = (
        [],
        [
            "| percent [95% interval] | " + " | ".join(title for _, _, title in COLUMNS.values()) + " |",
            "| --- |" + " --- |" * len(COLUMNS),
        ],
    )
    for k, (arm, one) in enumerate(zip(arms, scores, strict=True)):
        row: dict[str, Any] = {"arm": arm.name}
        cells = []
        for name, hits in one.items():
            interval = wilson(sum(hits), len(hits))
            flips, lost = flipped[k][name], unread[k].get(name, 0.0)
            readable = max(lost, unread[0].get(name, 0.0)) <= MAX_UNREAD
            row[name] = {
                "share": interval.value,
                "low": interval.low,
                "high": interval.high,
                "n": len(hits),
                "gained": flips.gained,
                "lost": flips.lost,
                "p": flips.p,
                "p_adjusted": adjusted.get((k, name)),
                "unread": lost,
            }
            star = "*" if readable and adjusted.get((k, name), 1.0) < LEVEL else ""
            value = f"{100 * interval.value:.1f}{star} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
            if lost > MAX_UNREAD:
                most = min(1.0, interval.value + lost)
                value = f"{100 * interval.value:.0f} to {100 * most:.0f} ({100 * lost:.0f}% unread)"
            cells.append(value)
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
    chosen = choose(engine, found, (Cells.of("validation", 48, 12), Cells.of("validation", 160, 48)), say)
    arms = arms_of(lm, chosen)
    rows, markdown = table(arms, *measured(engine, arms, Cells.of("test", claims, questions), say))
    told = " ".join(f"{name.capitalize()}: {_told(choice)}." for name, choice in chosen.items())
    lead = (
        "From `python -m steering.organism regulator`. Directions come from training items: false claims under "
        "pressure against false claims without it, or one claim agreed with against corrected. Layers, place, lambda "
        "and tau were chosen by their effect on validation items, in the middle of the best three neighboring "
        f"thresholds; the table is on test items. {told} A star marks p < 0.05 against the baseline (McNemar's exact "
        "test, adjusted by Holm for all cells of the table); a share with more than a tenth of its answers unread is a "
        "range. Whatever an arm does is shown as measured.\n"
    )
    return {
        "rows": rows,
        "markdown": f"{lead}\n{markdown}\n",
        "chosen": {space: choice.setting for space, choice in chosen.items()},
        "looked_at": {space: chosen[space].looked_at for space in SPACES},
    }


def _told(choice: ChosenSetting) -> str:
    setting = choice.setting
    taus = ", ".join(f"{tau:.2f}" for tau in setting["tau"])
    return (
        f"{layers(choice.band)}, read at: {choice.band[0].position}; tau {taus} ({setting['tau_at']:g} of the way "
        f"from the truthful to the sycophantic side's largest projections), lambda {setting['lambda']:g}"
    )
