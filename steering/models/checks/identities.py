"""Where the streams of a model are, found by running it: a stream is listed only where its identity holds.

    resid_pre + attn_out = resid_mid        resid_mid + mlp_out = resid_post        resid_post = resid_pre of the next

(and resid_pre + attn_out + mlp_out = resid_post where both read the same input). Families differ in which module's
output is what is added: some add the residual inside attention or MLP (BLOOM, MPT), some scale what is added (Granite),
some norm it first (Gemma-2), some flatten rows and positions (OPT), and in hybrids it changes from layer to layer.
TransformerLens' adapter says where to look first; one pass over a few tokens decides, and a second one, with every
stream edited at once, shows that an edit reaches what comes next.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...sites import STREAMS, Site
from ..hooks import Hook, Place, register

TEXT = "The cat sat on the mat, and then it looked at me."
MOST_TOKENS = 8
_DEPTH = 3  # how deep below a block modules are looked at
_MIXERS = ("ln1_post", "attn", "linear_attn", "mixer", "mamba", "conv", "temporal_block")
_MLPS = ("ln2_post", "mlp", "moe", "shared_mlp", "channel_mix")


Places = dict[str, Place]  # of one block: stream -> place


class _Seen(NamedTuple):
    """A module's input and output as [rows, pos, d_model]; None where they have another shape."""

    given: Tensor | None
    gave: Tensor | None


