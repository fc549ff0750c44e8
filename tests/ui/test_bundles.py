"""A run's bundle as it is read: nothing in it is code, markup or of another type, whatever somebody wrote into it."""

from __future__ import annotations

import ast
import copy
import json
import random
from typing import Any

import pytest

from steering.recipes.steps import Step, Variant, to_data
from steering.ui.library import saved_runs as library
from steering.ui.steer import export
from steering.ui.steer.results import Run, RunRow, RunSettings

EVIL = "evil(</p><evil>)"


def made() -> Run:
    receipt = {"intervention": "Add", "sites": ["blocks.1.hook_resid_post"], "tokens": 2, "positions": [2, 3]}
    receipt |= {"expected": 1.0, "measured": 1.0, "fired": None, "notes": ["a note"], "agrees": True, "problem": ""}
    row = RunRow(
        "add", "steered", 0, 0, "c d", [1, 2], [3, 4], ["a", "b", "c", "d"], [-0.5, float("nan")], [[("c", -0.5)], []],
        {"v": {"before": [0.0, 1.0], "after": [0.0, 2.0]}}, [receipt], "length", 1.5,
    )  # fmt: skip
    recipe = (Variant("add", (Step("add", direction="texts", alpha=2.0),)),)
    about = {"model": {"model": "tiny", "revision": None, "fingerprint": "abc"}, "versions": {"torch": "1"}}
    settings = RunSettings("tiny", ("a b",), 8, 0.7, 0.9, 3)
    return Run(
        settings, to_data(recipe), ["v"], [row], 1.0, [[{"alpha": 2.5, "sae": True, "then": {"tau": 1.0}}]], about
    )


def data() -> dict[str, Any]:
    return json.loads(export.bundle(made()))


def test_what_export_wrote_reads_back() -> None:
    assert json.dumps(export.read_bundle(export.bundle(made())).to_data()) == json.dumps(made().to_data())


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("settings", "max_new_tokens"), "8); evil(", "settings max_new_tokens is a whole number from 1"),
        (("settings", "max_new_tokens"), True, "is a whole number"),
        (("settings", "temperature"), "0.7", "settings temperature is a number"),
        (("settings", "seed"), 1.5, "settings seed is a whole number"),
        (("settings", "prompts"), "abc", "settings prompts is a list"),
        (("settings", "prompts"), [], "settings prompts is a list of 1"),
        (("settings", "extra"), 1, "settings has no field 'extra'"),
        (("rows", 0, "receipts", 0, "tokens"), "<b>", "rows 1 receipts 1 tokens is a whole number"),
        (("rows", 0, "receipts", 0, "expected"), "1", "rows 1 receipts 1 expected is a number"),
        (("rows", 0, "pieces"), ["a"], "rows 1 pieces is a list of 4"),
        (("rows", 0, "logprobs"), [1.0, "x"], "rows 1 logprobs 2 is a number"),
        (("rows", 0, "prompt"), 1, "rows 1 prompt is the number of one of the 1 prompts"),
        (("rows", 0, "kind"), "other", "one of baseline, steered, control"),
        (("raw", 0, 0, "alpha"), "evil()", "raw 1 1 alpha is a number"),
        (("recipe", 0, "steps", 0, "alpha"), "evil()", "recipe"),
        (("version",), 2, "version is a whole number from 1 to 1"),
        (("about", "model"), {"a": {"b": {"c": {"d": 1}}}}, "about model a b c is a text, a number"),
    ],
)
def test_a_field_that_is_not_what_it_must_be_is_named(place: tuple, value: Any, said: str) -> None:
    broken = data()
    inside = broken
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    with pytest.raises(ValueError, match=f"^run.json is no whole bundle: .*{said}"):
        export.read_bundle(json.dumps(broken), "run.json")


def places(value: Any, path: tuple = ()) -> list[tuple]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, one in inside for deeper in places(one, (*path, key)))]


def test_no_field_reaches_python_or_html_unchecked() -> None:
    """Every place of a bundle gets every kind of wrong value: it is refused, or is text in quotes and escaped."""
    rng, accepted = random.Random(0), 0
    wrong = [
        EVIL,
        None,
        True,
        -1,
        10**400,
        1e308,
        float("inf"),
        [],
        {},
        [EVIL],
        {EVIL: EVIL},
        {"evil": 1},
        "x" * 300_000,
    ]
    for place in places(data())[1:]:
        for value in [EVIL, *rng.sample(wrong, 4)]:
            broken = copy.deepcopy(data())
            inside: Any = broken
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = value
            try:
                found = export.read_bundle(json.dumps(broken), "run.json")
            except ValueError as error:
                assert "\n" not in str(error) and len(str(error)) < 500, error
                continue
            accepted += 1
            try:
                code, page = export.code(found), export.page(found)
            except ValueError:  # a strength that is not known: said where the code is asked for
                continue
            assert "evil" not in {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
            assert "<evil>" not in page
            export.table(found)
    assert accepted > 20


def test_damaged_files_are_one_sentence() -> None:
    whole = export.bundle(made()).encode()
    for broken in (b"", b"{}", b"[]", whole[:-20], b"\xff" + whole, b"[" * 50_000, b'{"format": "tiller-run"}'):
        with pytest.raises(ValueError, match="run.json"):
            export.read_bundle(broken, "run.json")


class Named:
    def __init__(self, **identity: Any) -> None:
        self.identity = identity


def test_a_replay_says_what_is_not_the_same_any_more() -> None:
    """Another model is named as such, by its weights; nothing is said of a run that does not know."""
    run = made()
    versions = library.about_run(Named(), None)["versions"]  # type: ignore[arg-type]
    run.about["versions"] = versions
    same, other = Named(model="tiny", fingerprint="abc"), Named(model="tiny", fingerprint="xyz")
    assert library.other_than(run, same, None) == []  # type: ignore[arg-type]
    (said,) = library.other_than(run, other, None)  # type: ignore[arg-type]
    assert said == "It was made with the model tiny; this is another one, tiny (same name, other weights)."
    run.about |= {"sae": {"sae": "s", "fingerprint": "1"}, "versions": versions | {"torch": "0.1"}}
    said = library.other_than(run, same, Named(sae="t", fingerprint="2"))  # type: ignore[arg-type]
    assert said[0] == "It was made with the SAE s; this is another one, t." and said[1].startswith(
        "Packages have changed"
    )
    run.about = {}
    assert library.other_than(run, other, None) == []  # type: ignore[arg-type]
