"""The configuration of an experiment: a TOML file with directions, sets, arms and controls, checked as it is read."""

from __future__ import annotations

import hashlib
import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..evaluations.scoring.items import Item
from ..evaluations.scoring.judge import agreed
from ..evaluations.sets.readers import BUNDLED as SETS
from ..evaluations.sets.sets import EvaluationSet
from ..jobs.reading import read_text, short
from ..models.packing import Products
from ..recipes.tables import ARM, DIRECTION, every_key
from ..showing.one_line import counted, one_line, quoted

BUNDLED = SETS / "experiments"
MAX_BYTES = 1_000_000  # of a TOML file
JUDGE_KEY = "TILLER_JUDGE_KEY"
KNOWN = {
    "": {"title", "question", "model", "products", "choose"}
    | {"sae", "settings", "directions", "calibration", "sets", "arms", "controls"}
    | {"compare", "side_effects", "measures", "judge"},
    "settings": {"max_new_tokens", "temperature", "top_p", "seed", "samples", "chat"},
    "direction": DIRECTION,
    "calibration": {"direction", "concept", "other", "method", "answer_tokens", "last"},
    "set": {"name", "source", "format", "scorer", "where", "limit", "by", "part", "mapping", "orders"},
    "controls": {"random", "of", "reconstruction", "prompting", "place", "baseline_again"},
    "side_effects": {"neutral", "sets", "limit"},
    "judge": {"url", "model", "key_variable"},
}  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """A checked configuration, under the name of its file; files in it are relative to `folder`."""

    name: str
    data: Mapping[str, Any]
    text: str
    folder: Path = Path()

    def __repr__(self) -> str:
        counts = [counted(len(self.data.get(f"{kind}s", ())), kind) for kind in ("set", "arm")]
        return one_line(self, quoted(self.name), quoted(self.title, 80), f"model {quoted(self.model, 40)}", *counts)

    @property
    def title(self) -> str:
        return str(self.data.get("title", self.name))

    @property
    def model(self) -> str:
        return str(self.data.get("model", "organism"))

    @property
    def products(self) -> Products:
        """In which precision matrices are multiplied where the experiment loads its model."""
        return "bfloat16" if self.data.get("products") == "bfloat16" else "float32"


def bundled() -> list[str]:
    """The names of the experiments that ship with Tiller."""
    return sorted(path.stem for path in BUNDLED.glob("*.toml"))


def read(source: str | Path) -> Experiment:
    """An experiment: a bundled name or a TOML file.

    Raises:
        ValueError: no such experiment, no TOML, or a setting that does not exist.
    """
    path = BUNDLED / f"{source}.toml"
    if not path.is_file():
        path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(
            f"An experiment is a bundled name or a .toml file; {str(source)!r} is neither. "
            f"Bundled: {', '.join(bundled()) or 'none'}."
        )
    return parse(read_text(path, MAX_BYTES), path.stem, path.parent)


