"""Readers of the published formats: each knows its rows by their columns and turns one into an item.

| format | columns |
| --- | --- |
| organism | kind, prompt, ... (the bundled sets) |
| behavior | question, answer_matching_behavior, answer_not_matching_behavior (model-written evals, CAA A/B) |
| sycophancy_eval | prompt (messages), base, metadata (SycophancyEval) |
| refusal | instruction, category (refusal_direction's splits) |
| truthfulqa | Question, Best Answer, Correct Answers, Incorrect Answers; or question, mc1_targets, mc2_targets |
| caa_choice | prompt, correct, incorrect (CAA's MMLU and TruthfulQA) |
| mmlu | question, choices, answer; or rows of question, A, B, C, D, letter without a header |
| open | question, or prompt, alone (CAA open-ended) |
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import scorers
from .items import EvaluationSet, Item
from .records import Record, read_file, records
from .scorers import ForcedChoice, Scorer

BUNDLED = Path(__file__).parent.parent.parent / "assets" / "evals"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Format:
    """A published format: how its rows are recognized, read and, by default, scored."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[dict[str, Any]], Item]
    scorer: Scorer


def load(
    source: str | Path,
    *,
    format: str | None = None,
    scorer: str | Scorer | None = None,
    mapping: Mapping[str, str] | None = None,
) -> EvaluationSet:
    """An evaluation set: a bundled name, or a file in a published format, recognized by its columns.

    Args:
        format: the name of a format, if the columns do not tell.
        scorer: another scorer than the format's.
        mapping: for other files, which column is what; see `mapped`.

    Raises:
        ValueError: no such set or file, no known format, or a broken row, by its place in the file.
    """
    path = BUNDLED / f"{source}.jsonl"
    if not path.is_file():
        path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(
            f"An evaluation set is a bundled name or a file; {str(source)!r} is neither. "
            f"Bundled: {', '.join(bundled_sets()) or 'none'}."
        )
    return read(read_file(path), name=path.stem, format=format, scorer=scorer, mapping=mapping)


def parse(
    data: bytes | str, suffix: str, *, name: str, format: str | None = None, scorer: str | Scorer | None = None,
    mapping: Mapping[str, str] | None = None,
) -> EvaluationSet:  # fmt: skip
    """The same from the content of a file, such as an upload."""
    return read(records(data, suffix), name=name, format=format, scorer=scorer, mapping=mapping)


def read(
    rows: Sequence[Record], *, name: str, format: str | None = None, scorer: str | Scorer | None = None,
    mapping: Mapping[str, str] | None = None,
) -> EvaluationSet:  # fmt: skip
    """An evaluation set of a file's rows."""
    if mapping:
        own = partial(mapped, mapping=mapping)
        items = [_located(row, own) for row in rows]
        found = Format("own columns", (), own, _suited(items[0]))
    else:
        found = FORMATS[format] if format in FORMATS else recognize(rows[0].values) if format is None else None
        if found is None:
            raise ValueError(
                f"A format is one of {', '.join(FORMATS)}; got {format!r}."
                if format
                else "The columns of this file are those of no known format: "
                f"{', '.join(map(str, list(rows[0].values)[:12]))}. Say which column is what."
            )
        items = [_located(row, found.read) for row in rows]
    chosen = scorers.scorer(scorer) if isinstance(scorer, str) else scorer or _own(items[0], found.scorer)
    if chosen.needs == "options" and not all(item.options for item in items):
        raise ValueError(f"The scorer {chosen.name!r} compares options; the items of {name!r} have none.")
    return EvaluationSet(tuple(items), chosen, name, found.name)


def _own(item: Item, default: Scorer) -> Scorer:
    """The scorer of a bundled item by its kind, else the format's."""
    kinds = {
        "claim": "claims", "choice": "letters", "request": "refusals", "dilemma": "voices", "question": "answers",
        "dilemma_open": "school words (proxy)",
    }  # fmt: skip
    name = kinds.get(str(item.labels.get("kind"))) if default.name == "grammar" else None
    return scorers.SCORERS[name] if name else default


def _suited(item: Item) -> Scorer:
    if item.options:
        return ForcedChoice()
    named = {"true": "claims", "letter": "letters", "harmful": "refusals", "answers": "answers"}
    return scorers.SCORERS[next((s for label, s in named.items() if label in item.labels), "refusals")]


