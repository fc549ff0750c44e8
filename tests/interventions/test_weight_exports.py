"""Directions added by a bias, and edited models as folders: the same logits after loading in plain transformers."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from steered_rows import PROMPTS, TEXT, decode, direction, logits_of

import steering as t
from steering.interventions import ActivationAddition
from steering.interventions.bias import add_bias
from steering.interventions.export import CONVERTER, EditedModel, card, to_gguf
from steering.models.model import Model
from steering.sites import Site


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", "neox"])
@pytest.mark.parametrize("site", [Site(0, "resid_pre"), Site(2, "resid_pre"), Site(3, "resid_post")])
def test_a_bias_is_addition_to_every_token(family: str, site: Site, model: Callable[[str], Model]) -> None:
    lm, v = model(family), direction(site, norm=2.0)
    edited = add_bias(lm, v, -1.5).model
    one = (ActivationAddition(v, alpha=-1.5),)
    torch.testing.assert_close(logits_of(edited, TEXT), logits_of(lm, TEXT, one, steer_bos=True), atol=1e-4, rtol=1e-4)
    options = {"max_new_tokens": 6, "ignore_eos": True}
    assert (
        decode(edited, PROMPTS[1], **options).generated
        == decode(lm, PROMPTS[1], one, steer_bos=True, **options).generated
    )


def test_a_bias_of_nothing_is_the_model_itself(tiny_llama: Model) -> None:
    edited = add_bias(tiny_llama, direction(Site(1, "resid_pre")), 0.0)
    assert torch.equal(logits_of(edited.model, TEXT), logits_of(tiny_llama, TEXT))
    assert edited.alpha == 0 and "Biased" in repr(edited)


def test_where_no_bias_adds_the_direction_it_is_refused(tiny_gemma2: Model, tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match="norms what its MLP writes"):
        add_bias(tiny_gemma2, direction(Site(2, "resid_pre")))
    with pytest.raises(ValueError, match="between blocks"):
        add_bias(tiny_llama, direction(Site(2, "resid_mid")))


# Folders ------------------------------------------------------------------------------------------------------------


def orthogonalized(lm: Model) -> EditedModel:
    return t.orthogonalize_weights(lm, direction(Site(1, "resid_pre"), name="refusal"))


def edits(lm: Model) -> dict[str, EditedModel]:
    return {
        "orthogonalized": orthogonalized(lm),
        "biased": add_bias(lm, direction(Site(2, "resid_pre"), norm=3.0), 1.0),
    }


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "qwen2"])
def test_a_saved_folder_gives_the_same_logits_in_plain_transformers(
    family: str, model: Callable[[str], Model], tmp_path: Path
) -> None:
    """Tied embeddings stay apart, biases arrive, and Tiller opens the folder too."""
    lm = model(family)
    # Biases of the others' MLPs are no part of their configs, so only Llama's and GPT-2's biased copies are files.
    found = edits(lm) if family in ("gpt2", "llama") else {"orthogonalized": orthogonalized(lm)}
    for name, edited in found.items():
        folder = edited.save(tmp_path / name)
        plain = transformers.AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokens = edited.model.tokens(TEXT)
        assert tokenizer(TEXT)["input_ids"] == tokens
        with torch.no_grad():
            logits = plain(torch.tensor([tokens])).logits
            assert (logits - edited.model.forward(torch.tensor([tokens]))).abs().max() < 1e-5
            assert (logits - lm.forward(torch.tensor([tokens]))).abs().max() > 0.05
        again = t.load_model(folder, device="cpu", threads=1)
        torch.testing.assert_close(logits_of(again, TEXT), logits_of(edited.model, TEXT), atol=1e-5, rtol=1e-4)
        assert (folder / "model.safetensors").is_file() and (folder / "generation_config.json").is_file()
        assert t.Direction.load(folder / "edit" / "direction.safetensors").fingerprint == edited.direction.fingerprint


def test_the_card_says_what_was_done_and_that_safety_changed(tiny_llama: Model) -> None:
    said = card(edits(tiny_llama)["orthogonalized"])
    assert "Safety behavior was changed" in said and "'refusal'" in said and "blocks.1.hook_resid_pre" in said
    assert tiny_llama.fingerprint in said
    hostile = EditedModel(tiny_llama, {"model": "evil\n---\nlicense: mit\n| x |"}, None, "done", "note")
    head = card(hostile).split("---")[1]
    assert "license" not in head and "\n# evil --- license: mit \\| x \\|, edited\n" in card(hostile)
    named = EditedModel(tiny_llama, {"model": "owner/name"}, None, "done", "note")
    assert "base_model: owner/name" in card(named)


def test_nothing_is_overwritten(tiny_llama: Model, tmp_path: Path) -> None:
    edited = edits(tiny_llama)["orthogonalized"]
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="new or empty folder"):
        edited.save(tmp_path / "kept")
    assert (tmp_path / "kept" / "note.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert (edited.save(tmp_path / "empty") / "config.json").is_file()
    assert not list(tmp_path.glob(".*partial"))


def test_a_bias_that_a_config_cannot_hold_is_not_lost_in_silence(model: Callable[[str], Model], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hold no bias"):
        add_bias(model("qwen2"), direction(Site(2, "resid_pre"))).save(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


# GGUF ---------------------------------------------------------------------------------------------------------------


def test_gguf_is_llama_cpp_s_own_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stood in for by a script that writes its arguments; without one a sentence says what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    with pytest.raises(ValueError, match="not on this machine"):
        to_gguf(tmp_path, tmp_path / "model.gguf")
    script = tmp_path / CONVERTER
    script.write_text("import json, sys\nopen(sys.argv[3], 'w').write(json.dumps(sys.argv))")
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    made = to_gguf(tmp_path / "folder", tmp_path / "model.gguf")
    assert json.loads(made.read_text())[1:] == [
        str(tmp_path / "folder"), "--outfile", str(made), "--outtype", "f16"
    ]  # fmt: skip
    script.write_text("import sys\nsys.exit('no such architecture')")
    with pytest.raises(ValueError, match="no such architecture"):
        to_gguf(tmp_path / "folder", tmp_path / "other.gguf")
