"""`make docs`: the API reference, made of the docstrings by pdoc into build/docs; open build/docs/index.html.

First comes `steering`, with every public name; then each module of the package, for whoever reads on. The dashboard and
the making of the bundled model are left out.
"""

from __future__ import annotations

import os
import pkgutil
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is looked up while modules are imported

import pdoc

import steering

FOLDER = Path(__file__).parent.parent / "build" / "docs"
LEFT_OUT = ("steering.ui", "steering.organism", "steering.store", "steering.evaluate")


def modules() -> list[str]:
    """The names of the modules that the reference covers, the package itself first."""
    found = (one.name for one in pkgutil.walk_packages(steering.__path__, "steering."))
    return ["steering", *(name for name in found if not name.startswith(LEFT_OUT) and "__main__" not in name)]


def main() -> None:
    """Write the reference."""
    for name in steering.__all__:
        getattr(steering, name)  # pdoc sees a name that is imported at its first use only after that
    pdoc.render.configure(docformat="google", search=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pdoc resolves inherited annotations where their names are not imported
        pdoc.pdoc(*modules(), output_directory=FOLDER)
    print(FOLDER / "index.html")


if __name__ == "__main__":
    main()