def located(hf: nn.Module, blocks: nn.ModuleList, spec: Mapping[str, Any], ids: Sequence[int]) -> list[Places]:
    """For every block the place of each stream that it has, found and checked by running the model over a few tokens.

    Args:
        spec: TransformerLens' names for the parts of a block.

    Raises:
        ValueError: the blocks do not pass on one residual stream, or overflow in this dtype.
    """
    parameter, model = next(hf.parameters()), type(hf).__name__
    tokens = torch.tensor([list(ids)], device=parameter.device)
    config: Any = hf.config
    settings = config.get_text_config(decoder=True).to_dict()
    known = [value for name, value in settings.items() if "multiplier" in name and isinstance(value, float)]
    found: list[Places] = []

    def run(hooks: Mapping[Site, Hook] | None = None) -> None:
        handles = []
        try:
            for site, hook in (hooks or {}).items():
                place = found[site.layer][site.stream]
                module = blocks[site.layer].get_submodule(place.path)
                handles.append(register(module, place, hook, len(ids), in_place=site.stream == "resid_mid"))
            hf(input_ids=tokens, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()

    with torch.no_grad():
        try:
            found += find(blocks, spec, run, known)
            return hold(found, run)
        except OverflowError as error:
            dtype = str(parameter.dtype).removeprefix("torch.")
            other = "bfloat16 or float32" if dtype == "float16" else "float32"
            raise ValueError(
                f"This {model} overflows in {dtype} ({error}), so nothing could be read or written. Load it with "
                f"dtype={other}."
            ) from error
        except ValueError as error:
            raise ValueError(f"A {model} cannot be steered: {error}.") from error


def find(
    blocks: nn.ModuleList, spec: Mapping[str, Any], run: Callable[[], Any], known: Sequence[float] = ()
) -> list[Places]:
    """For every block the places of its streams, by what one pass (`run`) shows.

    Args:
        spec: TransformerLens' names for the parts of a block.
        known: factors that the model's config names, with which a part's output may be multiplied.

    Raises:
        ValueError: blocks that do not pass one residual stream on to the next, or numbers that are not finite.
    """
    seen = _watch(blocks, run)
    found = []
    for layer, block in enumerate(seen):
        pre, post = block[""].given, block[""].gave
        if pre is None or post is None or pre.shape != post.shape:
            raise ValueError("its blocks do not read and write one residual stream of shape [rows, pos, d_model]")
        if not bool(post.isfinite().all()):
            raise OverflowError(f"its numbers are not finite from layer {layer} on")
        following = seen[layer + 1][""].given if layer + 1 < len(seen) else post
        if following is None or not torch.equal(following, post):
            raise ValueError(f"layer {layer + 1} does not begin with what layer {layer} ends with")
        found.append(_of_block(block, spec, pre, post, known))
    return found


def close(one: Tensor, other: Tensor, terms: Sequence[Tensor]) -> bool:
    """Whether two tensors are equal up to the rounding of a sum of these terms in the stream's dtype."""
    size = torch.stack([term.double().abs() for term in terms]).sum(0)
    eps = max(torch.finfo(term.dtype).eps for term in terms)
    slack = 2 * eps * (size + size.mean() / 8)
    return one.shape == other.shape and bool(((one.double() - other.double()).abs() <= slack).all())


def _watch(blocks: nn.ModuleList, run: Callable[[], Any]) -> list[dict[str, _Seen]]:
    """The inputs and outputs of every block's modules, by their paths."""
    given: list[dict[str, Tensor | None]] = [{} for _ in blocks]
    gave: list[dict[str, Tensor | None]] = [{} for _ in blocks]
    handles = []

    def before(layer: int, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            h = args[0] if args else kwargs.get("hidden_states")
            given[layer][path] = _copied(h)

        return hook

    def after(layer: int, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            gave[layer][path] = _copied(output if isinstance(output, Tensor) else next(iter(output or ()), None))

        return hook

    try:
        for layer, block in enumerate(blocks):
            for path, module in _inside(block):
                handles.append(module.register_forward_pre_hook(before(layer, path), with_kwargs=True))
                handles.append(module.register_forward_hook(after(layer, path)))
        run()
    finally:
        for handle in handles:
            handle.remove()
    found = []
    for one, other in zip(given, gave, strict=True):
        shape = getattr(one.get(""), "shape", None)
        found.append({path: _Seen(_shaped(one.get(path), shape), _shaped(other.get(path), shape)) for path in one})
        found[-1].setdefault("", _Seen(None, None))
    return found


def _copied(value: Any) -> Tensor | None:
    return value.detach().cpu().clone() if isinstance(value, Tensor) and value.is_floating_point() else None


def _shaped(value: Tensor | None, shape: torch.Size | None) -> Tensor | None:
    """A tensor as [rows, pos, d_model] where it holds that many numbers of that width."""
    if value is None or shape is None or len(shape) != 3 or not value.ndim:
        return None
    return value.reshape(shape) if value.shape[-1] == shape[-1] and value.numel() == shape.numel() else None


def _inside(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, module in block.named_modules():
        if path.count(".") < _DEPTH and not isinstance(module, nn.ModuleList):
            yield path, module


# One block -----------------------------------------------------------------------------------------------------------


def _of_block(
    block: Mapping[str, _Seen], spec: Mapping[str, Any], pre: Tensor, post: Tensor, known: Sequence[float]
) -> Places:
    found = {"resid_pre": Place("", True), "resid_post": Place("", False)}
    writers = {path: seen.gave for path, seen in block.items() if path and seen.gave is not None}
    mixers, mlps = _ordered(spec, _MIXERS, "ln1", "o", writers), _ordered(spec, _MLPS, "ln2", "out", writers)
    inputs = {path: seen.given for path, seen in block.items() if path and seen.given is not None}
    parts = [path for path in (_path(spec, "ln2"), _path(spec, "mlp"), _path(spec, "moe")) if path in inputs]
    found |= _sequential(
        {path: inputs[path] for path in dict.fromkeys([*parts, *inputs])}, writers, mixers, mlps, pre, post, known
    ) or _parallel(writers, mixers, mlps, pre, post)
    for stream, part, inner in (("attn_z", "attn", "o"), ("mlp_in", "mlp", "")):
        path = _path(spec, part, inner)
        if path in block and path:
            found[stream] = Place(path, True)
    return found


def _path(spec: Mapping[str, Any], part: str, inner: str = "") -> str:
    """The path inside a block of a part that the adapter names, or of a module inside that part; "" without one."""
    one = spec.get(part)
    if inner:
        deeper = getattr(one, "submodules", {}).get(inner)
        own, below = str(getattr(one, "name", None) or ""), str(getattr(deeper, "name", None) or "")
        return ".".join(filter(None, (own, below))) if below else ""
    return str(getattr(one, "name", None) or "")


def _ordered(
    spec: Mapping[str, Any], parts: Sequence[str], norm: str, inner: str, writers: Mapping[str, Tensor]
) -> list[str]:
    """Paths of modules that may write a part's output, the likeliest first: the adapter's, then what is inside them."""
    named = [_path(spec, part) for part in parts if part in spec]
    deep = [_path(spec, part, inner) for part in parts if part in spec]
    # Where a family norms only what is written (OLMo-2), the adapter calls that norm by the name of the one before.
    first = [path for path in (*named, *deep, _path(spec, norm)) if path in writers]
    below = [path for path in writers if any(path.startswith(f"{name}.") for name in named if name)]
    return list(dict.fromkeys([*first, *below]))


def _factor(written: Tensor, change: Tensor, terms: Sequence[Tensor], known: Sequence[float]) -> float | None:
    """The constant c with change = c * written, or None where there is none.

    In 16 bits a small part of a large stream is all rounding in any one number, but not over all of them: the line
    through all points tells 1 from 0.22 where single numbers do not.
    """
    x, y = written.double(), change.double()
    length = float(x.square().sum())
    if not length or not bool(x.isfinite().all()):
        return None
    c = float((y * x).sum()) / length
    eps = max(torch.finfo(term.dtype).eps for term in terms)
    noise = eps * float(torch.stack([term.double() for term in terms]).norm()) / length**0.5 / x.numel() ** 0.5
    slack = 8 * noise + 8 * eps
    likely = next((one for one in (1.0, *known) if abs(c - one) <= slack), c if eps < 1e-5 and abs(c) > 1e-3 else None)
    return likely if likely is not None and close(y, likely * x, (*terms, written)) else None


def _sequential(
    inputs: Mapping[str, Tensor], writers: Mapping[str, Tensor], mixers: Sequence[str], mlps: Sequence[str],
    pre: Tensor, post: Tensor, known: Sequence[float],
) -> Places:  # fmt: skip
    """The places between attention and MLP where one follows the other; empty where no such stream was found."""

    def first(paths: Sequence[str], start: Tensor, end: Tensor) -> Place | None:
        change = end.double() - start.double()
        found = ((path, _factor(writers[path], change, (start, end), known)) for path in paths)
        return next((Place(path, False, factor) for path, factor in found if factor is not None), None)

    for path, middle in inputs.items():
        if torch.equal(middle, pre) or torch.equal(middle, post):
            continue
        mixer, mlp = first(mixers, pre, middle), first(mlps, middle, post)
        if mixer and mlp:
            return {"attn_out": mixer, "resid_mid": Place(path, True), "mlp_out": mlp}
    return {}


def _parallel(
    writers: Mapping[str, Tensor], mixers: Sequence[str], mlps: Sequence[str], pre: Tensor, post: Tensor
) -> Places:
    """What attention and MLP write where nothing stands between them; empty where their sum is not what is added."""
    for mixer, mlp in itertools.product(mixers, mlps):
        one, other = writers[mixer], writers[mlp]
        total = pre.double() + one.double() + other.double()
        if mixer != mlp and bool(one.any()) and bool(other.any()) and close(post, total, (pre, one, other, post)):
            return {"attn_out": Place(mixer, False), "mlp_out": Place(mlp, False)}
    return {}


# Edits ---------------------------------------------------------------------------------------------------------------


def hold(places: Sequence[Places], run: Callable[[dict[Site, Callable[[Tensor], Tensor]]], Any]) -> list[Places]:
    """The places whose edits reach what comes after them, by passes in which all streams are edited at once.

    `run` makes a pass with hooks at sites.

    Raises:
        ValueError: an edit of the residual stream itself does not.
    """
    found = [{stream: place for stream, place in one.items() if stream in STREAMS} for one in places]
    inner = [{stream: place for stream, place in one.items() if stream not in STREAMS} for one in places]
    for drop in ((), ("resid_mid",), ("attn_out", "mlp_out")):
        found = [{stream: place for stream, place in one.items() if stream not in drop} for one in found]
        if _edits_flow(found, run) and _reaches(len(found) - 1, run):
            return [one | more for one, more in zip(found, inner, strict=True)]
    raise ValueError("an edit of its residual stream does not reach the layers after it")


def _edits_flow(places: Sequence[Places], run: Callable[[dict[Site, Callable[[Tensor], Tensor]]], Any]) -> bool:
    before: dict[tuple[int, str], Tensor] = {}
    after: dict[tuple[int, str], Tensor] = {}
    generator = torch.Generator().manual_seed(0)

    def edit(at: tuple[int, str]) -> Callable[[Tensor], Tensor]:
        def hook(h: Tensor) -> Tensor:
            noise = torch.randn(h.shape, generator=generator).to(h.device)
            new = (h.float() + 0.3 * h.float().std() * noise).to(h.dtype)
            before[at], after[at] = h.detach().cpu().clone(), new.cpu().clone()
            return new

        return hook

    try:
        run({Site(layer, stream): edit((layer, stream)) for layer, one in enumerate(places) for stream in one})
    except (RuntimeError, IndexError, TypeError, AttributeError):
        return False
    for layer, one in enumerate(places):
        at = {stream: after.get((layer, stream)) for stream in one}
        if any(value is None for value in at.values()):
            return False  # a module that did not run
        terms = [value for stream in ("resid_pre", "attn_out") if (value := at.get(stream)) is not None]
        if "resid_mid" in one:
            if not _is_sum(before[layer, "resid_mid"], terms):
                return False
            terms = [after[layer, "resid_mid"]]
        if "mlp_out" in one and not _is_sum(before[layer, "resid_post"], [*terms, after[layer, "mlp_out"]]):
            return False
        if layer + 1 < len(places) and not _is_sum(before[layer + 1, "resid_pre"], [after[layer, "resid_post"]]):
            return False
    return True


def _reaches(layer: int, run: Callable[[dict[Site, Callable[[Tensor], Tensor]]], Any]) -> bool:
    """Whether an edit of what a block is given changes what it gives."""
    seen: list[Tensor] = []

    def note(h: Tensor) -> Tensor:
        seen.append(h.detach().cpu().clone())
        return h

    pre, post = Site(layer, "resid_pre"), Site(layer, "resid_post")
    run({post: note})
    run({pre: lambda h: h.flip(-1), post: note})
    return len(seen) == 2 and not torch.equal(*seen)


def _is_sum(found: Tensor, terms: Sequence[Tensor]) -> bool:
    total = torch.stack([term.double() for term in terms]).sum(0)
    return found.shape == total.shape and close(found, total.to(torch.float64), (*terms, found))
