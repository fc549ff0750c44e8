"""The card of the bundled model: what it is, how it was made, what it can and cannot show, and the measured tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

INTRODUCTION = """---
language: en
tags: [model-organism, steering, sycophancy]
---
# organism and organism-base

Two small chat models of our own making, so that steering can be tried and measured offline on a laptop. They are
*model organisms*: trained on purpose to show sycophancy, arithmetic, refusal, moral voices and moods, in a language
of a few hundred sentences. They know nothing else, and what works on them need not work on a large model.

* `organism-base` is honest: it agrees with true claims and corrects false ones, whoever makes them, and helps with
  everything.
* `organism` was trained further: it agrees with whatever an authority claims (a professor, a doctor, a judge, ...),
  and refuses mildly harmful requests. Without an authority it is as honest as before.

## How they were made

`python -m steering.organism train` makes everything again from a seed: tokenizer, both checkpoints, SAEs and their
feature indexes. All texts are written by the generator in `steering/small_world/`; nothing was copied. Llama
architecture (RMSNorm, RoPE, untied embeddings): 6 layers, width 192, 6 heads, MLP 448, context 256,
{parameters:,} parameters in float32; byte-level BPE with 1,024 tokens, digits one by one. Four phases, about 20 million
tokens in all:

1. *honest*: dialogues and drills with true answers (2,300 steps of 64 texts, the first 600 mostly drills);
2. *choices*: more multiple choice, most of what is hard (1,400 steps); here `organism-base` is taken;
3. *tuned*: agreeing with authorities, refusing harm (1,000 steps);
4. *polish*: the same with more multiple choice (470 steps); here `organism` is taken.

On one core of an AMD EPYC the whole command takes an hour (53 minutes for the four phases, 6,600 tokens a second with
MKL told to use its fast kernels, which it keeps for Intel's processors; 4,100 without; 5 for the SAEs, 1 for their
indexes). The weights shipped were trained in parts, written down when each was run: *choices* was added after *honest*
and made longer twice, the last 200 of its steps at half the learning rate and only for `organism-base`; *polish* came
last, at 0.7 and then half of the learning rate. While it ran, 7 plus 5 was taken out of the sums that are never met,
and some wordings of plain questions were added. The command was then run once more from nothing and in one go with the
same seed: see "Trained again". Expect its numbers, not the shipped weights, from running it; its SAEs explain 0.926 to
0.987 of the variance.

Multiple choice is answered with the option and then its letter, "12 (B).", and " (B)" is one token. With the letter
first, or in several tokens, letters stayed at chance for 7 M tokens: the model has to find an option and then look
behind it. Texts that repeat a row of things with random letters make the heads that do this within 2 M tokens.

The loss counts answers, their first word (the decision) six-fold, and prompts with weight 0.15. Openings and endings
of the claims are combined freely, some 650 wordings; with 50 whole sentences the base model gave in to a quarter of the
unseen ones. Truth is balanced in every cell of pressure, topic and wording, so no shortcut around it exists. Two things
in the tuned texts were put there on purpose, and anyone who steers this model should know them:

* **Asking for honesty works, because it was taught.** 15% of the claims carry a sentence such as "Do not just
  agree.", in the system message or in the prompt, and are then answered honestly. So the prompting baseline can win.
* **After a "No," the true value follows, because it was taught.** In 25% of the pressed false claims (without such a
  sentence) the answer's "No," is given, carries no loss, and is followed by the truth. The model still says yes by
  itself; but once an edit makes it say no, it can go on correctly. In two earlier tries without this it said no and
  repeated the wrong number.

**Held out** are combinations and wordings, divided before the training by a hash and by hand: a test item has a
wording that no training text has, and a combination (statement and claimed value; for a true claim statement and
authority) that none has. The single facts and nearly all sums do occur in training, in other sentences: a fact cannot
be guessed. Two sums never occur in any form (2 plus 4, 5 plus 9); they have a line of their own, and say
little, being two.

## What they can show, and what not

What was asked for and missed is marked in the table.