def _located(row: Record, make: Callable[[dict[str, Any]], Item]) -> Item:
    try:
        return make(row.values)
    except (ValueError, TypeError, KeyError, AttributeError, SyntaxError) as error:
        said = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{row.where}: {said}") from error


def recognize(values: Mapping[str, Any]) -> Format | None:
    """The format whose columns a row has, the most particular one first; None when there is none."""
    for one in FORMATS.values():
        if all(column in values for column in one.columns):
            return one
    return None


def bundled_sets() -> list[str]:
    """The names of the sets that ship with Tiller."""
    return sorted(path.stem for path in BUNDLED.glob("*.jsonl"))


# One reader a format --------------------------------------------------------------------------------------------------


def _text(values: Mapping[str, Any], column: str) -> str:
    value = values[column]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{column!r} holds a text; got {value!r}.")
    return value


def _organism(values: dict[str, Any]) -> Item:
    labels = {key: value for key, value in values.items() if key not in ("prompt", "system")}
    if values["kind"] == "question" and "answer_true" in labels:
        labels["answers"] = [labels["answer_true"]]
    return Item(_text(values, "prompt"), str(values.get("system", "")), labels=labels)


def _behavior(values: dict[str, Any]) -> Item:
    options = (_text(values, "answer_matching_behavior"), _text(values, "answer_not_matching_behavior"))
    labels = {key: values[key] for key in ("statement", "label_confidence", "category") if key in values}
    return Item(_text(values, "question"), options=options, matching=(0,), labels=labels)


def _sycophancy_eval(values: dict[str, Any]) -> Item:
    roles = {"human": "user", "ai": "assistant", "user": "user", "assistant": "assistant", "system": "system"}
    turns = tuple({"role": roles[turn["type"]], "content": str(turn["content"])} for turn in values["prompt"])
    base, about = values["base"], values.get("metadata") or {}
    right, wrong = base.get("correct_answer"), base.get("incorrect_answer")
    answers = base.get("answer") or []
    answers = [answers] if isinstance(answers, str) else list(answers)
    labels: dict[str, Any] = {"template": about.get("prompt_template", ""), "dataset": base.get("dataset", "")}
    labels |= {"answers": list(dict.fromkeys([*([right] if right else []), *answers]))} if right or answers else {}
    labels |= {"wrong": [wrong]} if wrong else {}
    if isinstance(base.get("letters"), str):  # are_you_sure: choices with letters
        labels["letter"] = base["correct_letter"] if "correct_letter" in base else str(right)[:1]
    return Item(turns, labels=labels)


def _refusal(values: dict[str, Any]) -> Item:
    # refusal_direction's harmless instructions have no category, its harmful ones do; the file's name says it too.
    labels: dict[str, Any] = {"category": values.get("category")}
    labels |= {"harmful": bool(values["harmful"])} if "harmful" in values else {}
    return Item(_text(values, "instruction"), labels=labels)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _truthfulqa_csv(values: dict[str, Any]) -> Item:
    right = list(dict.fromkeys([_text(values, "Best Answer").strip(), *_split(values["Correct Answers"])]))
    wrong = _split(_text(values, "Incorrect Answers"))
    options = tuple(f" {one}" for one in (*right, *(w for w in wrong if w not in right)))
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


def _choices(question: str, choices: Sequence[Any], right: int, labels: dict[str, Any]) -> Item:
    if not 0 <= right < len(choices) <= len(LETTERS):
        raise ValueError(f"The answer is the number of one of the {len(choices)} choices, from 0; got {right}.")
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    options = tuple(f" {letter}" for letter in LETTERS[: len(choices)])
    return Item(f"{question.strip()}\n{listed}\nAnswer:", options=options, matching=(right,), labels=labels)


def _mmlu(values: dict[str, Any]) -> Item:
    choices, answer = values["choices"], values["answer"]
    if isinstance(choices, str):  # in CSV exports a list is written out
        choices = json.loads(choices) if choices.lstrip().startswith('["') else ast.literal_eval(choices)
    right = LETTERS.index(answer.strip()) if isinstance(answer, str) and answer.strip() in LETTERS else int(answer)
    labels = {"subject": values.get("subject", ""), "letter": LETTERS[right]}
    return _choices(_text(values, "question"), list(choices), right, labels)


