"""The hooks and readers of one decoding step, called by a step that runs no modules."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...sites import Site
from ..arrivals import Reader
from ..hooks import Hook


class Taps:
    """The hooks and readers at one layer's sites: hooks change a value, readers are called with what arrived of it."""

    def __init__(self) -> None:
        self.hooks: dict[str, Hook] = {}
        self.readers: dict[str, Reader] = {}

    def edit(self, stream: str, h: Tensor) -> Tensor:
        """The value at a stream after its hook."""
        hook = self.hooks.get(stream)
        new = None if hook is None else hook(h)
        return h if new is None else new

    def read(self, stream: str, h: Tensor, rest: Tensor | None = None) -> None:
        """Call a stream's reader with the value that the layer continues with, and what else is in it."""
        reader = self.readers.get(stream)
        if reader is not None:
            reader(h, rest)


NOTHING = Taps()


def taps_by_layer(hooks: Mapping[Site, Hook], readers: Mapping[Site, Reader]) -> dict[int, Taps]:
    """The taps of each layer that has some."""
    found: dict[int, Taps] = {}
    for site, hook in hooks.items():
        found.setdefault(site.layer, Taps()).hooks[site.stream] = hook
    for site, reader in readers.items():
        found.setdefault(site.layer, Taps()).readers[site.stream] = reader
    return found
