"""The published formats: each knows its rows by their columns and turns one into an item.

| format | columns |
| --- | --- |
| organism | kind, prompt, ... (the bundled sets) |
| behavior | question, answer_matching_behavior, answer_not_matching_behavior (model-written evals, CAA A/B) |
| sycophancy_eval | prompt (messages), base, metadata (SycophancyEval) |
| refusal | instruction, category (refusal_direction's splits) |
| truthfulqa | Question, Best Answer, Correct Answers, Incorrect Answers; or question, mc1_targets, mc2_targets |
| caa_choice | prompt, correct, incorrect (CAA's MMLU and TruthfulQA) |
| mmlu | question, choices, answer; or rows of question, A, B, C, D, letter without a header |
| dilemma | title, situation, question (SARA's dilemmas, read from their text file) |
| questionnaire | statement, number, foundation (the Moral Foundations Questionnaire, read from SARA's prompt) |
| open | question, or prompt, alone (CAA open-ended) |
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..scoring import scorers
from ..scoring.items import Item
from ..scoring.measure import Scorer
from ..scoring.moral import ScaleRatings, SchoolWords
from ..scoring.scorers import ForcedChoice
from .published import READERS

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Format:
    """A published format: how its rows are recognized, read and, by default, scored.

    Attributes:
        by_kind: the scorers of items whose label "kind" says more than the format does.
        read: gives None for a row that asks nothing.
        without: columns that a row of this format does not have.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[dict[str, Any]], Item | None]
    scorer: Scorer
    by_kind: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def scorer_of(self, item: Item) -> Scorer:
        """The scorer of an item by its kind, else the format's; a claim with both statements is read by preference."""
        if item.labels.get("kind") == "claim" and "falsehood" in item.labels:
            return scorers.SCORERS["preference"]
        name = self.by_kind.get(str(item.labels.get("kind")))
        return scorers.SCORERS[name] if name else self.scorer


def recognize(values: Mapping[str, Any]) -> Format | None:
    """The format whose columns a row has, the most specific one first; None if there is none."""
    for one in FORMATS.values():
        if all(column in values for column in one.columns) and not any(column in values for column in one.without):
            return one
    return None


def _text(values: Mapping[str, Any], column: str) -> str:
    value = values[column]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{column!r} holds a text; got {value!r}.")
    return value


def _organism(values: dict[str, Any]) -> Item:
    labels = {key: value for key, value in values.items() if key not in ("prompt", "system")}
    if values["kind"] == "options":
        del labels["options"]
        return Item(
            _text(values, "prompt"), options=tuple(values["options"]), matching=(values["right"],), labels=labels
        )
    if values["kind"] == "question" and "answer_true" in labels:
        labels["answers"] = [labels["answer_true"]]
    return Item(_text(values, "prompt"), str(values.get("system", "")), labels=labels)


def _behavior(values: dict[str, Any]) -> Item:
    options = (_text(values, "answer_matching_behavior"), _text(values, "answer_not_matching_behavior"))
    labels = {key: values[key] for key in ("statement", "label_confidence", "category") if key in values}
    return Item(_text(values, "question"), options=options, matching=(0,), labels=labels)


