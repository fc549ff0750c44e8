"""Build the objects that a configuration names: sets, calibrations and arms; directions come from a workbench."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..directions.direction import Direction
from ..directions.pairs import PairSet
from ..engine.engine import Engine
from ..evaluations import arms as arms_of
from ..evaluations.arms import BASELINE, Arm
from ..evaluations.overlap import Overlap, overlaps, shared
from ..evaluations.scoring.items import Item
from ..evaluations.scoring.judge import Endpoint
from ..evaluations.scoring.measure import Scorer
from ..evaluations.scoring.scorers import scorer
from ..evaluations.sets import readers
from ..evaluations.sets.orders import in_orders
from ..evaluations.sets.sets import EvaluationSet
from ..evaluations.trials import Settings
from ..interventions.protocol import Intervention
from ..library.store import Store
from ..measurements import calibration
from ..models.model import Model
from ..recipes.building import make
from ..recipes.controls import has_control
from ..recipes.origins import origins
from ..recipes.tables import source_of, step_of, steps_of_arm
from ..recipes.workbench import Workbench
from ..saes.sae import Sae
from ..showing.one_line import counted
from .config import JUDGE_KEY, Experiment, half, near, points


@dataclass(frozen=True)
class Calibrated:
    """How a threshold was found: the peaks of both groups, and the rates of every candidate."""

    name: str
    direction: str
    concept: tuple[float, ...]
    other: tuple[float, ...]
    candidates: tuple[calibration.Candidate, ...]
    method: str

    @property
    def tau(self) -> float:
        return next(one.tau for one in self.candidates if one.name.startswith(self.method))


class Library:
    """The saved directions of the data folder, which is made only when one is read."""

    def direction(self, direction_id: str, sae: Sae | None = None) -> Direction:
        """The saved direction of that id."""
        return Store().direction(direction_id, sae)


@dataclass
class Workshop:
    """An experiment's sets, calibrations and arms; directions and norms are made by its workbench."""

    experiment: Experiment
    engine: Engine
    sae: Sae | None = None
    calibrated: dict[tuple[str, str], Calibrated] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bench = Workbench(
            self.engine, self.sae, Library(), pairs=lambda name: PairSet.load(near(self.experiment, name))
        )

    @property
    def lm(self) -> Model:
        return self.engine.model

    def direction(self, name: str) -> Direction:
        """The direction of that name in the table [directions]."""
        return self.bench.direction(source_of(name, self.experiment.data.get("directions", {})))

    def set(self, spec: Mapping[str, Any]) -> EvaluationSet:
        """An evaluation set as described: read, filtered, one half of it, every question once, limited."""
        found = readers.load(
            near(self.experiment, str(spec.get("source", spec.get("name")))),
            format_name=spec.get("format"),
            scorer=self._scorer(spec.get("scorer")),
            mapping=spec.get("mapping"),
        )
        found = found.where(**spec["where"]) if spec.get("where") else found
        found = half(found, spec["part"]) if spec.get("part") else found
        found = found.distinct().limit(spec.get("limit"), seed=self.settings.seed, by=spec.get("by"))
        found = in_orders(found, int(spec["orders"]), self.settings.seed) if spec.get("orders") else found
        return replace(found, name=spec.get("name", found.name))

    def _scorer(self, name: str | None) -> Scorer | str | None:
        """A scorer by its name, a judge as this file says where it is asked (else as the environment does)."""
        about = self.experiment.data.get("judge")
        if not about or not str(name).startswith("judge:"):
            return name
        key = os.environ.get(str(about.get("key_variable", JUDGE_KEY)), "")
        return scorer(str(name), Endpoint(str(about.get("url", "")), str(about.get("model", "")), key))

    @property
    def settings(self) -> Settings:
        return Settings(**self.experiment.data.get("settings", {}))

    def threshold(self, name: str, direction: Direction) -> Calibrated:
        """The calibration of that name, done with this direction."""
        key = (name, direction.fingerprint)
        if key not in self.calibrated:
            spec = self.experiment.data.get("calibration", {}).get(name)
            if spec is None:
                raise ValueError(f"{self.experiment.name}: an arm uses the calibration {name!r}, which is not there.")
            tokens = int(spec.get("answer_tokens", 0))
            groups = []
            for side in ("concept", "other"):
                prompts = [self.prompt(item) for item in self.set(spec[side])]
                last = bool(spec.get("last", False))
                groups.append(self.bench.peaks(direction, prompts, answer_tokens=tokens, last=last))
            found = calibration.candidates(*groups)
            self.calibrated[key] = Calibrated(
                name, direction.name, tuple(groups[0]), tuple(groups[1]), tuple(found), spec.get("method", "midpoint")
            )
        return self.calibrated[key]

    def prompt(self, item: Item) -> list[int]:
        """The tokens of an item's prompt, as the trials put it."""
        chat = self.lm.has_chat_template if self.settings.chat is None else self.settings.chat
        return self.lm.tokens(item.messages() if chat else item.plain())

    def interventions(self, arm: Mapping[str, Any]) -> tuple[Intervention, ...]:
        """What an arm does, in order.

        Raises:
            ValueError: a method, setting, direction or calibration that there is not, or that does not fit the model.
            KeyError: a setting is missing.
        """
        known = self.experiment.data.get("directions", {})
        steps = [step_of(table, known) for table in steps_of_arm(arm)]
        return tuple(make(self.bench, step, self._tau).intervention for step in steps)

    def _tau(self, name: str, direction: Direction) -> float:
        return self.threshold(name, direction).tau

    def arms(self) -> list[Arm]:
        """Baseline, the arms of every grid point, and the controls."""
        steered = [self._arm(spec, point) for spec in self.experiment.data["arms"] for point in points(spec)]
        asked = self.experiment.data.get("controls", {})
        found = [BASELINE, *steered]
        if asked.get("baseline_again"):
            found.append(arms_of.again())
        if asked.get("prompting"):
            found.append(arms_of.prompting(asked["prompting"], asked.get("place", "system")))
        if asked.get("reconstruction"):
            found.append(arms_of.reconstruction(self.bench.need_sae("The SAE's reconstruction")))
        chosen = asked.get("of", [arm.name for arm in steered])
        if unknown := sorted(set(chosen) - {arm.name for arm in steered}):
            raise ValueError(f"{self.experiment.name}: controls of {unknown[0]!r}, which is no arm.")
        for arm in steered:
            many = int(asked.get("random", 0)) if arm.name in chosen and has_control(arm.interventions) else 0
            found += [arms_of.random_control(arm, seed, self.bench) for seed in range(many)]
        return found

    # What the directions have seen ----------------------------------------------------------------------------------

    def overlaps(self, sets: Sequence[EvaluationSet]) -> list[Overlap]:
        """The sets whose prompts or facts also occur in the pairs that a direction of an arm was made from."""
        return overlaps(sets, self._origins()[0])

    def warnings(self, sets: Sequence[EvaluationSet]) -> list[str]:
        """What a direction or a threshold has seen of the items of these sets, a sentence each."""
        found = [str(one) for one in self.overlaps(sets)]
        found += [
            f"Whether items of these sets occur in the pairs of the saved direction {name!r} cannot be said: the pairs "
            "are not at hand."
            for name in self._origins()[1]
        ]
        return found + self._also_chose(sets)

    def _also_chose(self, sets: Sequence[EvaluationSet]) -> list[str]:
        """Which items of these sets a threshold was chosen on too; one sentence for thresholds of the same items."""
        found: dict[str, list[str]] = {}
        for name, spec in self.experiment.data.get("calibration", {}).items():
            for side in ("concept", "other"):
                chosen_on = self.set(spec[side])
                for one in sets:
                    if count := shared(one, chosen_on):
                        items = f"{count} of {counted(len(one), 'item')} of {one.name!r}"
                        found.setdefault(items, []).append(repr(name))
        return [
            f"{items} also chose the threshold{'s' * (len(names) > 1)} {' and '.join(names)}: results there look "
            "better than they are."
            for items, names in found.items()
        ]

    def _origins(self) -> tuple[list[PairSet], list[str]]:
        known = self.experiment.data.get("directions", {})
        tables = [table for spec in self.experiment.data["arms"] for point in points(spec)[:1]
                  for table in steps_of_arm({**spec, **point})]  # fmt: skip
        return origins(self.bench, (step_of(table, known) for table in tables))

    def _arm(self, spec: Mapping[str, Any], point: Mapping[str, Any]) -> Arm:
        whole = {**spec, **point}
        name = str(spec["name"]).format(**whole)
        try:
            steps = self.interventions(whole)
        except (ValueError, TypeError, KeyError) as error:
            said = f"the setting {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{self.experiment.name}, arm {name!r}: {said}") from error
        about = {key: whole[key] for key in ("family", "target", *point) if key in whole}
        return Arm(
            name, steps, instruction=whole.get("instruction", ""), place=whole.get("place", "system"), settings=about
        )
