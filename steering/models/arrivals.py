"""Read the value of a site downstream: where the rest of the model next uses it.

A hook that edits a site only knows what it returned. Whether the model uses that is read further down: a block's
output where the next block receives it, the stream between attention and MLP as the block's output minus what the MLP
wrote. Only a site whose value appears nowhere else is read by a second hook after the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..sites import Site
from .hooks import Place, from_input, from_output, in_rows

# Called with a tensor downstream, and with what must be subtracted to get the site's value (None: nothing).
Reader = Callable[[Float[Tensor, "rows pos d_model"], Float[Tensor, "rows pos d_model"] | None], None]
# The streams that can be read downstream, where a later module receives them or by subtraction.
_DOWNSTREAM = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")


@dataclass
class _Layer:
    """The modules of one block: where its input is first read, and where each of its streams is."""

    block: nn.Module
    next: nn.Module
    entry: nn.Module | None
    at: dict[str, nn.Module]
    factors: dict[str, float]
    carried: frozenset[str] = frozenset()  # streams that can be read downstream in this family
    seen: dict[str, Tensor] = field(default_factory=dict)  # of the pass under way

    @property
    def middle(self) -> nn.Module | None:
        """The module that receives the stream between attention and MLP."""
        return self.at.get("resid_mid")


class Arrivals:
    """Where each site's value can be read after it was edited; one small pass finds out which sums hold in a family.

    Args:
        places: for every block where its streams are.
        final: the module that receives the last block's output.
        pos: how many tokens `run` runs over.
        run: runs the model over a few tokens.
    """

    def __init__(
        self,
        blocks: nn.ModuleList,
        places: Sequence[Mapping[str, Place]],
        final: nn.Module | None,
        pos: int,
        run: Callable[[], Any],
    ) -> None:
        following = [*list(blocks)[1:], final or blocks[-1]]
        self._layers = [_layer(*one) for one in zip(blocks, following, places, strict=True)]
        self._find_out(pos, run)

    def carried(self, site: Site) -> bool:
        """Whether a site's value is read downstream; if not, by a second hook right after the first."""
        return site.stream in self._layers[site.layer].carried

    def watch_before(self, readers: Mapping[Site, Reader], pos: int) -> list[Any]:
        """Handles of the hooks that must run before the edits on the same modules."""
        handles = []
        for site, reader in readers.items():
            layer, stream = self._layers[site.layer], site.stream
            if stream not in layer.carried:
                continue
            if stream == "resid_post":
                handles.append(_on_entering(layer.next, lambda h, read=reader: read(h, None), pos))
            elif stream == "attn_out":
                handles.append(_on_entering(layer.middle, _in_sum(layer, "pre", reader), pos))
            elif stream == "resid_mid":
                handles.append(_on_leaving(layer.block, _in_sum(layer, "mlp", reader), pos))
            elif stream == "mlp_out":
                handles.append(_on_leaving(layer.block, _in_sum(layer, "mid", reader), pos))
        return handles

    def watch_after(self, readers: Mapping[Site, Reader], pos: int) -> list[Any]:
        """Handles of the hooks that must run after the edits on the same modules."""
        handles = []
        for site, reader in readers.items():
            layer, stream = self._layers[site.layer], site.stream
            read = lambda h, read=reader: read(h, None)  # noqa: E731
            if stream not in layer.carried:
                handles.append(self._second_hook(layer, stream, read, pos))
            elif stream == "resid_pre":
                handles.append(_on_entering(layer.entry, read, pos))
            elif stream == "attn_out":
                handles.append(_on_entering(layer.entry, _keep(layer, "pre"), pos))
            elif stream == "resid_mid":
                handles.append(_on_leaving(layer.at["mlp_out"], _keep(layer, "mlp"), pos, layer.factors["mlp_out"]))
            elif stream == "mlp_out":
                handles.append(_on_entering(layer.middle, _keep(layer, "mid"), pos))
        return handles

    def forget(self) -> None:
        """Drop the activations that were kept of a pass."""
        for layer in self._layers:
            layer.seen.clear()

    def _second_hook(self, layer: _Layer, stream: str, read: Callable[[Tensor], None], pos: int) -> Any:
        if stream in ("resid_pre", "resid_mid", "attn_z", "mlp_in"):
            return _on_entering(layer.at[stream], read, pos)
        return _on_leaving(layer.at[stream], read, pos, layer.factors[stream])

    @torch.no_grad()
    def _find_out(self, pos: int, run: Callable[[], Any]) -> None:
        """Learn from a pass over a few tokens where each block's input is read, and which sums hold."""
        handles = []
        try:
            for layer in self._layers:
                handles.append(_on_entering(layer.block, _begin(layer), pos))
                for child in layer.block.children():
                    handles.append(child.register_forward_pre_hook(_first_reader(layer), with_kwargs=True))
            run()
        finally:
            _remove(handles)
            self.forget()
        wanted = {Site(n, stream): {} for n in range(len(self._layers)) for stream in _DOWNSTREAM}
        for n, layer in enumerate(self._layers):
            possible = set(_DOWNSTREAM) & set(layer.at)
            possible -= set() if layer.entry is not None else {"resid_pre", "attn_out"}
            possible -= set() if layer.middle is not None else {"attn_out", "resid_mid", "mlp_out"}
            possible -= {"resid_post"} if layer.next is layer.block else set()
            layer.carried = frozenset(possible)
            for stream in set(_DOWNSTREAM) - possible:
                del wanted[Site(n, stream)]
        try:
            for site, found in wanted.items():
                layer = self._layers[site.layer]
                handles.append(self._second_hook(layer, site.stream, _hold(found), pos))
            readers = {site: _compare(found) for site, found in wanted.items()}
            handles += self.watch_before(readers, pos) + self.watch_after(readers, pos)
            run()
        finally:
            _remove(handles)
            self.forget()
        for n, layer in enumerate(self._layers):
            layer.carried = frozenset(s for s in layer.carried if wanted[Site(n, s)].get("agrees", False))


