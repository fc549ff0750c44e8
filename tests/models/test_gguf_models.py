"""Models from GGUF files of several families: the same logits as the checkpoint, the same tokens, clear refusals."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf_models import ARCHITECTURES, write_gguf
from transformers import AutoModelForCausalLM

from steering.checkpoints.folders import look
from steering.models.loading import load_model
from steering.models.model import Model

TEXT = "The cat sat on the mat."


@pytest.fixture(scope="module")
def file_of(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """file_of("llama") -> that tiny model as a GGUF file."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = write_gguf(family, checkpoint(family), tmp_path_factory.mktemp(family) / f"{family}.gguf")
        return made[family]

    return make


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_a_file_gives_the_logits_of_its_checkpoint(
    family: str, file_of: Callable[[str], Path], checkpoint: Callable[[str], Path], model: Callable[[str], Model]
) -> None:
    lm, own = load_model(file_of(family), device="cpu", threads=1), model(family)
    tokens = torch.tensor([own.encode(TEXT)])
    with torch.no_grad():
        if family in ("llama", "qwen2", "gpt2"):  # whose settings the format has
            assert torch.allclose(lm.forward(tokens), own.forward(tokens), atol=1e-4)
        else:  # a window, a scale are the family's defaults: the weights are compared in a model of these settings
            plain = AutoModelForCausalLM.from_config(lm.hf.config).eval()
            plain.load_state_dict(AutoModelForCausalLM.from_pretrained(checkpoint(family)).state_dict())
            assert torch.allclose(lm.forward(tokens), plain(tokens).logits, atol=1e-4)
    assert lm.encode(TEXT) == own.encode(TEXT)
    assert lm.text(lm.encode(TEXT)) == own.text(own.encode(TEXT))
    assert lm.has_chat_template and "Be kind." in lm.rendered([{"role": "user", "content": "hi"}])


def test_a_quantized_file_is_what_its_numbers_say(
    checkpoint: Callable[[str], Path], model: Callable[[str], Model], tmp_path: Path
) -> None:
    path = write_gguf("llama", checkpoint("llama"), tmp_path / "small.gguf", quantization="Q8_0")
    lm = load_model(path, device="cpu", threads=1)
    assert lm.file["quantization"] == "Q8_0" and lm.file["license"] == "apache-2.0" and len(lm.file["sha256"]) == 64
    mine, theirs = (dict(m.hf.named_parameters())["lm_head.weight"] for m in (lm, model("llama")))
    assert 0 < float((mine - theirs).abs().max()) < 0.02  # 8 bits of values of about 2
    assert lm.identity["file"]["sha256"] == lm.file["sha256"]


def test_an_opened_file_can_be_saved_as_a_checkpoint(file_of: Callable[[str], Path], tmp_path: Path) -> None:
    lm = load_model(file_of("llama"), device="cpu", threads=1)
    lm.hf.save_pretrained(tmp_path / "saved")
    lm.tokenizer.save_pretrained(tmp_path / "saved")
    again = load_model(tmp_path / "saved", device="cpu", threads=1)
    assert again.fingerprint == lm.fingerprint and again.encode(TEXT) == lm.encode(TEXT)


def test_a_folder_with_one_file_is_that_file(file_of: Callable[[str], Path]) -> None:
    path = file_of("llama")
    assert load_model(path.parent, device="cpu", threads=1).file["name"] == "Tiny llama"
    found = look(path.parent)
    assert found.kind == "model" and found.about["license"] == "apache-2.0" and found.shape is not None and found.chat
    assert "F32" in found.sentence and "Tiny llama" in found.sentence
    lm = load_model(path, device="cpu", threads=1)
    assert found.shape.parameters == lm.n_parameters and found.shape.n_layers == lm.n_layers


