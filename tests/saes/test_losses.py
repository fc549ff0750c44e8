"""Each loss against a naive transcription of its paper, and against SAELens where SAELens has the same one."""

import pytest
import torch
from reference import sae_losses as naive
from sae_lens import TrainingSAE
from sae_lens.saes.sae import TrainStepInput

from steering.saes.making.losses import AUXILIARY, BANDWIDTH, SMOOTH, Dictionary, dictionary
from steering.saes.making.recipe import ARCHITECTURES, SaeRecipe

D_IN, D_SAE, K = 6, 16, 3


def made(architecture: str, **more) -> Dictionary:
    """A dictionary with biases that matter, so that a forgotten one shows."""
    recipe = SaeRecipe(architecture, d_sae=D_SAE, k=K, batch=1, samples=10, sparsity=0.3, **more)
    module = dictionary(recipe, D_IN)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if name == "threshold":
                tensor.copy_(0.1 + 0.2 * torch.rand(tensor.shape, generator=generator))
            elif tensor.ndim == 1:
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
        module.W_enc.mul_(1.3)
    return module


def batch(rows: int = 7) -> torch.Tensor:
    return 2 * torch.randn(rows, D_IN, generator=torch.Generator().manual_seed(1))


def weights(module: Dictionary) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("p", [1.0, 0.5, 0.25])
def test_standard_is_the_sum_of_powers(p):
    module = made("standard", p=p)
    expected = naive.standard(weights(module), batch(), 0.3, p, SMOOTH)
    assert float(module.loss(batch(), None, 1.0).total) == pytest.approx(expected, rel=1e-4)


def test_the_power_is_stable_near_zero_and_close_to_the_power_elsewhere():
    f = torch.tensor([0.0, 1e-12, 4.0], requires_grad=True)
    penalty = ((f + SMOOTH) ** 0.5 - SMOOTH**0.5).sum()
    penalty.backward()
    assert f.grad is not None and torch.isfinite(f.grad).all()
    assert float(f.grad.max()) == pytest.approx(0.5 * SMOOTH**-0.5)  # f^p itself has slope 500,000 at 1e-12
    assert float((torch.tensor(4.0) + SMOOTH) ** 0.5 - SMOOTH**0.5) == pytest.approx(2.0, abs=0.11)


def test_gated_is_equation_8():
    module = made("gated")
    assert float(module.loss(batch(), None, 1.0).total) == pytest.approx(
        naive.gated(weights(module), batch(), 0.3), rel=1e-4
    )


def test_gated_leaves_the_decoder_out_of_its_auxiliary_term():
    module = made("gated")
    found = module.loss(batch(), None, 1.0)
    frozen = torch.autograd.grad(found.parts["auxiliary"], [module.W_dec, module.W_enc], allow_unused=True)
    assert frozen[0] is None and frozen[1] is not None and bool(frozen[1].any())


@pytest.mark.parametrize(("architecture", "over_batch"), [("topk", False), ("batchtopk", True)])
def test_counted_features(architecture, over_batch):
    module = made(architecture)
    found = module.loss(batch(), None, 1.0)
    torch.testing.assert_close(found.features, naive.kept(weights(module), batch(), K, over_batch))
    assert float(found.total) == pytest.approx(naive.counted(weights(module), batch(), K, over_batch), rel=1e-4)
    dead = torch.zeros(D_SAE, dtype=torch.bool)
    dead[[2, 9]] = True
    revived = float(module.loss(batch(), dead, 1.0).total - found.total)
    expected = AUXILIARY * naive.revival(weights(module), batch(), K, over_batch, [2, 9])
    assert revived == pytest.approx(expected, rel=1e-3) and expected > 0


def test_matryoshka_adds_the_error_of_its_first_features():
    module = made("matryoshka", widths=(2, 5))
    expected = naive.counted(weights(module), batch(), K, True, (2, 5))
    assert float(module.loss(batch(), None, 1.0).total) == pytest.approx(expected, rel=1e-4)


def test_jumprelu_and_the_gradient_of_its_threshold():
    module = made("jumprelu")
    found = module.loss(batch(200), None, 1.0)
    assert float(found.total) == pytest.approx(naive.jumprelu(weights(module), batch(200), 0.3), rel=1e-4)
    (slope,) = torch.autograd.grad(found.parts["sparsity"], [module.threshold])
    pre = module.pre(batch(200)).detach()
    near = ((pre - module.threshold.detach()).abs() < BANDWIDTH / 2).float()
    torch.testing.assert_close(slope, -0.3 * near.sum(0) / BANDWIDTH / 200)
    assert bool(near.any())


@pytest.mark.parametrize(
    ("architecture", "lens"),
    [
        ("standard", {"l1_coefficient": 0.3}),
        ("topk", {"k": K}),
        ("batchtopk", {"k": K}),
        ("matryoshka", {"k": K, "matryoshka_widths": [2, 5, D_SAE]}),
        ("jumprelu", {"l0_coefficient": 0.3, "jumprelu_bandwidth": BANDWIDTH}),
    ],
)
def test_loss_and_gradients_are_those_of_sae_lens(architecture, lens):
    module = made(architecture, **({"widths": (2, 5)} if architecture == "matryoshka" else {}))
    name = "matryoshka_batchtopk" if architecture == "matryoshka" else architecture
    theirs = TrainingSAE.from_dict({"architecture": name, "d_in": D_IN, "d_sae": D_SAE, **lens})
    state = theirs.state_dict()
    theirs.load_state_dict({**state, **{key: value for key, value in weights(module).items() if key in state}})
    coefficients = {"l1": 0.3, "l0": 0.3}
    expected = theirs.training_forward_pass(TrainStepInput(batch(), coefficients, None, 0, False))
    found = module.loss(batch(), None, 1.0)
    torch.testing.assert_close(found.total, expected.loss)
    for mine, other in ((module.W_enc, theirs.W_enc), (module.b_dec, theirs.b_dec), (module.b_enc, theirs.b_enc)):
        torch.testing.assert_close(
            torch.autograd.grad(found.total, [mine], retain_graph=True)[0],
            torch.autograd.grad(expected.loss, [other], retain_graph=True)[0],
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folding_changes_the_units_only(architecture):
    module, x = made(architecture).eval(), batch()
    if architecture in ("batchtopk", "matryoshka"):
        module.threshold.fill_(0.7)
    with torch.no_grad():
        before_f = module.encode(4 * x)
        before = module.decode(before_f) / 4
        module.fold(4.0)
        torch.testing.assert_close(module.encode(x), before_f / 4)
        torch.testing.assert_close(module.decode(module.encode(x)), before)


def test_mistakes_are_sentences():
    for wrong, said in (
        ({"architecture": "relu"}, "architecture is one of"),
        ({"p": 0.0}, "p is above 0"),
        ({"group": 1, "mutual": 0.1}, "at least 2"),
        ({"architecture": "matryoshka", "widths": (5, 2)}, "widths grow"),
    ):
        with pytest.raises(ValueError, match=said):
            SaeRecipe(**wrong)