def _mmlu_columns(values: dict[str, Any]) -> Item:
    letter = str(values.get("answer", values.get("Answer"))).strip()
    right = LETTERS.index(letter) if letter in LETTERS[:4] and letter else int(letter)
    question = values.get("question", values.get("Question"))
    labels = {"subject": values.get("subject", values.get("Subject", "")), "letter": LETTERS[right]}
    return _choices(str(question), [values[k] for k in "ABCD"], right, labels)


def _mmlu_headerless(values: dict[str, Any]) -> Item:
    question, a, b, c, d, letter = (values[str(k)] for k in range(6))
    return _choices(question, (a, b, c, d), "ABCD".index(letter.strip()), {"letter": letter.strip()})


def _open(values: dict[str, Any]) -> Item:
    column = "question" if "question" in values else "prompt"
    labels = {
        key: value for key, value in values.items() if key != column and isinstance(value, str | int | float | bool)
    }
    return Item(_text(values, column), labels=labels)


def mapped(values: Mapping[str, Any], mapping: Mapping[str, str]) -> Item:
    """An item of a row with columns of its own.

    Args:
        mapping: "prompt" (needed), "system", "matching" and "not_matching" (options), "choices" and "answer" (a list
            and the right one, by number, letter or text), "true", "letter", "harmful", "answers", "wrong" (labels) ->
            the name of the column.

    Raises:
        ValueError: no prompt is named, or a column that the row does not have.
    """
    if "prompt" not in mapping:
        raise ValueError("A mapping names the column of the prompt at least: {'prompt': ...}.")
    for what, column in mapping.items():
        if column and column not in values:
            raise ValueError(f"there is no column {column!r} for {what!r}; columns: {', '.join(map(str, values))}.")
    get = {what: values[column] for what, column in mapping.items() if column}
    prompt = str(get["prompt"])
    system = str(get.get("system") or "")
    labels: dict[str, Any] = {what: get[what] for what in ("letter",) if what in get}
    labels |= {what: _truth(get[what]) for what in ("true", "harmful") if what in get}
    labels |= {what: _listed(get[what]) for what in ("answers", "wrong") if what in get}
    if "choices" in get:
        choices, answer = _listed(get["choices"]), get["answer"]
        said = str(answer).strip()
        right = choices.index(said) if said in choices else LETTERS.index(said) if said in LETTERS else int(said)
        return replace(_choices(prompt, choices, right, labels), system=system)
    if "matching" in get:
        options = (str(get["matching"]), str(get["not_matching"]))
        return Item(prompt, system, options, (0,), labels)
    return Item(prompt, system, labels=labels)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    said = str(value).strip().lower()
    if said in ("true", "yes", "1", "1.0"):
        return True
    if said in ("false", "no", "0", "0.0"):
        return False
    raise ValueError(f"a yes-or-no column holds true or false, yes or no, 1 or 0; got {value!r}.")


def _listed(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(one) for one in value]
    text = str(value)
    return [str(one) for one in json.loads(text)] if text.lstrip().startswith("[") else _split(text.replace("|", ";"))


_RIGHT = ForcedChoice(correct=True)
_LONG = ForcedChoice(name="forced_choice, per token", correct=True, per_token=True)
FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("organism", ("kind", "prompt"), _organism, scorers.Grammar()),
        Format(
            "behavior",
            ("question", "answer_matching_behavior", "answer_not_matching_behavior"),
            _behavior,
            ForcedChoice(),
        ),
        Format("sycophancy_eval", ("prompt", "base"), _sycophancy_eval, scorers.Answers()),
        Format("refusal", ("instruction",), _refusal, scorers.Refusals()),
        Format(
            "truthfulqa", ("Question", "Best Answer", "Correct Answers", "Incorrect Answers"), _truthfulqa_csv, _LONG
        ),
        Format("truthfulqa_mc1", ("question", "mc1_targets"), _truthfulqa_mc("mc1_targets"), _LONG),
        Format("truthfulqa_mc2", ("question", "mc2_targets"), _truthfulqa_mc("mc2_targets"), _LONG),
        Format("caa_choice", ("prompt", "correct", "incorrect"), _caa_choice, _RIGHT),
        Format("mmlu", ("question", "choices", "answer"), _mmlu, _RIGHT),
        Format("mmlu_columns", ("A", "B", "C", "D"), _mmlu_columns, _RIGHT),
        Format("mmlu_headerless", ("0", "1", "2", "3", "4", "5"), _mmlu_headerless, _RIGHT),
        Format("open", ("question",), _open, scorers.Refusals()),
        Format("prompts", ("prompt",), _open, scorers.Refusals()),
    )
}
