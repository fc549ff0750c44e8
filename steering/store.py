"""The library under its old name, for scripts that an earlier version exported; import `steering.library` instead."""

from .jobs.files import home, write_atomically
from .library.store import Store

__all__ = ["Store", "home", "write_atomically"]
