"""Receipts that can say no: an edit that does not flow on is reported, whatever keeps it from doing so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from deaf_hooks import deafen, without_fused_steps
from steered_rows import PROMPTS, TEXT, batch, decode, direction
from torch import Tensor

from steering.engine.passes import run_sequences
from steering.engine.requests import Request
from steering.engine.rows import Row
from steering.engine.scoring import score
from steering.interventions import ActivationAddition, DirectionalAblation
from steering.models import hooks as models
from steering.models.loading import load_model
from steering.models.model import Model
from steering.sites import RESIDUAL_STREAMS, Site

SHORT = {"max_new_tokens": 4, "ignore_eos": True}
STREAMS = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")


def adding(site: Site, alpha: float = 6.0, **options: Any) -> ActivationAddition:
    return ActivationAddition(direction(site), alpha=alpha, **options)


def said(row: Row) -> tuple[bool, float, float]:
    (receipt,) = row.receipts()
    return receipt.agrees, receipt.expected, receipt.measured


@pytest.mark.parametrize("stream", STREAMS)
def test_a_deaf_hook_is_reported(stream: str, lm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook is called and what it returns is dropped: the text is the baseline's, and nothing arrived."""
    if stream not in lm.streams:
        pytest.skip("a stream that this family has not")
    site = Site(1, stream)
    agrees, expected, measured = said(decode(lm, TEXT, (adding(site),), **SHORT))
    assert agrees and measured == pytest.approx(expected, rel=1e-4)
    deafen(monkeypatch)
    row = decode(lm, TEXT, (adding(site),), **SHORT)
    assert row.generated == decode(lm, TEXT, **SHORT).generated
    agrees, expected, measured = said(row)
    assert not agrees and expected == pytest.approx(6.0) and measured < 1e-3
    assert row.receipts()[0].failures[0].site == str(site)


