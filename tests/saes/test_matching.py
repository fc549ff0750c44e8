"""Matching dictionaries: identity, permutation, bounds; and a group trained to agree."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from steering.saes.comparing.matching import Mutual, best_cosine, imbalance, interference, match, stability
from steering.saes.making.recipe import SaeRecipe
from steering.saes.making.training import train_group


def rows(m: int = 20, d: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(m, d, generator=torch.Generator().manual_seed(seed))


def test_a_dictionary_matches_itself_in_any_order_and_at_any_length():
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    found = match(rows(), 3 * rows()[order])
    assert found.mean == pytest.approx(1.0, abs=1e-5)
    assert order[torch.from_numpy(found.right)].tolist() == found.left.tolist() == list(range(20))


def test_the_matching_is_one_to_one_and_not_greedy():
    # Both rows of a like b[0] best; the sum is largest when the second, which also likes b[1], gives way.
    a = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    b = torch.tensor([[1.0, 0.1], [0.0, 1.0]])
    assert match(a, b).right.tolist() == [0, 1]
    a = torch.tensor([[0.8, 0.6], [1.0, 0.0]])
    assert match(a, b).right.tolist() == [1, 0]


def test_bounds_symmetry_and_other_sizes():
    a, b = rows(), rows(seed=1)
    assert match(a, b).mean == pytest.approx(match(b, a).mean)
    assert -1 <= match(a, b).mean <= 1 and match(a, -a).mean < 1
    assert len(match(a, b[:5]).left) == 5
    with pytest.raises(ValueError, match="one space"):
        match(a, rows(d=9))


def test_best_cosine_stability_and_interference_by_hand():
    a, b = torch.eye(3), torch.tensor([[2.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
    assert best_cosine(a, b).tolist() == pytest.approx([1.0, 0.8, 0.0])
    assert stability(a, [b, torch.eye(3)]).tolist() == pytest.approx([1.0, 0.9, 0.5])
    assert interference(torch.cat([a, b[1:]])).tolist() == pytest.approx([0.6, 0.8, 0.0, 0.8])
    with pytest.raises(ValueError, match="at least one other"):
        stability(a, [])


def test_the_regularization_is_the_mean_distance_of_matched_rows_and_warms_up():
    a, b, c = (rows(seed=seed) for seed in range(3))
    pairs = [1 - match(x, y).mean for x, y in ((a, b), (a, c), (b, c))]
    assert float(Mutual().loss([a, b, c], 1000)) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert float(Mutual().loss([a, b], 0)) == 0
    assert float(Mutual().loss([a, b], 50)) == pytest.approx(0.5 * pairs[0], rel=1e-5)
    order = torch.randperm(20)
    assert float(Mutual().loss([a, a[order]], 1000)) == pytest.approx(0, abs=1e-5)


def test_its_gradient_reaches_both_sides():
    a, b = rows().requires_grad_(), rows(seed=1).requires_grad_()
    Mutual().loss([a, b], 1000).backward()
    assert a.grad is not None and b.grad is not None and bool(a.grad.any()) and bool(b.grad.any())


def test_imbalance_by_hand():
    assert imbalance(torch.tensor([0.2, 0.0]), 0.1) == pytest.approx(1.0)
    assert imbalance(torch.tensor([0.4, 0.1]), 0.1) == pytest.approx(27 / 2)


def test_a_group_that_is_asked_to_agree_does():
    data = F.normalize(rows(16, 12), dim=1)
    active = torch.rand(1500, 16, generator=torch.Generator().manual_seed(2)) < 0.15
    x = (active * (1 + torch.rand(1500, 16, generator=torch.Generator().manual_seed(4)))) @ data
    common = {"d_sae": 16, "k": 3, "samples": 25_600, "batch": 128, "learning_rate": 5e-3, "group": 2}
    apart = match(*(module.W_dec for module in train_group(x, SaeRecipe("topk", **common)))).mean
    agreed = match(*(module.W_dec for module in train_group(x, SaeRecipe("topk", mutual=1.0, **common)))).mean
    assert agreed > apart
