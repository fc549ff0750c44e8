"""A site: one place in the network where activations are read or changed.

A site is a layer (0-based block) and a stream, and has exactly one hook name in TransformerLens' vocabulary. This file
is the only translation between the two.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

# In the order in which a forward pass meets them inside one block.
STREAMS = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
RESIDUAL_STREAMS = ("resid_pre", "resid_mid", "resid_post")
# Inside attention and MLP, where some dictionaries read: the heads' outputs side by side before they are mixed (of a
# width of its own), and what the MLP gets, after the norm. Named as TransformerLens' bridge names them.
INNER_STREAMS = {"attn_z": "attn.hook_z", "mlp_in": "mlp.hook_in"}

_ORDER = ("resid_pre", "attn_z", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post")
_HOOK_NAME = re.compile(r"^blocks\.(\d+)\.(?:hook_(\w+)|(attn\.hook_z|mlp\.hook_in))$")


@dataclass(frozen=True)
class Site:
    """A layer and a stream: `Site(3, "resid_post")`, printed as `blocks.3.hook_resid_post`.

    `resid_pre` is the input of the block, `resid_mid` the stream between attention and MLP, `resid_post` the output of
    the block; `attn_out` and `mlp_out` are what attention and MLP add to the stream. `resid_post` of a layer and
    `resid_pre` of the next hold the same numbers; they stay two sites, because a layer may be the last. Dictionaries
    may also read inside a part: `attn_z` and `mlp_in`.

    Raises:
        ValueError: the layer is negative or no integer, or the stream is unknown.
    """

    layer: int
    stream: str = "resid_post"

    def __post_init__(self) -> None:
        if isinstance(self.layer, bool) or not isinstance(self.layer, int) or self.layer < 0:
            raise ValueError(
                f"A layer is the 0-based number of a block; got {self.layer!r}. Use an integer from 0 to n_layers - 1."
            )
        if self.stream not in _ORDER:
            near = difflib.get_close_matches(str(self.stream), STREAMS, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ValueError(f"A stream is one of {', '.join(STREAMS)}; got {self.stream!r}.{hint}")

    def __str__(self) -> str:
        return f"blocks.{self.layer}.{INNER_STREAMS.get(self.stream, f'hook_{self.stream}')}"

    def __lt__(self, other: Site) -> bool:
        return self.order < other.order

    @property
    def order(self) -> tuple[int, int]:
        """The place of the site in the forward pass: sites sort in the order of the forward pass."""
        return (self.layer, _ORDER.index(self.stream))

    @classmethod
    def parse(cls, name: str | Site) -> Site:
        """The site of a hook name such as `blocks.3.hook_resid_post` (`hook_in` and `hook_out` are understood).

        Raises:
            ValueError: the name is no hook name of a stream that Tiller steers.
        """
        if isinstance(name, Site):
            return name
        match = _HOOK_NAME.match(str(name))
        if match is None:
            known = ", ".join(f"blocks.L.hook_{stream}" for stream in STREAMS)
            raise ValueError(f"A hook name reads like one of {known}; got {name!r}.")
        if match[2] == "mlp_in":
            layer = int(match[1])
            raise ValueError(
                f"{name!r} is the stream before the norm to TransformerLens and what the MLP gets after it to others. "
                f"Write {cls(layer, 'resid_mid')} or {cls(layer, 'mlp_in')}."
            )
        inner = {place: stream for stream, place in INNER_STREAMS.items()}
        stream = inner.get(match[3]) or {"in": "resid_pre", "out": "resid_post"}.get(match[2], match[2])
        return cls(int(match[1]), stream)
