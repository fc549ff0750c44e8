"""Arms of an experiment: the baseline, the steered ones, and their controls.

A control answers "is it the direction, or any push of this size?": every direction replaced by a random one of equal
norm, the SAE's reconstruction alone, or a sentence in the prompt that asks for the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..interventions.protocol import Intervention, fingerprint, made
from ..recipes.controls import controls
from ..recipes.workbench import Workbench
from ..saes.sae import Sae
from ..showing.one_line import one_line, quoted

Kind = Literal["baseline", "steered", "control"]
PLACES = ("system", "before", "after")


@dataclass(frozen=True, eq=False)
class Arm:
    """One row of the table: a name, interventions, and a sentence that is added to the prompt.

    Attributes:
        kind: "baseline", "steered" or "control"; every table needs exactly one baseline.
        of: the name of the arm that a control belongs to, or "".
        group: controls of one group (several seeds) can be shown as one.
        place: where the instruction goes: the "system" message, or "before" or "after" the user's words.
        seed: shifts the seed of the sampling; a second baseline with another seed shows what chance alone does.
        settings: the values that a grid varied, for tables.
    """

    name: str
    interventions: tuple[Intervention, ...] = ()
    kind: Kind = "steered"
    of: str = ""
    group: str = ""
    instruction: str = ""
    place: str = "system"
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("An arm has a name; this one's is empty.")
        if self.place not in PLACES:
            raise ValueError(f"An instruction goes to one of {', '.join(PLACES)}; got {self.place!r}.")

    def __repr__(self) -> str:
        done = ", ".join(type(one).__name__ for one in self.interventions)
        instruction = self.instruction and f"instruction {quoted(self.instruction)}"
        return one_line(self, quoted(self.name), self.kind, done, instruction)

    @property
    def fingerprint(self) -> str:
        """A hash of what the arm does, independent of its name."""
        return fingerprint([*self.interventions, self.instruction, self.place, self.seed])

    def bare(self) -> Arm:
        """The arm without its interventions, which would keep directions and SAEs alive in results that are kept."""
        return replace(self, interventions=())


BASELINE = Arm("Baseline", kind="baseline")


def check_arms(arms: Sequence[Arm]) -> None:
    """Raise ValueError if names repeat or there is not exactly one baseline."""
    names = [arm.name for arm in arms]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Each arm has a name of its own; {repeated[0]!r} comes twice.")
    baselines = [arm.name for arm in arms if arm.kind == "baseline"]
    if len(baselines) != 1:
        raise ValueError(f"An experiment has exactly one baseline; got {', '.join(baselines) or 'none'}.")


def again(seed: int = 1) -> Arm:
    """A baseline with another sampling seed, which shows what chance alone does (only where answers are sampled)."""
    return Arm(f"Baseline, seed {seed}", kind="control", group="baseline again", seed=seed)


def prompting(instruction: str, place: str = "system", name: str = "Prompting") -> Arm:
    """The prompting baseline: nothing is steered, a sentence asks for the behavior."""
    return Arm(name, kind="control", group="prompting", instruction=instruction, place=place)


def reconstruction(sae: Sae) -> Arm:
    """The SAE's reconstruction alone: what its error does, the control of every method that drops it."""
    return Arm("SAE reconstruction only", (made("reconstruct", sae=sae),), "control", group="SAE reconstruction")


def random_control(arm: Arm, seed: int, bench: Workbench | None = None) -> Arm:
    """The arm with every direction and feature replaced by random ones; thresholds fire as often (recipes/controls.py).

    Without a workbench thresholds stay as they are.
    """
    return replace(
        arm,
        name=f"Random {seed + 1} for {arm.name}",
        interventions=controls(bench, arm.interventions, seed),
        kind="control",
        of=arm.name,
        group=f"random for {arm.name}",
    )
