"""`python -m steering.evaluate CONFIG`: an experiment from a TOML file to a report; see `steering.experiments`."""

import sys

from .experiments.__main__ import main, perform

__all__ = ["main", "perform"]

if __name__ == "__main__":
    sys.exit(main())