def parse(text: str, name: str = "experiment", folder: Path | None = None) -> Experiment:
    """The experiment of a TOML text."""
    try:
        data = tomllib.loads(text.removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{name}: not a TOML file ({said}). Mend it there, or export the file again.") from error
    _known(name, "", data)
    _shapes(name, data)
    _known(name, "settings", data.get("settings", {}))
    _known(name, "controls", data.get("controls", {}))
    _known(name, "side_effects", data.get("side_effects", {}))
    _known(name, "judge", data.get("judge", {}))
    if data.get("products", "float32") not in ("float32", "bfloat16"):
        raise ValueError(f'{name}: products is "float32" or "bfloat16"; got {data["products"]!r}.')
    variable = data.get("judge", {}).get("key_variable", JUDGE_KEY)
    if not str(variable).startswith(JUDGE_KEY):
        # Files come from strangers and name the address too, so no other secret may be sent there.
        raise ValueError(f"{name}: a judge's key is in a variable that begins with {JUDGE_KEY}; got {variable!r}.")
    if "judge" in data:
        agreed(str(data["judge"].get("url", "")), name)
    for key, kind in (("directions", "direction"), ("calibration", "calibration")):
        for one, values in data.get(key, {}).items():
            _known(f"{name}: {one}", kind, values)
    for step in (step for arm in data.get("arms", ()) if isinstance(arm, dict) for step in arm.get("steps", ())):
        _known(f"{name}: a step", "arm", step)
    for key, kind in (("sets", "set"), ("arms", "arm")):
        if not isinstance(data.get(key), list) or not data[key]:
            raise ValueError(f"{name}: an experiment has at least one [[{key}]]; this one has none.")
        for values in data[key]:
            _known(f"{name}: {key}", kind, values)
            if "name" not in values and "source" not in values:
                raise ValueError(f"{name}: every one of [[{key}]] has a name; {values} has none.")
    named = [str(one.get("name", one.get("source"))) for one in data["sets"]]
    if "choose" in data and data["choose"] not in named:
        raise ValueError(f"{name}: choose names the set on which arms are chosen; {data['choose']!r} is no set's name.")
    return Experiment(name, data, text, folder or Path())


def _shapes(name: str, data: Mapping[str, Any]) -> None:
    """Raise ValueError where a list or table of the file is something else, or a name is no text."""

    def check(right: bool, what: str, got: Any) -> None:
        if not right:
            raise ValueError(f"{name}: {what}; got {short(got)}.")

    def is_list(value: Any, kind: type | tuple[type, ...]) -> bool:
        return isinstance(value, list) and all(isinstance(one, kind) for one in value)

    for key in ("title", "question", "model"):
        check(isinstance(data.get(key, ""), str), f"{key} is a text", data.get(key))
    for key in ("directions", "calibration"):
        check(isinstance(data.get(key, {}), dict), f"{key} holds tables, [{key}.NAME]", data.get(key))
    for key in ("sets", "arms"):
        check(is_list(data.get(key, []), dict), f"{key} are tables, [[{key}]]", data.get(key))
    pairs = data.get("compare", [])
    check(
        is_list(pairs, list) and all(is_list(pair, str) and len(pair) == 2 for pair in pairs),
        "compare is a list of pairs of arms' names",
        pairs,
    )
    check(is_list(data.get("measures", []), str), "measures is a list of names", data.get("measures"))
    for one in (*data.get("sets", []), *data.get("arms", [])):
        check(all(isinstance(one.get(k, ""), str) for k in ("name", "source")), "a name is a text", one)
    for arm in data.get("arms", []):
        check(is_list(arm.get("steps", []), dict), "an arm's steps are a list of tables", arm.get("steps"))
        grid = arm.get("grid", {})
        check(
            isinstance(grid, dict) and all(isinstance(values, list) and values for values in grid.values()),
            "an arm's grid is a table of lists, such as {lambda_ = [1.0, 2.0]}",
            grid,
        )


def _known(where: str, kind: str, values: Any) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"{where}: {kind or 'an experiment'} is a table of settings; got {values!r}.")
    known = ARM | every_key() if kind == "arm" else KNOWN[kind]
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{where}: there is no setting {unknown[0]!r}; known are {', '.join(sorted(known))}.")


def points(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of every point of an arm's grid; one empty one without a grid."""
    axes = spec.get("grid", {})
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def half(found: EvaluationSet, part: str) -> EvaluationSet:
    """One of two halves: what is chosen on "first" can be judged on "second".

    Items about one fact, and twins, stay together; others are split by their hashes.

    Raises:
        ValueError: another part, or an empty half.
    """
    if part not in ("first", "second"):
        raise ValueError(f'A part is "first" or "second"; got {part!r}.')
    kept = tuple(item for item in found if _side(item) == (part == "second"))
    if not kept:
        raise ValueError(f"The {part} half of {found.name!r} is empty; it has {len(found)} items.")
    return replace(found, items=kept)


def _side(item: Item) -> int:
    about = next((str(item.labels[name]) for name in ("fact", "twin") if name in item.labels), None)
    return int(item.id if about is None else hashlib.sha256(about.encode()).hexdigest(), 16) % 2


def near(experiment: Experiment, source: str) -> str:
    """A source as it is, or the file of that name beside the experiment's own."""
    beside = experiment.folder / source
    return str(beside) if beside.is_file() else source
