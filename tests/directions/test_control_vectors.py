"""GGUF control vectors: both ways of counting layers, there and back, and files that are none."""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import tiny_models as tiny
import torch

from steering.directions import control_vectors
from steering.directions.control_vectors import load_gguf, save_gguf
from steering.directions.direction import Direction
from steering.saes.sae import Sae
from steering.sites import Site


def direction(layer: int, stream: str = "resid_post") -> Direction:
    v = torch.randn(tiny.D_MODEL, generator=torch.Generator().manual_seed(layer))
    return Direction(v, Site(layer, stream), name=f"layer {layer}")


def names(path: Path) -> list[str]:
    return [tensor.name for tensor in gguf.GGUFReader(path).tensors]


def written(path: Path, tensors: dict[str, np.ndarray], architecture: str = "controlvector") -> Path:
    """A file as repeng writes it."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(tensors))
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("numbering", ["block", "output"])
def test_round_trip(numbering: str, tmp_path: Path) -> None:
    given = [direction(3), direction(1)]
    path = save_gguf(tmp_path / "v.gguf", given, numbering=numbering, model_hint="llama")  # type: ignore[arg-type]
    read = load_gguf(path, numbering=numbering)  # type: ignore[arg-type]
    assert [v.site for v in read] == [Site(1), Site(3)]
    assert torch.equal(read[0].vector, given[1].vector) and torch.equal(read[1].vector, given[0].vector)
    assert (read[0].provenance["model_hint"], read[0].provenance["numbering"]) == ("llama", numbering)
    field = gguf.GGUFReader(path).get_field("controlvector.layer_count")
    assert field is not None and int(field.parts[field.data[0]][0]) == 2
    assert names(path) == sorted(names(path))
    assert [file.name for file in tmp_path.iterdir()] == ["v.gguf"]


def test_the_two_ways_of_counting(tmp_path: Path) -> None:
    """Block 2's output is direction.2 to repeng and direction.3 to llama-cvector-generator."""
    assert names(save_gguf(tmp_path / "a", [direction(2)], numbering="block")) == ["direction.2"]
    assert names(save_gguf(tmp_path / "b", [direction(2)], numbering="output")) == ["direction.3"]
    assert load_gguf(tmp_path / "b", numbering="block")[0].site == Site(3)
    assert names(save_gguf(tmp_path / "c", [direction(0)], numbering="output")) == ["direction.1"]


def test_a_file_by_another_hand(tmp_path: Path) -> None:
    """As repeng writes them: layers 1 and up, float32; zeros for a layer left out; other tensors are not ours."""
    data = np.arange(1, 5, dtype=np.float32)
    path = written(
        tmp_path / "v.gguf",
        {"direction.7": data.astype(np.float16), "direction.2": 0 * data, "direction.1": data, "other": data},
    )
    read = load_gguf(path, numbering="block")
    assert [v.site.layer for v in read] == [1, 7]
    assert torch.equal(read[1].vector, torch.arange(1.0, 5.0))


def test_features_are_decoded_on_the_way_out(sae_of: Callable[..., Sae], tmp_path: Path) -> None:
    sae = sae_of("standard")
    v = Direction(torch.randn(tiny.D_SAE, generator=torch.Generator().manual_seed(0)), sae.site, sae)
    read = load_gguf(save_gguf(tmp_path / "v", [v], numbering="block"), numbering="block")[0]
    torch.testing.assert_close(read.vector, v.decoded())


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    for given, message in (
        ([], "at least one direction"),
        ([direction(2), direction(2)], "one direction a layer"),
        ([direction(2, "resid_mid")], "added to resid_post"),
        ([direction(0)], "no direction for block 0"),
    ):
        with pytest.raises(ValueError, match=message):
            save_gguf(tmp_path / "v", given, numbering="block")
    with pytest.raises(ValueError, match="numbering is"):
        save_gguf(tmp_path / "v", [direction(1)], numbering="zero")  # type: ignore[arg-type]
    assert not (tmp_path / "v").exists()


def test_what_is_no_control_vector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.ones(4, np.float32)
    (tmp_path / "text").write_text("no gguf")
    (tmp_path / "empty").write_bytes(b"")
    whole = written(tmp_path / "whole", {"direction.1": data}).read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    for name, message in (
        ("nothing", "there is none at"),
        ("text", "could not be read as GGUF"),
        ("empty", "could not be read as GGUF"),
        ("half", "could not be read as GGUF"),
        (written(tmp_path / "model", {"direction.1": data}, "llama"), "says 'llama'"),
        (written(tmp_path / "named", {"direction.x": data}), r"direction\.<number>; got 'direction\.x'"),
        (written(tmp_path / "raised", {"direction.²": data}), r"direction\.<number>; got 'direction\.²'"),
        (written(tmp_path / "matrix", {"direction.1": np.ones((2, 2), np.float32)}), r"shape \(2, 2\)"),
        (written(tmp_path / "integers", {"direction.1": np.ones(4, np.int32)}), "int32"),
        (written(tmp_path / "zeros", {"direction.1": 0 * data}), "not zero"),
        (written(tmp_path / "nan", {"direction.1": np.nan * data}), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            load_gguf(tmp_path / name, numbering="block")
    with pytest.raises(ValueError, match=r"first layer is direction\.1"):
        load_gguf(written(tmp_path / "zero", {"direction.0": data}), numbering="output")
    monkeypatch.setattr(control_vectors, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="at most 0 MB"):
        load_gguf(tmp_path / "whole", numbering="block")


@pytest.mark.parametrize("kind", ["BF16", "Q8_0", "Q4_0", "Q6_K"])
def test_tensors_that_are_stored_in_fewer_bits_are_decoded(tmp_path: Path, kind: str) -> None:
    row = np.random.default_rng(0).standard_normal(256).astype(np.float32)
    stored = gguf.GGMLQuantizationType[kind]
    try:
        packed = gguf.quants.quantize(row, stored)
    except NotImplementedError:  # gguf reads more kinds than it writes
        packed = np.zeros(gguf.GGML_QUANT_SIZES[stored][1], np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "controlvector")
    writer.add_tensor("direction.1", packed, raw_dtype=stored)
    writer.add_tensor("direction.2", row)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = {one.site.layer: one.vector.numpy() for one in load_gguf(tmp_path / "v.gguf", numbering="block")}
    assert np.array_equal(found[2], row)
    expected = gguf.quants.dequantize(packed, stored)
    assert np.array_equal(found.get(1, np.zeros(256)), expected.reshape(-1))


def test_directions_of_one_file_have_one_width_and_one_layer_each(tmp_path: Path) -> None:
    row = np.ones(4, np.float32)
    for name, tensors, said in (
        ("widths", {"direction.1": row, "direction.2": np.ones(6, np.float32)}, "one width"),
        ("twice", {"direction.1": row, "direction.01": 2 * row}, "two directions of one layer"),
        ("infinite", {"direction.1": row * np.inf}, r"NaN or infinity \(4 of 4"),
    ):
        with pytest.raises(ValueError, match=said):
            load_gguf(written(tmp_path / name, tensors), numbering="block")
