"""The house stands as the design draws it: imports go one way, and each foreign library is named in one place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "steering"

# A module imports only from lower levels, or from its own package. The reading order is the import order.
LEVELS = {
    0: {
        "sites", "pairs", "jobs", "plots", "statistics", "estimators", "receipts", "checkpoints", "memory", "downloads",
        "chat", "labels", "forms", "progress", "packing",
    },
    1: {"models", "origins", "saes", "agreement", "figures", "folders", "matrices"},
    2: {"activations", "cache", "catalogue", "sampling"},
    3: {"directions", "sae_training"},
    4: {
        "interventions", "weights", "measurements", "discovery", "features", "store", "control_vectors", "plan", "rows",
        "prefill",
    },
    5: {"decoding", "requests"},
    6: {"engine"},
    7: {"evaluations", "layers", "calibration", "shelf"},
    8: {"sweeps"},
    9: {"experiments"},
    10: {"reports"},
    11: {"evaluate"},
}  # fmt: skip
LEVEL = {name: level for level, names in LEVELS.items() for name in names}
# Arrows that the levels do not draw.
ALSO = {
    ("forms", "checkpoints"),
    ("saes", "models"),
    ("saes", "origins"),
    ("origins", "models"),
    ("weights", "interventions"),
    ("rows", "interventions"),
    ("plan", "interventions"),
    ("plan", "rows"),
    ("prefill", "interventions"),
    ("prefill", "rows"),
    ("prefill", "plan"),
    ("evaluations", "organism"),  # the words of the bundled model's world, which some scorers read
}
# `ui` and the making of the bundled model sit on top of the core; `__init__` names what is public.
ON_TOP = {"ui", "organism", "__init__"}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def module(path: Path) -> str:
    """The core module a file belongs to: `steering/interventions/edits.py` is part of `interventions`."""
    return path.relative_to(CORE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Absolute names of what a file imports, also inside functions and under TYPE_CHECKING."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *((node.module,) if node.module else ())))
            found |= {f"{name}.{alias.name}" for alias in node.names}
    return found


def names_of(path: Path, library: str) -> bool:
    return any(name.split(".")[0] == library for name in imports(path))


def core_imports(path: Path) -> set[str]:
    """The modules of the core that a file imports."""
    parts = [name.split(".") for name in imports(path) if name.split(".")[0] == "steering"]
    return {part[1] for part in parts if len(part) > 1}


CORE_FILES = [path for path in files(CORE) if module(path) not in ON_TOP]
PAGES = files(ROOT / "pages") if (ROOT / "pages").is_dir() else []
ids = lambda path: str(path.relative_to(ROOT))  # noqa: E731


def test_every_core_module_has_a_level() -> None:
    missing = sorted({module(path) for path in CORE_FILES} - set(LEVEL))
    assert not missing, f"Give {', '.join(missing)} a level in LEVELS (design.md, section 1)."


@pytest.mark.parametrize("path", CORE_FILES, ids=ids)
def test_arrows_go_down(path: Path) -> None:
    own = module(path)
    for other in core_imports(path) - {own}:
        if (own, other) in ALSO:
            continue
        assert other not in ON_TOP, f"The core does not know {other}."
        assert own in LEVEL and other in LEVEL, f"steering.{own} imports steering.{other}; both need a level."
        assert LEVEL[other] < LEVEL[own], f"{own} (level {LEVEL[own]}) imports {other} (level {LEVEL[other]})."


@pytest.mark.parametrize("path", CORE_FILES, ids=ids)
def test_the_core_does_not_know_streamlit(path: Path) -> None:
    assert not names_of(path, "streamlit")


def test_foreign_libraries_have_one_home() -> None:
    homes = {
        "transformer_lens": {"models"},
        "sae_lens": {"saes", "sae_training"},
        "gguf": {"control_vectors"},
        "sqlite3": {"store", "features"},
    }
    for library, allowed in homes.items():
        found = {module(path) for path in CORE_FILES if names_of(path, library)}
        assert found <= allowed, f"{library} is named in {', '.join(sorted(found - allowed))}."


def test_plots_draw_and_do_not_compute() -> None:
    for path in CORE_FILES:
        if module(path) == "plots":
            assert not names_of(path, "torch")


def test_nothing_unpickles() -> None:
    for path in [*files(CORE), *PAGES]:
        assert not {"pickle", "joblib", "dill", "shelve"} & {name.split(".")[0] for name in imports(path)}, path


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_a_page_shows_and_does_not_compute(path: Path) -> None:
    for library in ("torch", "threading", "sqlite3", "transformer_lens", "sae_lens"):
        assert not names_of(path, library), f"{path.name} imports {library}."


def test_no_page_lies_directly_in_pages() -> None:
    """A .py directly in pages/ makes Streamlit draw its own navigation beside ours."""
    assert [path for path in PAGES if path.parent == ROOT / "pages"] == []


def test_app_stays_short() -> None:
    app = ROOT / "app.py"
    if app.is_file():
        assert len(app.read_text().splitlines()) < 60
        assert not names_of(app, "torch")


def test_the_check_sees_relative_and_hidden_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "steering" / "interventions" / "edits.py"
    path.parent.mkdir(parents=True)
    hidden = "def f():\n    from .. import sweeps\n    import torch.nn\n"
    path.write_text("from ..engine import Engine\nfrom . import protocol\n" + hidden)
    assert imports(path) == {
        "steering.engine.Engine",
        "steering.interventions.protocol",
        "steering.sweeps",
        "torch.nn",
    }
    assert core_imports(path) == {"engine", "interventions", "sweeps"}
    assert names_of(path, "torch")
