"""The fused decoding step is transformers' own within rounding, with hooks too, and steps aside when unusual."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from steered_rows import direction
from torch import nn

from steering.engine.engine import Engine
from steering.engine.scoring import tolerance
from steering.interventions import ActivationAddition
from steering.models import packing
from steering.models.caching.cache import RowCache, can_cache, can_continue
from steering.models.model import Model
from steering.sites import INNER_STREAMS, Site

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gpt2", "neox", "neox_sequential", "gemma3")
needs_onednn = pytest.mark.skipif(packing.smallest_matrix() is None, reason="this torch has no oneDNN")


@pytest.fixture(params=FAMILIES)
def fresh(request: pytest.FixtureRequest, model: Callable[[str], Model]) -> Model:
    """A tiny model of each family that has a fused step, which no other test meets."""
    lm = model(request.param)
    return Model(lm.name, copy.deepcopy(lm.hf), lm.tokenizer)


NAMES = {  # what other families call a Llama's parts
    "mlp.down_proj": ("mlp.c_proj", "mlp.dense_4h_to_h"),
    "mlp.up_proj": ("mlp.c_fc", "mlp.dense_h_to_4h"),
    "input_layernorm": ("ln_1",),
}


def part(block: nn.Module, name: str) -> nn.Module:
    """A part of a block by its name in a Llama."""
    known = dict(block.named_modules())
    return next(known[one] for one in (name, *NAMES[name]) if one in known)


@contextmanager
def stepping_aside(lm: Model) -> Iterator[None]:
    """A hook of somebody else's on a module: transformers' own forward has to run."""
    handle = lm.hf.get_input_embeddings().register_forward_hook(lambda *_: None)  # type: ignore[operator]
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def decoded(lm: Model, *, padded: bool = False, steps: int = 6, hooks=None, readers=None) -> torch.Tensor:
    """The logits of some steps after a prompt that is longer than a sliding window."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, 290, (3, 20), generator=generator)
    real = torch.ones(3, 20, dtype=torch.long)
    real[1, :7] = 0
    positions, cache, found = (real.cumsum(-1) - 1).clamp(min=0), RowCache(), []
    more = {"attention_mask": real, "positions": positions} if padded else {}
    lm.forward(tokens, cache=cache, keep=1, **more)
    for step in range(steps):
        real = torch.cat([real, torch.ones(3, 1, dtype=torch.long)], 1)
        more = {"attention_mask": real, "positions": positions[:, -1:] + 1 + step} if padded else {}
        new = torch.randint(4, 290, (3, 1), generator=generator)
        found.append(lm.forward(new, cache=cache, hooks=hooks, readers=readers, keep=1, **more))
    return torch.cat(found, 1)


def is_fused(lm: Model) -> bool:
    cache = RowCache()
    with torch.inference_mode():
        lm.forward(torch.arange(4, 8)[None], cache=cache, keep=1)
        return lm._fused.ready(torch.tensor([[5]]), cache) is not None


@pytest.mark.parametrize("padded", [False, True])
def test_a_step_is_transformers_own(fresh: Model, padded: bool) -> None:
    assert is_fused(fresh)
    mine = decoded(fresh, padded=padded)
    with stepping_aside(fresh):
        assert not is_fused(fresh)
        torch.testing.assert_close(mine, decoded(fresh, padded=padded), atol=1e-4, rtol=1e-4)


@needs_onednn
def test_packed_steps_are_transformers_own(fresh: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "smallest_matrix", lambda: 1)
    mine = decoded(fresh, padded=True)
    assert len(fresh._packed._whole) == 4 * fresh.n_layers + 1  # query, key and value are one; gate and up are one
    monkeypatch.setattr(packing, "smallest_matrix", lambda: None)
    plain = Model(fresh.name, fresh.hf, fresh.tokenizer)
    with stepping_aside(plain):
        torch.testing.assert_close(mine, decoded(plain, padded=True), atol=1e-4, rtol=1e-4)


def test_hooks_and_readers_see_and_change_the_same(fresh: Model) -> None:
    """At every stream of every layer: what a hook sees, what its edit does, and what a reader is called with."""
    sites = [Site(n, stream) for n in range(fresh.n_layers) for stream in (*fresh.streams, *INNER_STREAMS)]

    def run() -> tuple[torch.Tensor, dict, dict]:
        seen: dict[Site, list[torch.Tensor]] = {site: [] for site in sites}
        told: dict[Site, list[torch.Tensor]] = {site: [] for site in sites}

        def hook(site: Site):
            def change(h: torch.Tensor) -> torch.Tensor:
                seen[site].append(h.clone())
                return h + 0.1 * torch.sin(torch.arange(h.shape[-1]) + site.layer)

            return change

        def reader(site: Site):
            return lambda h, rest: told[site].append(h.clone() if rest is None else h - rest)

        hooks = {site: hook(site) for site in sites}
        readers = {site: reader(site) for site in sites}
        return decoded(fresh, steps=2, hooks=hooks, readers=readers), seen, told

    logits, seen, told = run()
    with stepping_aside(fresh):
        logits2, seen2, told2 = run()
    torch.testing.assert_close(logits, logits2, atol=1e-4, rtol=1e-4)
    for site in sites:
        assert len(seen[site]) == len(seen2[site]) == 2 and len(told[site]) == len(told2[site]) == 2, site
        for mine, theirs in zip([*seen[site], *told[site]], [*seen2[site], *told2[site]], strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4, msg=str(site))


