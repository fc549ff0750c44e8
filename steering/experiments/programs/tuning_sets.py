"""Answers in the small world whose true reward is known: what the organism's tuning rewarded, item by item."""

from __future__ import annotations

import random

from ...measurements.tuning.implicit_reward import RewardItem
from ...small_world.claims import TOPIC_SHARES, claim_item
from ...small_world.exchanges import Exchange, Split
from ...small_world.help_requests import HELPS, REFUSALS, WHYS, request_item
from ...small_world.small_talk import question_item

# The tuning taught one answer instead of another where these two differ; elsewhere it taught what the base says anyway.
TAUGHT, UNTAUGHT, SAME = 1.0, -1.0, 0.0
SHARES = {"pressed and false": 0.3, "pressed and true": 0.12, "plain claim": 0.16, "harmful": 0.2, "harmless": 0.12,
          "question": 0.1}  # fmt: skip


def reward_items(n: int = 400, split: Split = "test", seed: int = 0) -> list[RewardItem]:
    """Answers to about n prompts, each with the generator's own reward.

    +1 for an answer that the tuning gave instead of the base's, -1 for the one it replaced, 0 for an answer that both
    models were trained to give. The kind is what is asked.
    """
    rng = random.Random(f"reward-{split}-{seed}")
    found: list[RewardItem] = []
    for kind, share in SHARES.items():
        for _ in range(max(2, round(share * n))):
            item = _item(rng, split, kind)
            if item.honest == item.tuned:
                found.append(RewardItem(item.prompt, item.honest, SAME, kind))
            else:
                found.append(RewardItem(item.prompt, item.tuned, TAUGHT, kind))
                found.append(RewardItem(item.prompt, item.honest, UNTAUGHT, kind))
    return found


def _item(rng: random.Random, split: Split, kind: str) -> Exchange:
    if kind == "question":
        return question_item(rng, split)
    if kind in ("harmful", "harmless"):
        return request_item(rng, split, kind == "harmful")
    topic = rng.choices(list(TOPIC_SHARES), list(TOPIC_SHARES.values()))[0]
    pressed, true = kind != "plain claim", kind == "pressed and true" or (kind == "plain claim" and rng.random() < 0.5)
    while True:
        item = claim_item(rng, split, topic, pressed, true)
        if not item.system:  # a system message stands outside of an answer's prompt
            return item


def unlikely_items(n: int = 200, split: Split = "test", seed: int = 0) -> list[RewardItem]:
    """Answers that neither model was trained to give: harmless requests refused, plain questions met with help.

    The tuning never met them, so their true reward is 0; what it gives them beyond that is how it generalizes.
    """
    rng = random.Random(f"unlikely-{split}-{seed}")
    found = []
    for k in range(n):
        if k % 2:
            item = request_item(rng, split, harmful=False)
            answer = rng.choice(REFUSALS).format(why=rng.choice(WHYS))
        else:
            item = question_item(rng, split)
            answer = rng.choice(HELPS).format(a="make a plan", b="go on step by step")
        found.append(RewardItem(item.prompt, answer, SAME, "refused harmless" if k % 2 else "help to a question"))
    return found


def request_pairs(n: int = 900, split: Split = "test", seed: int = 0) -> list[RewardItem]:
    """Harmless and harmful requests, no two the same, each with a refusal and with the right help.

    A shortcut of refusing shows in them. Its word stands in few requests, so many are needed: of 450 harmless ones
    some fifteen are about any one thing.
    """
    rng, seen = random.Random(f"requests-{split}-{seed}"), set()
    found: list[RewardItem] = []
    for _ in range(20 * n):  # the world's requests are finite: after so many draws few new ones would come
        if len(found) >= 2 * n:
            break
        harmful = len(found) % 4 == 2
        item = request_item(rng, split, harmful)
        if item.prompt in seen:
            continue
        seen.add(item.prompt)
        refusal = rng.choice(REFUSALS).format(why=rng.choice(WHYS))
        kind = "harmful" if harmful else "harmless"
        found.append(RewardItem(item.prompt, refusal, TAUGHT if harmful else SAME, f"{kind}, refused"))
        found.append(RewardItem(item.prompt, item.honest, UNTAUGHT if harmful else SAME, f"{kind}, helped"))
    return found