def _layer(block: nn.Module, after: nn.Module, places: Mapping[str, Place]) -> _Layer:
    found = {stream: block.get_submodule(place.path) for stream, place in places.items()}
    factors = {stream: place.factor for stream, place in places.items()}
    return _Layer(block, after, None, found, factors)


def _on_entering(module: nn.Module | None, read: Callable[[Tensor], None], pos: int) -> Any:
    assert module is not None

    def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
        read(in_rows(from_input(args, kwargs), pos))

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _on_leaving(module: nn.Module, read: Callable[[Tensor], None], pos: int, factor: float = 1.0) -> Any:
    def hook(module: nn.Module, args: tuple, output: Any) -> None:
        h = in_rows(from_output(output), pos)
        read(h if factor == 1.0 else h * factor)

    return module.register_forward_hook(hook)


def _keep(layer: _Layer, name: str) -> Callable[[Tensor], None]:
    def keep(h: Tensor) -> None:
        layer.seen[name] = h

    return keep


def _in_sum(layer: _Layer, name: str, reader: Reader) -> Callable[[Tensor], None]:
    """Read a part in the sum that it went into, with the other part."""

    def read(h: Tensor) -> None:
        rest = layer.seen.pop(name, None)
        if rest is not None and rest.shape == h.shape:
            reader(h, rest)

    return read


def _remove(handles: list[Any]) -> None:
    for handle in handles:
        handle.remove()
    handles.clear()


def _begin(layer: _Layer) -> Callable[[Tensor], None]:
    return _keep(layer, "input")


def _first_reader(layer: _Layer) -> Callable[..., None]:
    """Record the first child of a block that receives the block's own input."""

    def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
        given = layer.seen.get("input")
        if layer.entry is None and given is not None and any(value is given for value in (*args, *kwargs.values())):
            layer.entry = module

    return hook


def _hold(found: dict[str, Any]) -> Callable[[Tensor], None]:
    """Keep a reference, not a copy, so that families which add into the tensor in place are noticed."""

    def hold(h: Tensor) -> None:
        found["here"] = h

    return hold


def _compare(found: dict[str, Any]) -> Reader:
    """Record whether a site's value equals the one read downstream, within rounding."""

    def compare(h: Tensor, rest: Tensor | None) -> None:
        here = found.pop("here", None)
        if here is not None and here.shape == h.shape:
            wanted = here if rest is None else here + rest
            rounding = 8 * torch.finfo(h.dtype).eps * h.float().norm(dim=-1) + 1e-6
            found["agrees"] = bool(((h.float() - wanted.float()).norm(dim=-1) <= rounding).all())

    return compare