def _sycophancy_eval(values: dict[str, Any]) -> Item:
    """A row of answer.jsonl, are_you_sure.jsonl, feedback.jsonl or mimicry.jsonl: `kind` says of which.

    The key figures are differences between sets: `where = {pressure = "neutral"}` against "suggests wrong".
    """
    roles = {"human": "user", "ai": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
    turns = tuple({"role": roles[turn["type"]], "content": str(turn["content"])} for turn in values["prompt"])
    base, about = values["base"], values.get("metadata") or {}
    template = str(about.get("prompt_template", ""))
    labels: dict[str, Any] = {"template": template, "dataset": base.get("dataset", "")}
    right, wrong = base.get("correct_answer"), base.get("incorrect_answer")
    if "attribution" in base:
        right, wrong = base["attribution"], about.get("incorrect_attribution")
        labels["kind"] = "mimicry"
    elif base.get("correct_letter") or len(turns) > 1:
        labels["kind"] = "are_you_sure"
    elif not right:
        labels |= {"kind": "feedback", "pressure": about.get("prompt_template_type") or "neutral"}
    else:
        labels |= {"kind": "answer", "pressure": _pressure(template)}
    answers = base.get("answer") or []
    answers = list(dict.fromkeys([*([right] if right else []), *([answers] if isinstance(answers, str) else answers)]))
    labels |= {"answers": answers} if answers else {}
    labels |= {"wrong": [wrong]} if wrong else {}
    labels |= {"letter": base["correct_letter"]} if base.get("correct_letter") else {}
    return Item(turns, labels=labels)


def _pressure(template: str) -> str:
    """What the user of SycophancyEval's answer set says about the answer."""
    if "{incorrect_answer}" in template:
        return "suggests wrong"
    if "{correct_answer}" in template:
        return "doubts right" if "don't" in template else "suggests right"
    return "neutral"


def _refusal(values: dict[str, Any]) -> Item:
    # Only the file's name says what is harmful (harmful_test.json, harmless_val.json); see `readers.read`.
    labels: dict[str, Any] = {"category": values.get("category")}
    labels |= {"harmful": bool(values["harmful"])} if "harmful" in values else {}
    return Item(_text(values, "instruction"), labels=labels)


def split(text: str) -> list[str]:
    """The parts of a text between semicolons."""
    return [part.strip() for part in text.split(";") if part.strip()]


def _truthfulqa_csv(values: dict[str, Any]) -> Item:
    right = list(dict.fromkeys([_text(values, "Best Answer").strip(), *split(values["Correct Answers"])]))
    wrong = split(_text(values, "Incorrect Answers"))
    options = tuple(f" {one}" for one in dict.fromkeys((*right, *wrong)))
    labels = {"category": values.get("Category", ""), "answers": right, "wrong": wrong}
    return Item(_text(values, "Question"), options=options, matching=tuple(range(len(right))), labels=labels)


def _truthfulqa_mc(targets: str) -> Callable[[dict[str, Any]], Item]:
    def make(values: dict[str, Any]) -> Item:
        found = values[targets]
        if "choices" in found and "labels" in found:  # the form on the Hub
            found = dict(zip(found["choices"], found["labels"], strict=True))
        options = tuple(f" {one}" for one in found)
        matching = tuple(k for k, good in enumerate(found.values()) if good)
        return Item(_text(values, "question"), options=options, matching=matching)

    return make


def _caa_choice(values: dict[str, Any]) -> Item:
    options = (_text(values, "correct"), _text(values, "incorrect"))
    labels = {key: values[key] for key in ("category", "correct_full_text", "incorrect_full_text") if key in values}
    return Item(_text(values, "prompt"), options=options, matching=(0,), labels=labels)


def lettered(question: str, choices: Sequence[Any], right: int, labels: dict[str, Any]) -> Item:
    """An item that lists its choices under letters, to be answered with one of them; `right` counts from 0."""
    if not 0 <= right < len(choices) <= len(LETTERS):
        raise ValueError(f"The answer is the number of one of the {len(choices)} choices, from 0; got {right}.")
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    options = tuple(f" {letter}" for letter in LETTERS[: len(choices)])
    return Item(f"{question.strip()}\n{listed}\nAnswer:", options=options, matching=(right,), labels=labels)


def _mmlu(values: dict[str, Any]) -> Item:
    choices, answer = values["choices"], values["answer"]
    if isinstance(choices, str):  # in CSV exports a list is written out, by JSON, Python or NumPy
        spaced = re.sub(r"(?<=['\"])\s+(?=['\"])", ", ", choices)  # NumPy writes no commas: ['3' '4']
        choices = json.loads(choices) if choices.lstrip().startswith('["') else ast.literal_eval(spaced)
    right = LETTERS.index(answer.strip()) if isinstance(answer, str) and answer.strip() in LETTERS else int(answer)
    labels = {"subject": values.get("subject", ""), "letter": LETTERS[right]}
    return lettered(_text(values, "question"), list(choices), right, labels)


def _mmlu_columns(values: dict[str, Any]) -> Item:
    letter = str(values.get("answer", values.get("Answer"))).strip()
    right = LETTERS.index(letter) if letter in LETTERS[:4] and letter else int(letter)
    question = values.get("question", values.get("Question"))
    labels = {"subject": values.get("subject", values.get("Subject", "")), "letter": LETTERS[right]}
    return lettered(str(question), [values[k] for k in "ABCD"], right, labels)


def _mmlu_headerless(values: dict[str, Any]) -> Item:
    question, a, b, c, d, letter = (values[str(k)] for k in range(6))
    return lettered(question, (a, b, c, d), "ABCD".index(letter.strip()), {"letter": letter.strip()})


def _dilemma(values: dict[str, Any]) -> Item:
    prompt = f"{_text(values, 'situation')}\n\n{_text(values, 'question')}"
    return Item(prompt, str(values.get("instructions", "")), labels={"kind": "dilemma_open", "title": values["title"]})


def _questionnaire(values: dict[str, Any]) -> Item:
    # The published prompt asks for a table of all answers at once; here each statement is asked alone.
    prompt = f"{_text(values, 'instructions')}\n\n{_text(values, 'statement')}\n\nAnswer with the number alone."
    labels = {"number": int(values["number"]), "foundation": values["foundation"], "top": int(values["top"])}
    return Item(prompt, labels=labels)


def _open(values: dict[str, Any]) -> Item:
    column = "question" if "question" in values else "prompt"
    labels = {
        key: value for key, value in values.items() if key != column and isinstance(value, str | int | float | bool)
    }
    return Item(_text(values, column), labels=labels)


# Sums of log-probabilities, not means over tokens: so the published figures of TruthfulQA's mc1 and mc2 are defined.
_RIGHT = ForcedChoice(correct=True)
BY_TEXT = "forced_choice, per token"
_ANSWERED = ("Question", "Best Answer", "Correct Answers", "Incorrect Answers")
_BEHAVIOR = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
_KINDS = {
    "claim": "claims", "choice": "letters", "request": "refusals", "dilemma": "voices", "question": "answers",
    "dilemma_open": "school words (proxy)", "options": BY_TEXT,
    "voices": "voices by preference", "moods": "moods by preference",
}  # fmt: skip
_OPEN = {"dilemma_open": "school words (proxy)"}
# Minimal pairs and single words are compared whole; what only a judge can read has praise words until one is asked.
_PUBLISHED: dict[str, Scorer] = {
    **dict.fromkeys(("blimp", "ethics_virtue", "ethics_deontology", "ethics_justice"), _RIGHT),
    **dict.fromkeys(("ethics_commonsense", "situations", "goemotions", "emobank"), _RIGHT),
    "expert_claims": ForcedChoice(),  # what matches is sycophancy, not a right answer
    "freeform_sycophancy": scorers.PraiseWords(),
    "statements": scorers.YesOrNo(),
    "answered": scorers.Answers(),
}
_PUBLISHED_KINDS = {"moralchoice": {"moralchoice_high": "forced_choice, per token, none right"}}
_NOT = {"choices": ("subject", "mc1_targets"), "sciq": ("choices",), "answered": ("choices", "A")}
FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("organism", ("kind", "prompt"), _organism, scorers.Grammar(), _KINDS),
        Format("behavior", _BEHAVIOR, _behavior, ForcedChoice()),
        Format(
            "sycophancy_eval", ("prompt", "base"), _sycophancy_eval, scorers.Answers(),
            {"feedback": "praise words (proxy)"},
        ),
        Format("refusal", ("instruction",), _refusal, scorers.Refusals()),
        Format("truthfulqa", _ANSWERED, _truthfulqa_csv, _RIGHT),
        Format("truthfulqa_mc1", ("question", "mc1_targets"), _truthfulqa_mc("mc1_targets"), _RIGHT),
        Format("truthfulqa_mc2", ("question", "mc2_targets"), _truthfulqa_mc("mc2_targets"), _RIGHT),
        Format("caa_choice", ("prompt", "correct", "incorrect"), _caa_choice, _RIGHT),
        *(
            Format(
                name, columns, read, _PUBLISHED.get(name, scorers.SCORERS[BY_TEXT]), _PUBLISHED_KINDS.get(name, {}),
                _NOT.get(name, ()),
            )
            for name, (columns, read) in READERS.items()
        ),
        Format("mmlu", ("question", "choices", "answer"), _mmlu, _RIGHT),
        Format("mmlu_columns", ("A", "B", "C", "D"), _mmlu_columns, _RIGHT),
        Format("mmlu_headerless", ("0", "1", "2", "3", "4", "5"), _mmlu_headerless, _RIGHT),
        Format("dilemma", ("title", "situation", "question"), _dilemma, SchoolWords(), _OPEN),
        Format("questionnaire", ("statement", "number", "foundation"), _questionnaire, ScaleRatings()),
        Format("open", ("question",), _open, scorers.Refusals()),
        Format("prompts", ("prompt",), _open, scorers.Refusals()),
    )
}  # fmt: skip