@pytest.mark.parametrize("where", ["prompt", "generated", "from_last"])
def test_deafness_shows_whichever_tokens_are_touched(
    where: Any, tiny_llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    deafen(monkeypatch)
    agrees, expected, measured = said(decode(tiny_llama, TEXT, (adding(Site(2), where=where),), **SHORT))
    assert not agrees and expected == pytest.approx(6.0) and measured == 0.0


def test_a_deaf_hook_is_reported_in_a_batch_and_by_teacher_forcing(
    tiny_llama: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that share their prompt's pass, rows that do not, and rows whose targets are given."""
    deafen(monkeypatch)
    variants = [(), (adding(Site(1)),), (adding(Site(3)),), (adding(Site(1), 3.0), adding(Site(3)))]
    for prompts in ([TEXT] * 4, PROMPTS[:4]):
        rows = batch(tiny_llama, prompts, variants, **SHORT)
        assert [[r.agrees for r in row.receipts()] for row in rows] == [[], [False], [False], [False, False]]
    row = Request(TEXT, (adding(Site(1)),)).row(tiny_llama)
    row.targets = (5, 9)
    score([row])
    assert not row.receipts()[0].agrees


def test_of_several_edits_at_one_site_none_is_taken_for_delivered(lm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = (adding(Site(1), 3.0), adding(Site(1), 3.0), DirectionalAblation(direction(seed=2)))
    assert all(receipt.agrees for receipt in decode(lm, TEXT, variant, **SHORT).receipts())
    deafen(monkeypatch)
    assert not any(receipt.agrees for receipt in decode(lm, TEXT, variant, **SHORT).receipts())


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("layer", [0, 3])
def test_a_hook_on_another_layers_module_is_reported(
    stream: str, layer: int, lm: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after the right one: the text is steered, but not where the receipt says."""
    if stream not in lm.streams:
        pytest.skip("a stream that this family has not")
    without_fused_steps(monkeypatch)
    place = Model._module
    monkeypatch.setattr(Model, "_module", lambda self, site: place(self, Site((site.layer + 1) % 4, site.stream)))
    row = decode(lm, TEXT, (adding(Site(layer, stream)),), **SHORT)
    assert not said(row)[0]


def test_a_hook_on_another_part_of_the_block_is_reported(lm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    without_fused_steps(monkeypatch)
    place = Model._module
    swapped = {"attn_out": "mlp_out", "mlp_out": "attn_out", "resid_pre": "resid_post", "resid_post": "resid_pre"}
    monkeypatch.setattr(
        Model, "_module", lambda self, site: place(self, Site(site.layer, swapped.get(site.stream, site.stream)))
    )
    for stream in swapped:
        assert not said(decode(lm, TEXT, (adding(Site(1, stream)),), **SHORT))[0], stream


@contextmanager
def undoing(lm: Model, site: Site, *, in_place: bool) -> Iterator[None]:
    """Somebody else's hooks, further down, that put the stream back to what it was without the edit."""
    kept: list[Tensor] = []
    block, after = lm.blocks[site.layer], lm.blocks[site.layer + 1]

    def keep(module: Any, args: tuple, output: Any) -> None:
        kept.append((output if isinstance(output, Tensor) else output[0]).clone())

    def put_back(module: Any, args: tuple, kwargs: dict) -> Any:
        before = kept.pop()
        if in_place:
            (args[0] if args else kwargs["hidden_states"]).copy_(before)
            return None
        return ((before, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": before})

    handles = [block.register_forward_hook(keep), after.register_forward_pre_hook(put_back, with_kwargs=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("in_place", [False, True])
def test_an_edit_that_a_later_module_undoes_is_reported(in_place: bool, lm: Model) -> None:
    lm.arrivals  # noqa: B018  what a healthy model of this family carries on
    with undoing(lm, Site(1), in_place=in_place):
        row = decode(lm, TEXT, (adding(Site(1)),), **SHORT)
        assert row.generated == decode(lm, TEXT, **SHORT).generated
        agrees, expected, measured = said(row)
        assert not agrees and expected == pytest.approx(6.0) and measured < 1e-3


def test_an_edit_that_is_weakened_on_its_way_is_reported(lm: Model) -> None:
    """A module further down that halves what was added."""
    lm.arrivals  # noqa: B018

    def halve(module: Any, args: tuple, output: Any) -> Any:
        h = output if isinstance(output, Tensor) else output[0]
        h = h - 3.0 * direction().vector
        return h if isinstance(output, Tensor) else (h, *output[1:])

    row = Request(TEXT, (adding(Site(1)),)).row(lm)
    norm = lm.blocks[2].register_forward_pre_hook(
        lambda m, args, kwargs: (
            ((halve(m, (), args[0]), *args[1:]), kwargs)
            if args
            else (args, {**kwargs, "hidden_states": halve(m, (), kwargs["hidden_states"])})
        ),
        with_kwargs=True,
    )
    try:
        run_sequences(lm, [row])
    finally:
        norm.remove()
    agrees, expected, measured = said(row)
    assert not agrees and (expected, measured) == pytest.approx((6.0, 3.0), abs=1e-3)


def test_a_missing_write_into_the_stream_between_attention_and_mlp_is_reported(
    lm: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the norm before the MLP is given the edited tensor; the stream itself goes on without it."""
    if "resid_mid" not in lm.streams:
        pytest.skip("a family without that stream")
    without_fused_steps(monkeypatch)
    on_input = models.on_input
    monkeypatch.setattr(models, "on_input", lambda hook, **how: on_input(hook, **{**how, "in_place": False}))
    row = decode(lm, TEXT, (adding(Site(1, "resid_mid")),), **SHORT)
    agrees, expected, measured = said(row)
    assert not agrees and expected == pytest.approx(6.0) and measured < 1e-3


def test_one_deaf_site_among_many_is_reported_by_its_name(lm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ablation everywhere, with one hook of eight to twelve that is not listened to."""
    without_fused_steps(monkeypatch)
    everywhere = (DirectionalAblation(direction(), everywhere=True),)
    assert decode(lm, TEXT, everywhere, **SHORT).receipts()[0].agrees
    hooked = Model.hooked

    def one_is_deaf(self: Model, hooks: dict, readers: Any = None, **how: Any) -> Any:
        broken = dict(hooks)
        if Site(2, "resid_post") in broken:
            broken[Site(2, "resid_post")] = lambda h: None
        return hooked(self, broken, readers, **how)

    monkeypatch.setattr(Model, "hooked", one_is_deaf)
    (receipt,) = decode(lm, TEXT, everywhere, **SHORT).receipts()
    assert [shift.site for shift in receipt.failures] == ["blocks.2.hook_resid_post"]
    assert receipt.problem.endswith("the hook at blocks.2.hook_resid_post never ran.")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("named", ["gpt2", "llama", "gemma2"])
def test_in_half_precision_right_receipts_agree_and_deaf_ones_do_not(
    named: str, dtype: torch.dtype, checkpoint: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = load_model(checkpoint(named), device="cpu", dtype=dtype, threads=1)
    variants = [(adding(Site(1, stream)),) for stream in half.streams]
    variants.append((DirectionalAblation(direction(), everywhere=True),))
    rows = batch(half, [TEXT] * len(variants), variants, **SHORT)
    assert all(receipt.agrees for row in rows for receipt in row.receipts())
    deafen(monkeypatch)
    rows = batch(half, [TEXT] * len(variants), variants, **SHORT)
    assert not any(receipt.agrees for row in rows for receipt in row.receipts())


def test_the_streams_of_the_residual_are_read_further_down_in_every_family(lm: Model) -> None:
    """Not by a second hook on the same module, which a mistake about the module would take along."""
    for stream in RESIDUAL_STREAMS:
        if stream in lm.streams:
            assert all(lm.arrivals.carried(Site(layer, stream)) for layer in range(lm.n_layers)), stream


def test_no_activation_outlives_its_pass(lm: Model) -> None:
    decode(lm, TEXT, (adding(Site(1, "resid_mid")) if "resid_mid" in lm.streams else adding(Site(1)),), **SHORT)
    assert all(not layer.seen for layer in lm.arrivals._layers)


def test_what_a_family_carries_on_is_the_same_whatever_asked_for_it_first(checkpoint: Callable[..., Path]) -> None:
    """Variants of one prompt run as one row up to the first edit: to find out there once broke every later receipt."""
    lm = load_model(str(checkpoint("llama")))
    batch(lm, [TEXT, TEXT], [(), (adding(Site(1)),)], **SHORT)
    assert all(lm.arrivals.carried(Site(layer, "resid_post")) for layer in range(lm.n_layers))
