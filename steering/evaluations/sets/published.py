"""Published sets whose answers are texts: multiple choice by the choice's text, minimal pairs, ETHICS, emotions.

A small model's letter means little, so each choice is scored as the answer that would be written. Chance is the mean
of one over the number of choices (`EvaluationSet.chance`).

| format | columns |
| --- | --- |
| choices | id, question, choices (a list), answer (a number); also context, passage or premise |
| arc | question or question_stem, choices {text, label}, answerKey (ARC, OpenBookQA, CommonsenseQA) |
| piqa | goal, sol1, sol2, label |
| sciq | question, correct_answer, distractor1, distractor2, distractor3 |
| hellaswag | ctx, endings, label |
| blimp | sentence_good, sentence_bad |
| ethics_utilitarianism | more_pleasant, less_pleasant |
| ethics_virtue | scenario, trait, label |
| ethics_deontology | scenario, excuse, label |
| ethics_justice | scenario, label |
| ethics_commonsense | input, label |
| expert_claims | text, truthful_answer, sycophantic_answer |
| freeform_sycophancy | initial_user_message, sycophancy_indicators (no scorer reads these but a judge) |
| true_and_false | true, false (one fact as two statements) |
| statements | statement, label (1 is true) |
| moralchoice | context, action1, action2, ambiguity (where it is low, the first action is the right one) |
| situations | a list of texts in a file that is named after emotions: anger.json, happiness_sadness.json (RepE) |
| goemotions | text, labels (names or numbers of GoEmotions' 28 labels) |
| emobank | text, V, A, D (valence, arousal and dominance, 1 to 5) |
| answered | question, answer (a list of answers, or a text; NQ-open, GSM8K) |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..scoring.items import Item
from .emotions import FEELINGS, GOEMOTIONS

Read = Callable[[dict[str, Any]], Item | None]  # None: the row asks nothing, and is passed over
READERS: dict[str, tuple[tuple[str, ...], Read]] = {}


def _format(name: str, *columns: str) -> Callable[[Read], Read]:
    def keep(read: Read) -> Read:
        READERS[name] = (columns, read)
        return read

    return keep


def _chosen(question: str, choices: Sequence[Any], right: int, **labels: Any) -> Item:
    """An item whose options are its choices' texts; `right` counts from 0.

    A choice that stands there twice is one option: published sets have a few such questions (SciQ, CommonsenseQA).
    """
    if not 0 <= right < len(choices):
        raise ValueError(f"The answer is the number of one of the {len(choices)} choices, from 0; got {right}.")
    texts = [str(choice).strip() for choice in choices]
    options = tuple(dict.fromkeys(texts))
    return Item(question.strip(), options=options, matching=(options.index(texts[right]),), labels=labels)


def _number(value: Any, what: str = "label") -> int:
    if isinstance(value, bool) or not str(value).strip().lstrip("-").isdigit():
        raise ValueError(f"{what!r} is the number of the right choice; got {value!r}.")
    return int(value)


@_format("choices", "id", "question", "choices", "answer")
def _choices(values: dict[str, Any]) -> Item:
    asked = str(values["question"])
    if "premise" in values:  # COPA asks for a cause or an effect
        asked = f"{values['premise']} What was the {asked}?"
    for before in ("context", "passage"):
        asked = f"{values[before]} {asked}" if values.get(before) else asked
    return _chosen(asked, values["choices"], _number(values["answer"], "answer"), subject=values.get("subject", ""))


@_format("arc", "choices", "answerKey")
def _arc(values: dict[str, Any]) -> Item:
    found, key = values["choices"], str(values["answerKey"]).strip()
    texts, labels = found["text"], [str(one) for one in found["label"]]
    if key not in labels:
        raise ValueError(f"'answerKey' is one of {', '.join(labels)}; got {key!r}.")
    asked = values.get("question_stem") or values["question"]
    return _chosen(str(asked), texts, labels.index(key))


@_format("piqa", "goal", "sol1", "sol2")
def _piqa(values: dict[str, Any]) -> Item:
    if "label" not in values:
        raise ValueError("PIQA's labels stand in a file of their own; put them in as a column 'label' (0 or 1).")
    return _chosen(str(values["goal"]), (values["sol1"], values["sol2"]), _number(values["label"]))


@_format("sciq", "question", "correct_answer", "distractor1")
def _sciq(values: dict[str, Any]) -> Item:
    wrong = [values[f"distractor{k}"] for k in (1, 2, 3) if values.get(f"distractor{k}")]
    return _chosen(str(values["question"]), [values["correct_answer"], *wrong], 0)


@_format("hellaswag", "ctx", "endings", "label")
def _hellaswag(values: dict[str, Any]) -> Item:
    return _chosen(f"Go on: {values['ctx']}", values["endings"], _number(values["label"]))


@_format("blimp", "sentence_good", "sentence_bad")
def _blimp(values: dict[str, Any]) -> Item:
    # The sentences stand alone in the published measure; here they are what a chat model writes when asked for one.
    about = {key: values[key] for key in ("field", "linguistics_term", "UID") if key in values}
    return _chosen("Write a sentence.", (values["sentence_good"], values["sentence_bad"]), 0, **about)


@_format("ethics_utilitarianism", "more_pleasant", "less_pleasant")
def _pleasant(values: dict[str, Any]) -> Item:
    asked = "Tell me about something pleasant that happened to you."
    return _chosen(asked, (values["more_pleasant"], values["less_pleasant"]), 0)


def _judged(asked: str, label: Any, when_one: str, when_zero: str) -> Item:
    return _chosen(asked, (when_zero, when_one), _number(label))


@_format("ethics_virtue", "scenario", "trait", "label")
def _virtue(values: dict[str, Any]) -> Item:
    asked = f"{values['scenario']} Does the word {values['trait']!r} describe this behavior?"
    return _judged(asked, values["label"], "Yes", "No")


@_format("ethics_deontology", "scenario", "excuse", "label")
def _deontology(values: dict[str, Any]) -> Item:
    return _judged(f"{values['scenario']} {values['excuse']} Is this reasonable?", values["label"], "Yes", "No")


@_format("ethics_justice", "scenario", "label")
def _justice(values: dict[str, Any]) -> Item:
    return _judged(f"{values['scenario']} Is this reasonable?", values["label"], "Yes", "No")


@_format("ethics_commonsense", "input", "label")
def _commonsense(values: dict[str, Any]) -> Item:
    return _judged(f"{values['input']} Was that wrong?", values["label"], "Yes", "No")


@_format("expert_claims", "text", "truthful_answer", "sycophantic_answer")
def _expert(values: dict[str, Any]) -> Item:
    about = {key: values[key] for key in ("subdomain",) if key in values}
    return _chosen(str(values["text"]), (values["sycophantic_answer"], values["truthful_answer"]), 0, **about)


@_format("freeform_sycophancy", "initial_user_message", "sycophancy_indicators")
def _freeform(values: dict[str, Any]) -> Item:
    about = {key: values[key] for key in ("domain", "ground_truth_assessment") if key in values}
    return Item(str(values["initial_user_message"]), labels={"kind": "feedback", **about})


@_format("true_and_false", "true", "false")
def _facts(values: dict[str, Any]) -> Item:
    return _chosen("Tell me a fact.", (values["true"], values["false"]), 0, domain=values.get("domain", ""))


@_format("statements", "statement", "label")
def _statement(values: dict[str, Any]) -> Item:
    true = bool(_number(values["label"]))
    said = str(values["statement"]).strip()
    return Item(f"Is this true? {said}", labels={"kind": "claim", "true": true, "claimed": said.rstrip(".")})


@_format("moralchoice", "context", "action1", "action2", "ambiguity")
def _moral_choice(values: dict[str, Any]) -> Item | None:
    ambiguity = str(values["ambiguity"]).strip()
    if ambiguity not in ("low", "high"):
        raise ValueError(f"'ambiguity' is low or high; got {ambiguity!r}.")
    if str(values["action1"]).strip() == str(values["action2"]).strip():
        return None  # one row of the published file has the same action twice
    about = {"kind": f"moralchoice_{ambiguity}", "rule": values.get("generation_rule", "")}
    return _chosen(f"{values['context']} What do you do?", (values["action1"], values["action2"]), 0, **about)


@_format("situations", "prompt", "emotions")
def _situation(values: dict[str, Any]) -> Item:
    felt = [str(one) for one in values["emotions"]]
    # A sentence, and not the word alone: a small model hardly begins an answer with "Afraid".
    return _felt(f"{_said(values, 'prompt')} How do you feel?", FEELINGS, felt, "I feel {}.")


@_format("goemotions", "text", "labels")
def _goemotions(values: dict[str, Any]) -> Item:
    given = values["labels"]
    if not isinstance(given, list):
        raise ValueError(f"'labels' is a list of GoEmotions' labels; got {given!r}.")
    felt = [_go_label(one) for one in given]
    return _felt(f"{_said(values, 'text')}\nWhich emotion does this show?", GOEMOTIONS, felt)


def _go_label(one: Any) -> str:
    if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < len(GOEMOTIONS):
        return GOEMOTIONS[one]
    return str(one)


def _felt(asked: str, names: Sequence[str], felt: Sequence[str], answer: str = "") -> Item:
    """An item whose options are the names of emotions, or answers with one in them; each that was felt matches."""
    if not felt or set(felt) - set(names):
        raise ValueError(f"An emotion is one of {', '.join(names)}; got {', '.join(felt) or 'none'}.")
    matching = tuple(k for k, name in enumerate(names) if name in felt)
    options = tuple(answer.format(name) if answer else name.capitalize() for name in names)
    return Item(asked, options=options, matching=matching, labels={"emotions": list(felt)})


def _said(values: dict[str, Any], column: str) -> str:
    text = values[column]
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{column!r} holds a text; got {text!r}.")
    return text.strip()


@_format("emobank", "text", "V", "A", "D")
def _emobank(values: dict[str, Any]) -> Item:
    ratings = {name: _rating(values, key) for name, key in (("valence", "V"), ("arousal", "A"), ("dominance", "D"))}
    valence = ratings["valence"]
    side = "middle" if valence == MIDDLE else "pleasant" if valence > MIDDLE else "unpleasant"
    # In the middle either answer matches, so that guessing is shown to be right there: `where = {side = ...}` leaves
    # such texts out.
    matching = (0, 1) if side == "middle" else (0,) if side == "pleasant" else (1,)
    asked = f"{_said(values, 'text')}\nIs the feeling in this text pleasant or unpleasant?"
    labels = {"side": side, "split": values.get("split", ""), **ratings}
    return Item(asked, options=("Pleasant", "Unpleasant"), matching=matching, labels=labels)


MIDDLE = 3.0  # of EmoBank's scales, which go from 1 to 5


def _rating(values: dict[str, Any], column: str) -> float:
    try:
        rating = float(values[column])
    except (TypeError, ValueError):
        rating = math.nan
    if not 1 <= rating <= 5:
        raise ValueError(f"{column!r} is a rating from 1 to 5; got {values[column]!r}.")
    return rating


@_format("answered", "question", "answer")
def _answered(values: dict[str, Any]) -> Item:
    given = values["answer"]
    answers = [str(one).strip() for one in (given if isinstance(given, list) else [given])]
    # GSM8K writes the steps out and the result after four number signs.
    answers = [one.rpartition("####")[2].strip() for one in answers]
    answers = [one for one in answers if one]
    if not answers:
        raise ValueError(f"'answer' holds an answer or a list of them; got {given!r}.")
    return Item(_said(values, "question"), labels={"answers": list(dict.fromkeys(answers))})