def refused(path: Path) -> str:
    """The one sentence or two by which a file is refused, by the page and by `load_model` alike."""
    with pytest.raises(ValueError) as refusal:
        load_model(path, device="cpu")
    found = look(path)
    assert found.kind == "nothing" and found.sentence == str(refusal.value) and "\n" not in found.sentence
    return found.sentence


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"general__type": "mmproj"}, "vision projector"),
        ({"general__architecture": "controlvector"}, "control vector"),
        ({"general__type": "adapter"}, "LoRA"),
        ({"split__count": 3}, "one of 3 parts"),
        ({"general__architecture": "rwkv6"}, "family 'rwkv6'"),
    ],
)
def test_what_is_no_whole_model_is_refused(
    fields: dict[str, object], said: str, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    path = write_gguf("llama", checkpoint("llama"), tmp_path / "x.gguf")
    _patch(path, fields)
    assert said in refused(path)


def _patch(path: Path, fields: dict[str, object]) -> None:
    """Rewrite a file with other metadata, since gguf's writer adds the family by itself."""
    import gguf

    old = gguf.GGUFReader(path)
    wanted = {key.replace("__", "."): value for key, value in fields.items()}
    family = wanted.pop("general.architecture", "llama")
    new = gguf.GGUFWriter(path.with_suffix(".new"), str(family))
    for key, value in wanted.items():
        new.add_uint32(key, value) if isinstance(value, int) else new.add_string(key, str(value))
    for tensor in old.tensors:
        new.add_tensor(tensor.name, tensor.data)
    new.add_tokenizer_model("gpt2")
    for write in (new.write_header_to_file, new.write_kv_data_to_file, new.write_tensors_to_file, new.close):
        write()
    path.with_suffix(".new").replace(path)


def test_a_file_that_is_cut_off_or_damaged_is_refused(file_of: Callable[[str], Path], tmp_path: Path) -> None:
    whole = file_of("llama").read_bytes()
    path = tmp_path / "x.gguf"
    path.write_bytes(whole[:-1000])
    assert "is cut off" in refused(path)
    for length in (4, 10, 200, 3000):
        path.write_bytes(whole[:length])
        assert "no readable GGUF" in refused(path)
    path.write_bytes(whole[:4] + struct.pack("<I", 9) + whole[8:])
    assert "version 9" in refused(path)
    path.write_bytes(whole[:8] + struct.pack("<QQ", 2**62, 2**62) + whole[24:])
    assert "damaged" in refused(path)
    path.write_bytes(b"not a model")
    assert "file of another kind" in refused(path)
    path.write_bytes(b"")
    assert "file of another kind" in refused(path)


def test_a_damaged_byte_never_ends_in_a_traceback(file_of: Callable[[str], Path], tmp_path: Path) -> None:
    """Each of some hundred bytes of the header overwritten: the file is read, or refused in a sentence."""
    whole = bytearray(file_of("llama").read_bytes())
    path, kinds = tmp_path / "x.gguf", set()
    for at in range(0, 1200, 11):
        path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        kinds.add(look(path).kind)
    assert kinds == {"model", "nothing"}


def test_a_file_without_a_tokenizer_is_refused(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    path = write_gguf("llama", checkpoint("llama"), tmp_path / "x.gguf", drop=("tokenizer",))
    assert "no tokenizer" in refused(path)


def test_what_transformers_stumbles_over_is_a_sentence(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    path = write_gguf("llama", checkpoint("llama"), tmp_path / "x.gguf", drop=("llama.attention.head_count",))
    with pytest.raises(ValueError, match=r"could not be (unpacked|loaded)|memory|weights"):
        load_model(path, device="cpu")


def test_a_file_is_opened_without_further_quantization(file_of: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="bitsandbytes|quantized already"):
        load_model(file_of("llama"), device="cpu", quantize=8)


def test_several_files_in_a_folder_are_listed(file_of: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf", "mmproj-x.gguf"):
        (tmp_path / name).write_bytes(file_of("llama").read_bytes())
    with pytest.raises(ValueError, match=r"holds 2 GGUF files: a.gguf, b.gguf"):
        load_model(tmp_path)
    found = look(tmp_path)
    assert found.kind == "several" and [file.name for file in found.inside] == ["a.gguf", "b.gguf"]
