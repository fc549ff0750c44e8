"""A method is named in its own file and the two `__init__` alone: the rest is derived from what it declares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import steering as t
from steering import interventions
from steering.interventions.protocol import METHODS, Intervention, made
from steering.recipes.tables import every_key, keys_of, step_of

ROOT = Path(__file__).parents[2]
CLASSES = [
    kind
    for name in interventions.__all__
    if isinstance(kind := getattr(interventions, name), type)
    and issubclass(kind, Intervention)
    and kind is not Intervention
]


def test_every_method_declares_its_knobs() -> None:
    assert set(CLASSES) <= set(METHODS.values()) and len(CLASSES) == 13
    assert all(kind.__name__ in t.__all__ for kind in CLASSES)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_method_is_named_at_home_only(kind: type) -> None:
    own = {f"{kind.__module__.replace('.', '/')}.py", "steering/__init__.py", "steering/interventions/__init__.py"}
    files = [*(ROOT / "steering").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]
    word = re.compile(rf"\b{kind.__name__}\b")
    named = {file.relative_to(ROOT).as_posix() for file in files if word.search(file.read_text(encoding="utf-8"))}
    assert named == own


def test_the_error_of_a_file_lists_exactly_what_can_be_built() -> None:
    with pytest.raises(ValueError, match="A method is one of") as caught:
        step_of({"method": "Sarah"}, {})
    listed = str(caught.value).partition("one of ")[2].partition("; got")[0].split(", ")
    assert listed == sorted(kind.__name__ for kind in METHODS.values())
    with pytest.raises(ValueError, match="has no setting 'lambda_'; it has "):
        step_of({"method": "DirectionalAblation", "direction": "d", "lambda_": 1.0}, {"d": {"pairs": "x"}})
    assert {"alpha_norms", "tau", "then", "plane"} <= every_key() and "tau" not in keys_of(METHODS["add"])


def test_a_method_by_its_short_name() -> None:
    with pytest.raises(ValueError, match="A method is one of add, regulate, ablate"):
        made("fly")
