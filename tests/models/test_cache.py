"""The cache with spare room: rows are taken, repeated, joined and padded as a naive concatenation would have it."""

from __future__ import annotations

import torch
from reference.batching import padded
from torch import Tensor

from steering.models.caching.cache import _ROOM, RowCache

HEADS, WIDTH = 2, 3


def columns(rows: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, HEADS, n, WIDTH, generator=g), torch.randn(rows, HEADS, n, WIDTH, generator=g)


def filled(rows: int, n: int, layers: int = 2, seed: int = 0) -> tuple[RowCache, list[tuple[Tensor, Tensor]]]:
    """A cache and what is in it, layer by layer."""
    cache, content = RowCache(), []
    for layer in range(layers):
        keys, values = columns(rows, n, seed + layer)
        cache.update(keys, values, layer)
        content.append((keys, values))
    return cache, content


def holds(cache: RowCache, content: list[tuple[Tensor, Tensor]]) -> bool:
    return all(
        torch.equal(layer.keys, keys) and torch.equal(layer.values, values)
        for layer, (keys, values) in zip(cache.layers, content, strict=True)
    )


def test_columns_are_appended(monkeypatch) -> None:
    """Across the end of the spare room, as a plain concatenation."""
    cache, content = filled(3, 5)
    for step in range(_ROOM + 10):
        for layer in range(2):
            keys, values = columns(3, 1, seed=100 + 2 * step + layer)
            whole = cache.update(keys, values, layer)
            content[layer] = (torch.cat([content[layer][0], keys], 2), torch.cat([content[layer][1], values], 2))
            assert torch.equal(whole[0], content[layer][0]) and torch.equal(whole[1], content[layer][1])
    assert cache.length == 5 + _ROOM + 10 and holds(cache, content)


def test_one_column_copies_nothing_while_there_is_room() -> None:
    cache, _ = filled(3, 5)
    before = cache.layers[0].keys.data_ptr()
    cache.update(*columns(3, 1), 0)
    assert cache.layers[0].keys.data_ptr() == before


def test_what_is_appended_is_a_copy() -> None:
    cache, content = filled(2, 4)
    keys, values = columns(2, 1)
    cache.update(keys, values, 0)
    kept = cache.layers[0].keys.clone()
    keys.zero_()
    content[0][0].zero_()
    assert torch.equal(cache.layers[0].keys, kept)


def test_rows_are_taken_repeated_and_reordered() -> None:
    cache, content = filled(4, 6)
    index = torch.tensor([2, 0, 2])
    cache.take(index)
    assert holds(cache, [(keys[index], values[index]) for keys, values in content])
    more = columns(3, 1)
    cache.update(*more, 0)
    assert torch.equal(cache.layers[0].keys, torch.cat([content[0][0][index], more[0]], 2))


def test_columns_on_the_left_are_dropped() -> None:
    cache, content = filled(3, 6)
    cache.take(torch.tensor([1, 2]), drop_left=4)
    assert cache.length == 2 and holds(cache, [(k[1:, :, 4:], v[1:, :, 4:]) for k, v in content])


def test_only_the_first_layers_are_parted() -> None:
    cache, content = filled(2, 3, layers=3)
    cache.take(torch.tensor([0, 0, 1]), layers=2)
    assert [layer.keys.shape[0] for layer in cache.layers] == [3, 3, 2]
    assert torch.equal(cache.layers[2].keys, content[2][0])


def test_joined_rows_are_padded_on_the_left() -> None:
    """Whichever of the two is shorter, and when they are equal."""
    for mine, theirs in ((7, 4), (4, 7), (5, 5)):
        one, first = filled(2, mine, seed=1)
        other, second = filled(3, theirs, seed=9)
        one.join(other)
        for layer in range(2):
            for side in range(2):
                rows = [*first[layer][side], *second[layer][side]]
                found = one.layers[layer].keys if side == 0 else one.layers[layer].values
                assert torch.equal(found, padded(rows))
        assert one.length == max(mine, theirs)


def test_appending_goes_on_after_joining_and_taking() -> None:
    one, first = filled(2, 3, seed=1)
    other, second = filled(1, 5, seed=9)
    one.join(other)
    one.take(torch.tensor([0, 2]))
    new = columns(2, 1, seed=50)
    keys, _ = one.update(*new, 0)
    expected = padded([first[0][0][0], second[0][0][0]])
    assert torch.equal(keys, torch.cat([expected, new[0]], 2))


def test_an_empty_cache_has_no_columns() -> None:
    assert RowCache().length == 0
