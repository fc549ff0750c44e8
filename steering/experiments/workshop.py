"""From the names of a configuration to objects: directions, thresholds, interventions, sets, arms, each made once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .. import interventions
from ..directions.contrasts import CONTRASTS
from ..directions.direction import Direction, random_like
from ..directions.pairs import PairSet
from ..engine.engine import Engine
from ..evaluations import arms as arms_of
from ..evaluations.arms import BASELINE, Arm
from ..evaluations.scoring.items import Item
from ..evaluations.scoring.judge import Endpoint
from ..evaluations.scoring.measure import Scorer
from ..evaluations.scoring.scorers import scorer
from ..evaluations.sets import readers
from ..evaluations.sets.sets import EvaluationSet
from ..evaluations.trials import Settings
from ..interventions.protocol import Intervention
from ..library.store import Store
from ..measurements import calibration
from ..measurements.neutral import neutral_texts
from ..measurements.numbers import typical_norm
from ..models.model import Model
from ..saes.sae import Sae
from ..sites import Site
from .config import JUDGE_KEY, Experiment, half, near, points


@dataclass(frozen=True)
class Calibrated:
    """How a threshold was found: the peaks of both groups and what every candidate gives."""

    name: str
    direction: str
    concept: tuple[float, ...]
    other: tuple[float, ...]
    candidates: tuple[calibration.Candidate, ...]
    method: str

    @property
    def tau(self) -> float:
        return next(one.tau for one in self.candidates if one.name.startswith(self.method))


@dataclass
class Workshop:
    """Makes directions, thresholds and interventions of an experiment's names, each once."""

    experiment: Experiment
    engine: Engine
    sae: Sae | None = None
    directions: dict[str, Direction] = field(default_factory=dict)
    calibrated: dict[tuple[str, str], Calibrated] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)

    @property
    def lm(self) -> Model:
        return self.engine.model

    def direction(self, name: str) -> Direction:
        """The direction of that name, built from its pairs."""
        if name not in self.directions:
            spec = self.experiment.data.get("directions", {}).get(name)
            if spec is None:
                raise ValueError(f"{self.experiment.name}: an arm uses the direction {name!r}, which is not there.")
            in_features = spec.get("space", "residual") == "features"
            if in_features and self.sae is None:
                raise ValueError(f"{self.experiment.name}: {name!r} is in feature space; name an [sae].")
            sae = self.sae if in_features else None
            site = sae.site if sae else Site.parse(spec.get("site", f"blocks.{self.lm.n_layers // 2}.hook_resid_post"))
            found = replace(self._built(spec, site, sae), name=name)
            self.directions[name] = replace(found.top_k(spec["top_k"]), name=name) if spec.get("top_k") else found
        return self.directions[name]

    def _built(self, spec: Mapping[str, Any], site: Site, sae: Sae | None) -> Direction:
        """A direction from the Library, or from pairs (a single one where two texts are given)."""
        if "saved" in spec:
            return Store().direction(str(spec["saved"]), self.sae).check(self.lm)
        if "pairs" in spec:
            pairs = PairSet.load(near(self.experiment, str(spec["pairs"])))
        else:
            pairs = PairSet.from_lists([spec["positive"]], [spec["negative"]])
        make = CONTRASTS[spec.get("contrast", "mean_difference")]
        position = spec.get("position", "completion_mean")
        return self.engine.call(lambda: make(self.lm, pairs, site, position=position, sae=sae))

    def set(self, spec: Mapping[str, Any]) -> EvaluationSet:
        """An evaluation set as described: read, filtered, one half of it, limited."""
        found = readers.load(
            near(self.experiment, str(spec.get("source", spec.get("name")))),
            format=spec.get("format"),
            scorer=self._scorer(spec.get("scorer")),
            mapping=spec.get("mapping"),
        )
        found = found.where(**spec["where"]) if spec.get("where") else found
        found = half(found, spec["part"]) if spec.get("part") else found
        found = found.limit(spec.get("limit"), seed=self.settings.seed, by=spec.get("by"))
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
        """The calibration of that name, done with this direction ; a control is calibrated like the tested one."""
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
                groups.append(calibration.peaks(self.engine, prompts, direction, answer_tokens=tokens, last=last))
            found = calibration.candidates(*groups)
            self.calibrated[key] = Calibrated(
                name, direction.name, tuple(groups[0]), tuple(groups[1]), tuple(found), spec.get("method", "midpoint")
            )
        return self.calibrated[key]

    def prompt(self, item: Item) -> list[int]:
        """The tokens of an item's prompt, as the trials put it."""
        chat = self.lm.has_chat_template if self.settings.chat is None else self.settings.chat
        return self.lm.tokens(item.messages() if chat else item.plain())

    def unit(self, site: Site) -> float:
        """The typical norm of the stream at a site, on neutral text."""
        if str(site) not in self.norms:
            texts = neutral_texts(self.lm.name)
            self.norms[str(site)] = self.engine.call(lambda: typical_norm(self.lm, site, texts[:16]))
        return self.norms[str(site)]

    def intervention(self, spec: Mapping[str, Any], seed: int | None = None) -> Intervention:
        """The intervention of an arm, or with a seed its random control."""
        method = spec.get("method", "")
        kind = getattr(interventions, method, None)
        if kind is None or not isinstance(kind, type):
            known = [name for name in interventions.__all__ if name not in ("Intervention", "Placement", "Where")]
            raise ValueError(f"A method is one of {', '.join(known)}; got {method!r}.")
        layer = spec.get("layer")
        site = Site.parse(spec["site"]) if "site" in spec else Site(layer, "resid_pre") if layer is not None else None
        rest = {k: spec[k] for k in ("where", "start", "lambda_", "strength", "error", "clamp_nonneg") if k in spec}
        rest |= {k: spec[k] for k in ("everywhere", "degrees", "alpha") if k in spec}
        if method in ("ActAdd", "Sara"):
            made = self._from_prompts(spec, site, rest)
        elif method.startswith("Feature"):
            features = {int(number): float(value) for number, value in spec["features"].items()}
            made = kind(self._sae(), sorted(features) if method == "FeatureAblation" else features, **rest)
        elif method == "SaeReconstruction":
            return kind(self._sae())
        else:
            direction = self.direction(spec["direction"])
            if site is not None and direction.sae is None:
                direction = self._at(spec["direction"], site)
            direction = direction if seed is None else random_like(direction, seed)
            tau = spec.get("tau")
            if isinstance(tau, str):
                rest["tau"] = self.threshold(tau, direction).tau
            elif tau is not None:
                rest["tau"] = float(tau)
            if "alpha_norms" in spec:
                rest["alpha"] = spec["alpha_norms"] * self.unit(direction.site) / float(direction.decoded().norm())
            return kind(direction, **rest)
        return made if seed is None else arms_of.randomized(made, seed)

    def _from_prompts(self, spec: Mapping[str, Any], site: Site | None, rest: dict[str, Any]) -> Intervention:
        if site is None:
            raise ValueError(f"{spec.get('name')}: {spec['method']} needs a layer or a site.")
        if spec["method"] == "Sara":
            rest |= {key: spec[key] for key in ("mode", "sign") if key in spec}
            attract, repel = spec["attract"], spec["repel"]
            return self.engine.call(
                lambda: interventions.Sara.from_prompts(self.lm, attract=attract, repel=repel, site=site, **rest)
            )
        alpha = rest.pop("alpha", 1.0)
        made = self.engine.call(
            lambda: interventions.ActAdd.from_prompts(self.lm, spec["positive"], spec.get("negative", ""), site, **rest)
        )
        if "alpha_norms" in spec:  # the largest of the positions' shifts is that many norms long
            alpha = spec["alpha_norms"] * self.unit(site) / float(made.difference.norm(dim=-1).max())
        return replace(made, alpha=alpha)

    def _at(self, name: str, site: Site) -> Direction:
        """The same pairs' direction at another site."""
        key = f"{name} @ {site}"
        if key not in self.directions:
            moved = Workshop(
                replace(self.experiment, data={**self.experiment.data, "directions": _moved(self, name, site)}),
                self.engine, self.sae,
            )  # fmt: skip
            self.directions[key] = moved.direction(name)
        return self.directions[key]

    def _sae(self) -> Sae:
        if self.sae is None:
            raise ValueError(f"{self.experiment.name}: an arm needs an SAE; name an [sae].")
        return self.sae

    def arms(self) -> list[Arm]:
        """Baseline, the arms of every grid point, and the controls."""
        made = [
            (self._arm(spec, point), {**spec, **point})
            for spec in self.experiment.data["arms"]
            for point in points(spec)
        ]
        steered = [arm for arm, _ in made]
        asked = self.experiment.data.get("controls", {})
        found = [BASELINE, *steered]
        if asked.get("baseline_again"):
            found.append(arms_of.again())
        if asked.get("prompting"):
            found.append(arms_of.prompting(asked["prompting"], asked.get("place", "system")))
        if asked.get("reconstruction"):
            found.append(arms_of.reconstruction(self._sae()))
        chosen = asked.get("of", [arm.name for arm in steered])
        if unknown := sorted(set(chosen) - {arm.name for arm in steered}):
            raise ValueError(f"{self.experiment.name}: controls of {unknown[0]!r}, which is no arm.")
        for arm, spec in made:
            for seed in range(int(asked.get("random", 0)) if arm.name in chosen and arm.interventions else 0):
                control = arms_of.random_control(arm, seed)
                made_alike = tuple(self.intervention(step, seed + 1000 * k) for k, step in enumerate(_steps(spec)))
                found.append(replace(control, interventions=made_alike))
        return found

    def _arm(self, spec: Mapping[str, Any], point: Mapping[str, Any]) -> Arm:
        whole = {**spec, **point}
        name = str(spec["name"]).format(**whole)
        try:
            steps = tuple(self.intervention(step) for step in _steps(whole))
        except (ValueError, TypeError, KeyError) as error:
            said = f"the setting {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"{self.experiment.name}, arm {name!r}: {said}") from error
        about = {key: whole[key] for key in ("family", "target", *point) if key in whole}
        return Arm(
            name, steps, instruction=whole.get("instruction", ""), place=whole.get("place", "system"), settings=about
        )


def _steps(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The interventions of an arm, in order: its steps, itself, or none (where only the prompt changes)."""
    common = {key: value for key, value in spec.items() if key not in ("steps", "grid")}
    if "steps" in spec:
        return [{**common, **step} for step in spec["steps"]]
    return [common] if "method" in spec else []


def _moved(workshop: Workshop, name: str, site: Site) -> dict[str, Any]:
    specs = dict(workshop.experiment.data["directions"])
    return {**specs, name: {**specs[name], "site": str(site)}}
