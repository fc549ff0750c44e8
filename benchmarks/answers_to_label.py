"""`python -m benchmarks.answers_to_label FILE [--later]`: answers of the real chat model, for labeling by reading.

The answers of `assets/evals/answers/labeled.jsonl` were made by this command. What is asked, under which arm, and which
answers are kept aside follows from one seed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from steering.directions.contrasts import mean_difference
from steering.directions.direction import Direction
from steering.directions.pairs import PairSet
from steering.directions.shipped import FOLDER
from steering.engine.engine import Engine
from steering.engine.requests import Request
from steering.evaluations.arms import Arm, prompting
from steering.evaluations.sets.readers import load
from steering.evaluations.sets.sets import EvaluationSet
from steering.interventions import ActivationAddition, DirectionalAblation
from steering.jobs.files import write_rows
from steering.models.loading import load_model
from steering.models.model import Model
from steering.sites import Site

SEED = 15
ASIDE = 100
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


# Made after the hundred had been scored once, to score the scorers again on answers that nobody had tuned them on.
LATER = {"general_claims": {"Baseline": 44, "Sydney -1": 24, "Sydney -2": 12}}
LATER_SEED, LATER_FIRST = 16, 326


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


def main(path: Path, later: bool = False) -> None:
    lm = load_model("smollm2", products="bfloat16")
    whole = LATER if later else WANTED
    rng, made, rows, asked = random.Random(LATER_SEED if later else SEED), arms(lm, whole), [], []
    for name, wanted in whole.items():
        one = load(name)
        for arm_name, many in wanted.items():
            for number, k in enumerate(drawn(one, many, rng)):
                item, arm = one.items[k], made[arm_name]
                heat = 0.7 if number % 3 == 2 else 0.0
                fields = {"prompt": item.text, **item.labels}
                rows.append({"set": name, "arm": arm_name, "temperature": heat, **fields})
                prompt = lm.tokens(item.messages(arm.instruction, arm.place))
                tokens = 48 if name == "general_claims" else 64
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
    aside = range(len(rows)) if later else random.Random(SEED).sample(range(len(rows)), ASIDE)
    first, kept = LATER_FIRST if later else 0, set(aside)
    numbered = [{"id": first + k, "aside": k in kept, "later": later, **row} for k, row in enumerate(rows)]
    print(write_rows(path, numbered), "answers")


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--later" in sys.argv[2:])