def test_a_hook_that_changes_nothing_leaves_every_bit(fresh: Model) -> None:
    plain = decoded(fresh)
    sites = [Site(n, stream) for n in range(fresh.n_layers) for stream in fresh.streams]
    assert torch.equal(plain, decoded(fresh, hooks={site: lambda h: None for site in sites}))
    assert torch.equal(plain, decoded(fresh, hooks={site: lambda h: h + 0 for site in sites}))


def test_an_edited_weight_counts(fresh: Model) -> None:
    before = decoded(fresh, steps=1)
    with torch.no_grad():
        for block in fresh.blocks:
            mlp, norm = part(block, "mlp.down_proj"), part(block, "input_layernorm")
            mlp.weight.mul_(0.5)  # type: ignore[operator]
            norm.weight.mul_(1.5)  # type: ignore[operator]
    after = decoded(fresh, steps=1)
    assert not torch.allclose(before, after, atol=1e-3)
    with stepping_aside(fresh):
        torch.testing.assert_close(after, decoded(fresh, steps=1), atol=1e-4, rtol=1e-4)


def test_the_unusual_is_left_to_transformers(fresh: Model, model: Callable[[str], Model]) -> None:
    cache, one = RowCache(), torch.tensor([[5]])
    with torch.inference_mode():
        fresh.forward(torch.arange(4, 8)[None], cache=cache, keep=1)
        assert fresh._fused.ready(one, RowCache()) is None  # the prompt pass
        assert fresh._fused.ready(one, None) is None
        assert fresh._fused.ready(torch.tensor([[5, 6]]), cache) is None
    with torch.enable_grad():
        assert fresh._fused.ready(one, cache) is None

    plain = part(fresh.blocks[0], "mlp.up_proj")
    kind = type(plain)
    plain.__class__ = type("Adapted", (kind,), {})
    assert not is_fused(Model(fresh.name, fresh.hf, fresh.tokenizer))
    plain.__class__ = kind
    assert is_fused(Model(fresh.name, fresh.hf, fresh.tokenizer))
    assert not is_fused(Model("half", copy.deepcopy(model("llama").hf).bfloat16(), fresh.tokenizer))
    rope = copy.deepcopy(model("llama").hf)
    rope.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}  # type: ignore[union-attr]
    assert not is_fused(Model("dynamic", rope, fresh.tokenizer))


@pytest.mark.skipif(not packing.bfloat16_is_native(), reason="this processor has no bfloat16")
def test_products_in_bfloat16_are_close_and_the_stream_stays_float32(
    fresh: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "smallest_matrix", lambda: 1)
    rounded = Model(fresh.name, fresh.hf, fresh.tokenizer, products="bfloat16")
    dtypes = []
    mine = decoded(rounded, hooks={Site(1): lambda h: dtypes.append(h.dtype)})
    whole = decoded(fresh)
    assert set(dtypes) == {torch.float32} and mine.dtype == torch.float32
    assert not torch.equal(mine, whole)
    kl = (whole.softmax(-1) * (whole.log_softmax(-1) - mine.log_softmax(-1))).sum(-1)
    assert float(kl.mean()) < 0.01
    with stepping_aside(rounded):  # the same products in transformers' own forward
        torch.testing.assert_close(mine, decoded(rounded), atol=0.2, rtol=0.05)


def test_hooks_that_transformers_leaves_behind_change_nothing(fresh):
    """Asking for hidden states once leaves hooks on the modules for good; they are inactive afterwards."""
    assert is_fused(fresh)
    fresh.hf(torch.arange(4, 8)[None], output_hidden_states=True)
    assert is_fused(fresh)


@pytest.mark.skipif(not packing.bfloat16_is_native(), reason="this processor has no bfloat16")
def test_rows_of_rounded_products_share_a_cache_and_are_what_they_are_alone(
    fresh: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one batch by the cache: log-probabilities within what rounding to bfloat16 explains, and the check agrees."""
    monkeypatch.setattr(packing, "smallest_matrix", lambda: 1)
    rounded = Model(fresh.name, fresh.hf, fresh.tokenizer, products="bfloat16")
    assert can_cache(rounded) and can_continue(rounded)
    way = (ActivationAddition(direction(Site(1)), alpha=6.0),)
    with Engine(rounded) as engine:
        together = engine.generate("The cat sat on the mat", [(), way] * 2, max_new_tokens=8, ignore_eos=True)
        assert all(engine.check(one).agrees for one in together)
        for variant, one in zip([(), way] * 2, together, strict=True):
            alone = engine.score_all([("The cat sat on the mat", one.tokens, variant)])[0]
            for mine, other in zip(one.logprobs, alone, strict=True):
                assert abs(mine - other) <= tolerance(torch.bfloat16, mine)
            assert all(receipt.agrees for receipt in one.receipts)
