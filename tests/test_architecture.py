"""The house stands as the design draws it: imports go one way, and each foreign library is named in one place."""

import ast
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parent.parent
CORE = ROOT / "steering"

# A folder (or a file that lies directly in `steering/`) imports only from floors below its own, or from itself. The
# reading order is the import order.
FLOORS = (
    {"sites", "statistics", "showing", "small_world", "jobs", "plots", "checkpoints"},
    {"models"},
    {"saes"},
    {"features"},
    {"directions"},
    {"interventions"},
    {"engine"},
    {"measurements"},
    {"recipes"},
    {"library", "lessons"},
    {"evaluations"},
    {"experiments"},
    {"organism", "ui"},
    {
        "store",
        "evaluate",
        "score",
    },  # old names of `library.store` and `experiments`, kept for scripts and for `python -m`
)
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
MAX_FILES = 15  # Python files in one folder
MAX_LINES = 450
MAX_TOP = 6  # files directly in steering/


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


PACKAGE_FILES = [path for path in files(CORE) if path != CORE / "__init__.py"]
CORE_FILES = [path for path in PACKAGE_FILES if module(path) != "ui"]
PAGES = files(ROOT / "pages") if (ROOT / "pages").is_dir() else []
ids = lambda path: str(path.relative_to(ROOT))  # noqa: E731


def dotted(path: Path) -> str:
    """The module's name: `steering/engine/__init__.py` is steering.engine."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph(paths: Iterable[Path]) -> dict[str, set[str]]:
    """module -> the modules of our own that it imports, also inside functions and under TYPE_CHECKING."""
    named = {dotted(path): path for path in paths}

    def target(name: str) -> str:
        return name if name in named else name.rpartition(".")[0]

    return {name: {target(one) for one in imports(path)} & set(named) - {name} for name, path in named.items()}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, directly or in a round: the strongly connected components."""
    names = sorted(arrows)
    matrix = np.array([[b in arrows[a] for b in names] for a in names])
    count, label = connected_components(matrix, directed=True, connection="strong")
    groups = [[name for name, its in zip(names, label, strict=True) if its == k] for k in range(count)]
    return [group for group in groups if len(group) > 1]


def test_every_room_has_a_floor() -> None:
    missing = sorted({module(path) for path in PACKAGE_FILES} - set(FLOOR))
    assert not missing, f"Give {', '.join(missing)} a place in FLOORS."


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=ids)
def test_arrows_go_down(path: Path) -> None:
    own = module(path)
    for other in core_imports(path) - {own}:
        assert other in FLOOR or other == "__init__", f"steering.{own} imports steering.{other}, which has no floor."
        assert FLOOR[other] < FLOOR[own], f"{own} (floor {FLOOR[own]}) imports {other} (floor {FLOOR[other]})."


def test_no_files_import_in_a_circle() -> None:
    assert circles(graph(PACKAGE_FILES)) == []


def test_a_circle_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    folder = tmp_path / "steering" / "engine"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("from .b import x\n")
    (folder / "b.py").write_text("def f():\n    from . import c\n")
    (folder / "c.py").write_text("from steering.engine.a import y\n")
    (folder / "d.py").write_text("from .a import z\n")
    assert circles(graph(folder.glob("*.py"))) == [["steering.engine.a", "steering.engine.b", "steering.engine.c"]]


def test_rooms_are_of_natural_size() -> None:
    folders = {path.parent for path in PACKAGE_FILES}
    crowded = {ids(folder): n for folder in folders if (n := len(list(folder.glob("*.py")))) > MAX_FILES}
    assert not crowded, f"At most {MAX_FILES} Python files a folder; {crowded}."
    assert len(list(CORE.glob("*.py"))) <= MAX_TOP
    everywhere = [*files(CORE), *PAGES, *files(ROOT / "tests"), *files(ROOT / "benchmarks")]
    long = {
        ids(path): n for path in everywhere if (n := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not long, f"At most {MAX_LINES} lines a file; {long}."


@pytest.mark.parametrize("path", CORE_FILES, ids=ids)
def test_the_core_does_not_know_streamlit(path: Path) -> None:
    assert not names_of(path, "streamlit")


def test_foreign_libraries_have_one_home() -> None:
    homes = {
        "transformer_lens": {"models"},
        "sae_lens": {"saes"},
        "gguf": {"directions", "checkpoints", "models"},
        "sqlite3": {"features", "lessons", "library"},
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


def classes(paths: Iterable[Path]) -> dict[str, list[str]]:
    """Each class name -> the files that define a class of it."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    return found


def test_a_class_name_means_one_thing() -> None:
    twice = {name: homes for name, homes in classes(files(CORE)).items() if len(homes) > 1}
    assert not twice, f"Each class of the package has a name of its own; {twice}."


def test_test_files_have_names_of_their_own() -> None:
    """Two of one name cannot be collected together."""
    names: dict[str, list[str]] = {}
    for path in files(ROOT / "tests"):
        if path.name.startswith("test_"):
            names.setdefault(path.name, []).append(ids(path))
    assert not (twice := [homes for homes in names.values() if len(homes) > 1]), twice
