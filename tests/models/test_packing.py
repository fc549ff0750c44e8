"""Packed weights: the numbers of torch's own products, a row's bits whatever stands beside it, and nothing left."""

from __future__ import annotations

import copy
import gc
import threading
from pathlib import Path

import pytest
import torch
from steered_rows import PROMPTS
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from steering.directions.direction import Direction
from steering.interventions.weights import orthogonalize_weights
from steering.models import packing
from steering.models.model import Model
from steering.sites import Site

needs_onednn = pytest.mark.skipif(packing.smallest_matrix() is None, reason="this torch has no oneDNN")


@pytest.fixture
def packed(lm: Model, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The tiny model as one whose matrices are all worth packing; a fresh one, so that no other test meets it."""
    monkeypatch.setattr(packing, "smallest_matrix", lambda: 1)
    return Model(lm.name, copy.deepcopy(lm.hf), lm.tokenizer)


def logits(lm: Model, prompts: list[str]) -> torch.Tensor:
    length = min(len(lm.tokens(prompt)) for prompt in prompts)
    tokens = torch.tensor([lm.tokens(prompt)[:length] for prompt in prompts])
    with torch.no_grad():
        return lm.forward(tokens)


@needs_onednn
def test_packed_products_are_torchs_own(lm: Model, packed: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    found = logits(packed, PROMPTS)
    assert len(packed._packed._made or []) >= 4 * packed.n_layers
    monkeypatch.setattr(packing, "smallest_matrix", lambda: None)
    plain = Model(lm.name, lm.hf, lm.tokenizer)
    torch.testing.assert_close(found, logits(plain, PROMPTS), atol=1e-4, rtol=1e-4)
    assert not plain._packed._made


@needs_onednn
def test_a_row_has_the_same_bits_alone_and_in_a_batch(packed: Model) -> None:
    logits(packed, PROMPTS)
    for module, forward in packed._packed._made or []:
        weight = module.get_parameter("weight")
        width = weight.shape[1] if isinstance(module, nn.Linear) else weight.shape[0]
        x = torch.randn(8, 1, width, generator=torch.Generator().manual_seed(0))
        together = forward(x)
        for row in range(8):
            assert torch.equal(forward(x[row : row + 1]), together[row : row + 1])


@needs_onednn
def test_nothing_stays_on_the_modules(packed: Model) -> None:
    seen: list[bool] = []
    last = packed.blocks[-1]

    def stop(*_: object) -> None:
        seen.append(any("forward" in module.__dict__ for module in packed.hf.modules()))
        raise RuntimeError("half-way")

    handle = last.register_forward_pre_hook(stop)
    with pytest.raises(RuntimeError, match="half-way"):
        logits(packed, PROMPTS[:2])
    handle.remove()
    assert seen == [True]
    assert not any("forward" in module.__dict__ for module in packed.hf.modules())


@needs_onednn
def test_edited_weights_are_packed_again(packed: Model) -> None:
    before = logits(packed, PROMPTS[:2])
    with torch.no_grad():
        packed.hf.get_output_embeddings().weight.mul_(2.0)  # type: ignore[operator,union-attr]
    after = logits(packed, PROMPTS[:2])
    assert not torch.allclose(before, after)
    with torch.enable_grad():  # where gradients are wanted torch's own products run
        tokens = torch.tensor([packed.tokens(PROMPTS[0])])
        torch.testing.assert_close(packed.forward(tokens)[0, -1], _last(packed), atol=1e-4, rtol=1e-4)
    head = packed.hf.get_output_embeddings()
    head.weight = nn.Parameter(torch.zeros_like(head.weight))  # type: ignore[operator,union-attr]
    assert not _last(packed).any()  # another tensor in the old one's place is an edit too


def _last(lm: Model) -> torch.Tensor:
    with torch.no_grad():
        return lm.forward(torch.tensor([lm.tokens(PROMPTS[0])]))[0, -1]


@needs_onednn
def test_gradients_and_their_own_gradients_are_those_of_torchs_products(packed: Model, lm: Model) -> None:
    tokens = torch.tensor([packed.tokens(PROMPTS[0])])
    plain = Model(lm.name, lm.hf, lm.tokenizer)
    vars(plain)["_packed"] = packing.PackedLinears(lm.hf, 0)
    start = lm.hf.get_input_embeddings()(tokens).detach()  # type: ignore[operator,misc]
    found = []
    for one in (plain, packed):
        x = start.clone().requires_grad_(True)
        with torch.enable_grad(), one.hooked({}), sdpa_kernel(SDPBackend.MATH), one._packed.active():
            logits = one.hf(inputs_embeds=x).logits  # type: ignore[operator]
            (gradient,) = torch.autograd.grad(logits.log_softmax(-1)[0, :, 3].sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(gradient.square().sum(), x)
        found.append((gradient.detach(), second))
    assert len(packed._packed._made or []) >= 4 * packed.n_layers
    for mine, own in zip(found[1], found[0], strict=True):
        assert float((mine - own).norm()) < 1e-3 * float(own.norm())


@needs_onednn
def test_weights_that_are_trained_keep_torchs_products(packed: Model) -> None:
    head = packed.hf.get_output_embeddings().weight  # type: ignore[union-attr]
    head.requires_grad_(True)
    with torch.enable_grad():
        packed.forward(torch.tensor([packed.tokens(PROMPTS[0])])).square().mean().backward()
    assert head.grad is not None and float(head.grad.abs().sum()) > 0  # type: ignore[union-attr]


@needs_onednn
def test_a_layers_product_is_linear_in_many_vectors_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `torch.autograd.grad(is_grads_batched=True)` asks for it."""
    monkeypatch.setattr(packing, "smallest_matrix", lambda: 1)
    layer = nn.Linear(5, 3).requires_grad_(False)
    product = packing._packed([layer], "float32")
    x, u = torch.randn(2, 5, requires_grad=True), torch.randn(4, 2, 3)
    with torch.enable_grad():
        y = product(x)
    torch.testing.assert_close(y, layer(x))
    (back,) = torch.autograd.grad(y, x, u, is_grads_batched=True)
    torch.testing.assert_close(back, u @ layer.weight)


@needs_onednn
def test_small_matrices_are_left_to_mkl_where_it_is_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor, smallest in (("GenuineIntel", 2**20), ("AuthenticAMD", 2**15)):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nvendor_id : {vendor}\n")
        monkeypatch.setattr(packing, "Path", lambda _: tmp_path / "cpuinfo")
        assert packing.smallest_matrix.__wrapped__() == smallest


@needs_onednn
def test_only_plain_layers_are_packed_and_only_up_to_a_size(packed: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    class Adapted(nn.Linear):
        pass

    assert packing._can_be_packed(nn.Linear(4, 4))
    assert not packing._can_be_packed(Adapted(4, 4))
    assert not packing._can_be_packed(nn.Linear(4, 4).to(torch.bfloat16))
    patched = nn.Linear(4, 4)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    assert not packing._can_be_packed(patched)  # somebody else's forward
    with torch.inference_mode():
        assert not packing._can_be_packed(nn.Linear(4, 4))  # whose edits no version counts
    monkeypatch.setattr(packing, "smallest_matrix", lambda: 16)
    assert packing._can_be_packed(nn.Linear(4, 4)) and not packing._can_be_packed(nn.Linear(3, 5))
    whole = sum(module.weight.nbytes for module in packed.hf.modules() if packing._can_be_packed(module))  # type: ignore[union-attr]
    for most, expected in ((whole, True), (whole - 1, False)):
        copies = packing.PackedLinears(packed.hf, most)
        with torch.no_grad(), copies.active():
            assert bool(copies._made) is expected


@needs_onednn
def test_a_copy_made_during_a_pass_waits_for_its_end(packed: Model) -> None:
    """Otherwise the edited copy would go on multiplying by the packed weights of the model it was copied from."""
    direction = Direction(torch.randn(packed.d_model, generator=torch.Generator().manual_seed(0)), Site(1))
    inside, release = threading.Event(), threading.Event()
    found: list[Model] = []

    def hold(_: torch.Tensor) -> None:
        inside.set()
        release.wait(30)

    def run() -> None:
        with torch.no_grad():
            packed.forward(torch.tensor([packed.tokens(PROMPTS[0])]), hooks={Site(1): hold})

    threads = [
        threading.Thread(target=run),
        threading.Thread(target=lambda: found.append(orthogonalize_weights(packed, direction).model)),
    ]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    threads[1].join(0.3)  # it would be done by now
    release.set()
    for thread in threads:
        thread.join(30)
    assert not any("forward" in module.__dict__ for module in found[0].hf.modules())


def test_nothing_but_the_layers_holds_their_weights(packed: Model) -> None:
    """Where a file is mapped the weights leave the memory, unless somebody else still holds them."""
    packed.forward(torch.tensor([[1, 2, 3]]))
    own = {id(parameter) for parameter in packed.hf.parameters()}
    places = {parameter.data_ptr() for parameter in packed.hf.parameters()}
    held = [
        one
        for one in gc.get_objects()
        if isinstance(one, torch.Tensor) and one.layout == torch.strided and id(one) not in own
        if not one.is_mkldnn and one.data_ptr() in places
    ]
    assert not held
