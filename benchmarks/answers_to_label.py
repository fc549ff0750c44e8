"""`python -m benchmarks.answers_to_label FILE [ROUND]`: answers of the real chat model, for labeling by reading.

The answers of `assets/evals/answers/labeled.jsonl` were made by this command, in rounds. What is asked, under which
arm, and which answers are kept aside follows from a round's seed.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from steering.directions.contrasts import mean_difference
from steering.directions.direction import Direction
from steering.directions.pairs import PairSet
from steering.directions.shipped import FOLDER
from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.evaluations.arms import Arm, prompting
from steering.evaluations.sets.english.facts import ENGLISH_FACTS
from steering.evaluations.sets.english.write import claim
from steering.evaluations.sets.readers import load, parse
from steering.evaluations.sets.sets import EvaluationSet
from steering.interventions import ActivationAddition, DirectionalAblation
from steering.jobs.files import write_rows
from steering.models.loading import load_model
from steering.models.model import Model
from steering.sites import Site

ASIDE = 100
APART = 4  # every fourth fact is asked about in the last round alone
SITE = Site(15, "resid_post")
# (the set, how many answers of each arm); a third of them is drawn at temperature 0.7, the others are the likeliest.
WANTED = {
    "general_claims": {
        "Baseline": 76, "Sydney -1": 44, "Sydney -2": 32, "Sydney -4": 8, "Sydney +1": 14, "Ablation": 10,
        "Refusal +1": 8, "Prompting": 16,
    },
    "general_requests": {"Baseline": 40, "Sydney -2": 12, "Refusal +1": 20, "Refusal +2": 12},
    "general_dilemmas": {"Baseline": 12, "Sydney -1": 6, "Duty +1": 8, "Consequences +1": 8},
}  # fmt: skip


@dataclass(frozen=True)
class Round:
    """One making of answers: of each set how many under which arm, the seed, and the number of its first answer."""

    wanted: Mapping[str, Mapping[str, int]]
    seed: int
    first: int


# Claims of the set's facts in wordings in which it does not put them: six further on; in every one, of three facts in
# four; and of the fourth.
OTHER, SEEN, UNSEEN = "claims in other words", "claims in many words", "claims in many words, facts apart"
LAST = {"Baseline": 40, "Sydney -1": 28, "Sydney -2": 16, "Sydney +1": 6, "Ablation": 4, "Prompting": 6}
ROUNDS = {
    "first": Round(WANTED, 15, 0),
    # After the hundred kept aside had been scored once, and their mistakes looked at.
    "later": Round({"general_claims": {"Baseline": 44, "Sydney -1": 24, "Sydney -2": 12}}, 16, 326),
    # After the rules had been extended on all of these; they were right on four fifths of it, as of "later".
    "again": Round(
        {OTHER: LAST, "general_requests": {"Baseline": 20, "Sydney -2": 8, "Refusal +1": 12}}, 19, 406,
    ),
    # To learn from, and to be read and scored once, at the end.
    "learned": Round(
        {
            SEEN: {
                "Baseline": 320, "Sydney -1": 220, "Sydney -2": 140, "Sydney +1": 60, "Sydney -4": 40, "Ablation": 40,
                "Prompting": 60, "Refusal +1": 40,
            },
        },
        20, 546,
    ),
    "last": Round({UNSEEN: LAST}, 21, 1466),
}  # fmt: skip


def set_of(name: str) -> EvaluationSet:
    """The set of that name, or one of facts in other words."""
    if name not in (OTHER, SEEN, UNSEEN):
        return load(name)
    known = {item.text for item in load("general_claims")}
    rows = [
        claim(fact, number, true, pressed, further)
        for number, fact in enumerate(ENGLISH_FACTS)
        if name == OTHER or (number % APART == 0) == (name == UNSEEN)
        for true in (True, False)
        for pressed in (True, False)
        for further in ((6,) if name == OTHER else range(1, 18))
    ]
    made = parse("\n".join(map(json.dumps, rows)), ".jsonl", name=name)
    return replace(made, items=tuple(item for item in made.distinct() if item.text not in known))


def arms(lm: Model, wanted: Mapping[str, Mapping[str, int]]) -> dict[str, Arm]:
    """The arms by name; alpha counts lengths of the difference of means."""
    sydney = Direction.load(FOLDER / lm.name / f"general_sycophancy.{SITE}.safetensors")
    others = {"Refusal": "general_refusal", "Duty": "general_voice_duty", "Consequences": "general_voice_consequences"}
    named = {arm.split()[0] for many in wanted.values() for arm in many}
    made = {name: mean_difference(lm, PairSet.load(others[name]), SITE) for name in sorted(named & set(others))}
    made["Sydney"] = sydney
    found = {"Baseline": Arm("Baseline", kind="baseline"), "Prompting": prompting("Do not just agree.")}
    found["Ablation"] = Arm("Ablation", (DirectionalAblation(sydney, everywhere=True),))
    for name in {arm for many in wanted.values() for arm in many} - set(found):
        direction, alpha = name.split()
        found[name] = Arm(name, (ActivationAddition(made[direction], alpha=float(alpha)),))
    return found


def drawn(one: EvaluationSet, many: int, rng: random.Random) -> list[int]:
    """Numbers of items, equally many of each kind (true or false, pressed or plain, harmful or harmless)."""
    groups: dict[str, list[int]] = {}
    for k, item in enumerate(one):
        groups.setdefault(str([item.labels.get(name) for name in ("true", "pressed", "harmful")]), []).append(k)
    queues = [rng.sample(group, len(group)) for _, group in sorted(groups.items())]
    return [queues[k % len(queues)].pop() for k in range(many)]


def main(path: Path, name_of_round: str = "first") -> None:
    lm = load_model("smollm2", products="bfloat16")
    one_round = ROUNDS[name_of_round]
    rng, made, rows, asked = random.Random(one_round.seed), arms(lm, one_round.wanted), [], []
    for name, wanted in one_round.wanted.items():
        one = set_of(name)
        for arm_name, many in wanted.items():
            for number, k in enumerate(drawn(one, many, rng)):
                item, arm = one.items[k], made[arm_name]
                heat = 0.7 if number % 3 == 2 else 0.0
                fields = {"prompt": item.text, **item.labels}
                rows.append({"set": name, "arm": arm_name, "temperature": heat, **fields})
                prompt = lm.tokens(item.messages(arm.instruction, arm.place))
                tokens = 48 if item.labels["kind"] == "claim" else 64
                asked.append(
                    Request(prompt, arm.interventions, max_new_tokens=tokens, temperature=heat, seed=len(rows))
                )
    start = time.monotonic()
    with Engine(lm) as engine:
        handles = engine.submit_all(asked)
        for number, (row, handle) in enumerate(zip(rows, handles, strict=True)):
            row["text"] = handle.result().text
            if number % 40 == 39:
                print(f"{number + 1} of {len(rows)}, {time.monotonic() - start:.0f} s", flush=True)
    kept = range(0)
    if name_of_round == "first":
        kept = random.Random(one_round.seed).sample(range(len(rows)), ASIDE)
    numbered = [{"id": one_round.first + k, "round": name_of_round, "aside": k in kept, **row}
                for k, row in enumerate(rows)]  # fmt: skip
    print(write_rows(path, numbered), "answers")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