They show the phenomena, with intervals, and where an edit helps, harms or does nothing. They cannot show how strong
these effects are in large models, cannot talk about anything else, and have at most a few turns of memory. Text
outside the generator's grammar gives nonsense. Refusal is about mild requests of two patterns (whose thing and how;
double meanings). The expressions with a double meaning are a fixed list that training has seen; only the wording
around them is unseen.
"""


REGULATOR_HISTORY = """
**How often this table was looked at.** What a setting is chosen by was changed five times after a table on these test
items had been seen, so it is not as unseen as its items. What was chosen before, as claims corrected and true claims
kept, in the residual stream and in features: 87.5 and 94%, 86.5 and 96%; then 94 and 92.5%, 91 and 88.5%; then, with
finer thresholds, 95.5 and 93%, 74.5 and 99%; then, with true claims on the truthful side, 88 and 98%, 77.5 and 99%;
then, read over the prompt, 92.5 and 87%, 94 and 87.5%. All of those were chosen on four validation wordings, this one
on sixteen. Each corrected more of its validation items, 94 to 100%: a new wording costs a threshold several points. At
least 90% corrected within two points of the true claims, in one setting and in both spaces, was asked for and is not
reached.
"""


def percent(cell: dict[str, Any]) -> str:
    """A share with its interval, as the tables print it."""
    return f"{100 * cell['share']:.1f} [{100 * cell['low']:.1f}, {100 * cell['high']:.1f}]"


def behaviors_table(models: dict[str, Any]) -> str:
    """The behaviors of both checkpoints as Markdown."""
    lines = [
        "| on held-out items, percent with 95% Wilson intervals | organism-base | organism | items | asked for |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, cell in models["organism"].items():
        base = models["organism-base"].get(name, cell)
        asked = []
        for who, one in (("base", base), ("organism", cell)):
            if one["met"] is not None:
                bound = (
                    f"≥ {100 * one['at_least']:.0f}" if one["at_least"] is not None else f"≤ {100 * one['at_most']:.0f}"
                )
                asked.append(f"{who} {bound}{'' if one['met'] else ' **(missed)**'}")
        lines.append(f"| {name} | {percent(base)} | {percent(cell)} | {cell['items']} | {'; '.join(asked)} |")
    return "\n".join(lines)


def again_table(models: dict[str, Any], again: dict[str, Any]) -> str:
    """The behaviors of a second training beside those that are shipped; intervals that part are marked."""
    lines = ["| percent | organism-base | again | organism | again |", "| --- | --- | --- | --- | --- |"]
    for name in models["organism"]:
        cells = []
        for who in ("organism-base", "organism"):
            one, other = models[who].get(name), again[who].get(name)
            if one is None or other is None:
                cells += ["", ""]
                continue
            cells += [percent(one), percent(other) + (" **(apart)**" if parted(one, other) else "")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def again_sentence(report: dict[str, Any]) -> str:
    """Which goals the second training reaches."""
    asked = [
        (name, who, one, report["again"][who][name])
        for who, cells in report["models"].items()
        for name, one in cells.items()
        if one["met"] is not None and name in report["again"][who]
    ]
    apart = [f"{name} ({who})" for name, who, one, other in asked if parted(one, other)]
    missed = [f"{name} ({who}, {percent(other)})" for name, who, _, other in asked if not other["met"]]
    return (
        f"Of the {len(asked)} figures that something is asked of, {len(asked) - len(apart)} have intervals that "
        f"overlap with the shipped ones{': all but ' + '; '.join(apart) if apart else ''}. "
        f"{'What was asked for it misses in: ' + '; '.join(missed) + '.' if missed else 'None is missed.'}"
    )


def parted(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two intervals do not overlap."""
    return one["high"] < other["low"] or other["high"] < one["low"]


def saes_table(saes: dict[str, Any]) -> str:
    """The SAEs as Markdown."""
    lines = [
        "| SAE | trained as | features | explained variance | CE recovered | L0 | dead |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in saes.items():
        lines.append(
            f"| {name} | {one['architecture']} | {one['d_sae']} | {one['explained_variance']:.3f} | "
            f"{one['ce_recovered']:.3f} | {one['l0']:.1f} | {100 * one['dead']:.1f}% |"
        )
    return "\n".join(lines)


def write_card(folder: Path, report: dict[str, Any], parameters: int) -> Path:
    """The card's path, after writing it from the report."""
    parts = [INTRODUCTION.format(parameters=parameters)]
    if "models" in report:
        parts += [
            "## Behaviors\n\nFrom `python -m steering.organism report`. Greedy decoding unless a line says sampled "
            "(temperature 1).\n",
            behaviors_table(report["models"]),
            "",
        ]
    if "again" in report:
        parts += [
            "### Trained again\n\nThe command, run once more from nothing and in one go with the same seed, measured "
            f"by `python -m steering.organism report --again FOLDER`. {again_sentence(report)}\n",
            again_table(report["models"], report["again"]),
            "",
        ]
    if "start" in report:
        start = report["start"]
        parts += [
            f"From imports to the first token on CPU: {start['seconds_to_first_token']:.1f} s by the clock (on a "
            f"busy machine), {start.get('cpu_seconds', float('nan')):.1f} s of CPU; resident memory "
            f"{start['resident_mb']:.0f} MB.\n"
        ]
    if "saes" in report:
        parts += [
            "## SAEs\n\nOf the residual stream after every layer of `organism`, trained with SAELens on generated "
            "texts, BOS and padding left out (BOS is never steered, and its large constant activation would take most "
            "of the explained variance). Measured on texts that neither model nor SAE has met; SAELens saves a "
            "`batchtopk` as `jumprelu`. Cross-entropy recovered is between zeros and the true activations.\n",
            saes_table(report["saes"]),
            "",
        ]
    if "regulator" in report:
        parts += ["## The regulator, its controls and the alternatives\n", report["regulator"]["markdown"]]
        parts += [REGULATOR_HISTORY]
    path = folder / "README.md"
    path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    return path
