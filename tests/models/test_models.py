"""A loaded model: sites hold the numbers they claim to, padding changes nothing, hooks never stay, errors are clear."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from transformers import AutoModelForCausalLM

from steering.models.lens import normalizer
from steering.models.loading import load_model
from steering.models.model import Model
from steering.sites import Site

TEXT = "The cat sat on the mat and looked at the moon."


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def any_lm(request: pytest.FixtureRequest, model: Callable[[str], Model]) -> Model:
    return model(request.param)


def all_sites(lm: Model) -> list[Site]:
    return [Site(layer, stream) for layer in range(lm.n_layers) for stream in lm.streams]


# Sites --------------------------------------------------------------------------------------------------------------


def test_shape_of_the_model(any_lm: Model) -> None:
    assert (any_lm.n_layers, any_lm.d_model, any_lm.n_ctx) == (tiny.N_LAYERS, tiny.D_MODEL, tiny.N_CTX)
    assert any_lm.d_vocab >= len(any_lm.tokenizer)
    assert ("resid_mid" in any_lm.streams) == (not any_lm.name.endswith("neox"))


@torch.no_grad()
def test_residual_sites_are_the_hidden_states_of_transformers(any_lm: Model) -> None:
    tokens = any_lm.tokens(TEXT)
    sites = [Site(layer, stream) for layer in range(any_lm.n_layers) for stream in ("resid_pre", "resid_post")]
    found, _ = any_lm.activations([tokens], sites)
    hidden = any_lm.hf(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    for site, h in found.items():
        index = site.layer if site.stream == "resid_pre" else site.layer + 1
        if index < any_lm.n_layers:  # the last hidden state of transformers is after the final norm
            assert torch.equal(h, hidden[index]), site


@torch.no_grad()
def test_the_last_block_is_read_before_the_final_norm(any_lm: Model) -> None:
    tokens = any_lm.tokens(TEXT)
    last = Site(any_lm.n_layers - 1, "resid_post")
    h = any_lm.activations([tokens], [last])[0][last]
    normed = any_lm.hf(torch.tensor([tokens]), output_hidden_states=True).hidden_states[-1]
    assert not torch.allclose(h, normed, atol=1e-2)
    final = any_lm.hf.get_submodule(any_lm.adapter.component_mapping["ln_final"].name)
    torch.testing.assert_close(final(h), normed)


@torch.no_grad()
def test_streams_add_up(any_lm: Model) -> None:
    found, _ = any_lm.activations([any_lm.tokens(TEXT)], all_sites(any_lm))
    for layer in range(any_lm.n_layers):
        part = {stream: found[Site(layer, stream)] for stream in any_lm.streams}
        if any_lm.parallel:
            torch.testing.assert_close(part["resid_pre"] + part["attn_out"] + part["mlp_out"], part["resid_post"])
        else:
            torch.testing.assert_close(part["resid_pre"] + part["attn_out"], part["resid_mid"])
            torch.testing.assert_close(part["resid_mid"] + part["mlp_out"], part["resid_post"])


@torch.no_grad()
def test_sites_are_those_of_the_bridge(any_lm: Model) -> None:
    tokens = any_lm.tokens(TEXT)
    found, _ = any_lm.activations([tokens], all_sites(any_lm))
    logits, cache = any_lm.bridge.run_with_cache(torch.tensor([tokens]))
    for site, h in found.items():
        torch.testing.assert_close(h, cache[str(site)], atol=2e-4, rtol=1e-4, msg=lambda m, s=site: f"{s}: {m}")
    torch.testing.assert_close(any_lm.forward(torch.tensor([tokens])), logits, atol=2e-4, rtol=1e-4)


@torch.no_grad()
def test_the_bridge_shares_the_weights_and_leaves_the_model_plain(any_lm: Model) -> None:
    ours = {p.data_ptr() for p in any_lm.hf.parameters()}
    theirs = {p.data_ptr() for p in any_lm.bridge.original_model.parameters()}
    assert ours <= theirs  # it may add a bias of zeros
    assert not any("Bridge" in type(module).__name__ for module in any_lm.hf.modules())


@torch.no_grad()
def test_an_edit_reaches_the_stream_and_not_only_the_next_norm(any_lm: Model) -> None:
    """resid_post must be (edited stream) + (what was written after it), on the same pass."""
    tokens = torch.tensor([any_lm.tokens(TEXT)])
    v = torch.randn(any_lm.d_model, generator=torch.Generator().manual_seed(1)) * 3
    for stream in ("resid_pre", "resid_mid", "resid_post"):
        if stream not in any_lm.streams:
            continue
        seen: dict[str, torch.Tensor] = {}
        site = Site(1, stream)

        def edit(h: torch.Tensor, seen=seen) -> torch.Tensor:
            seen["edited"] = (h + v).clone()
            return h + v

        def note(name: str, seen=seen) -> Callable[[torch.Tensor], None]:
            return lambda h: seen.__setitem__(name, h.clone())

        reads = {Site(1, part): note(part) for part in ("attn_out", "mlp_out", "resid_post") if part != stream}
        reads[Site(2, "resid_pre")] = note("next")
        any_lm.forward(tokens, hooks={site: edit, **reads})
        written = {
            "resid_pre": lambda s: s["attn_out"] + s["mlp_out"],
            "resid_mid": lambda s: s["mlp_out"],
            "resid_post": lambda s: 0,
        }[stream](seen)
        torch.testing.assert_close(seen["next"], seen["edited"] + written, msg=lambda m, s=stream: f"{s}: {m}")


@torch.no_grad()
def test_an_edit_of_what_a_part_writes(any_lm: Model) -> None:
    """Adding v to attn_out or mlp_out moves resid_post by v plus what the MLP then changes; on the last stream by v."""
    tokens = torch.tensor([any_lm.tokens(TEXT)])
    v = torch.randn(any_lm.d_model, generator=torch.Generator().manual_seed(1))
    seen: dict[str, torch.Tensor] = {}
    post = Site(1, "resid_post")
    any_lm.forward(tokens, hooks={post: lambda h: seen.__setitem__("plain", h.clone())})
    any_lm.forward(
        tokens, hooks={Site(1, "mlp_out"): lambda h: h + v, post: lambda h: seen.__setitem__("edited", h.clone())}
    )
    torch.testing.assert_close(seen["edited"] - seen["plain"], v.expand_as(seen["plain"]), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_places_inside_attention_and_mlp_are_what_their_modules_get(any_lm: Model) -> None:
    """z times the mixing matrix is what attention writes; the norm's output is what the MLP gets and computes with."""
    tokens, layer = any_lm.tokens(TEXT), 1
    sites = {stream: Site(layer, stream) for stream in ("attn_z", "mlp_in", "resid_pre", *any_lm.streams)}
    found = {stream: any_lm.activations([tokens], [site])[0][site] for stream, site in sites.items()}
    parts = any_lm.adapter.component_mapping["blocks"].submodules
    block = any_lm.blocks[layer]
    mixed = block.get_submodule(f"{parts['attn'].name}.{parts['attn'].submodules['o'].name}")(found["attn_z"])
    written = block.get_submodule(parts["mlp"].name)(found["mlp_in"])
    for name, out, post in (("attn_out", mixed, "ln1_post"), ("mlp_out", written, "ln2_post")):
        out = block.get_submodule(parts[post].name)(out) if post in parts else out
        torch.testing.assert_close(out, found[name], msg=lambda m, n=name: f"{n}: {m}")
    assert found["attn_z"].shape[-1] == any_lm.width(sites["attn_z"])
    _, cache = any_lm.bridge.run_with_cache(torch.tensor([tokens]))
    for stream in ("attn_z", "mlp_in"):
        theirs = cache[str(sites[stream])]
        torch.testing.assert_close(theirs.reshape(found[stream].shape), found[stream], atol=2e-4, rtol=1e-4)


@torch.no_grad()
def test_normalized_is_the_norm_without_gain_and_bias(any_lm: Model) -> None:
    """norm(h) = normalized(h) * gain + bias: checked by a least-squares line through each channel."""
    h = torch.randn(40, any_lm.d_model, generator=torch.Generator().manual_seed(0)) * 3
    parts = any_lm.adapter.component_mapping["blocks"].submodules
    norm = any_lm.blocks[1].get_submodule(parts["ln2" if "ln2" in parts else "ln1"].name)
    x, y = normalizer(any_lm, 1)(h), norm(h)
    slope = ((x - x.mean(0)) * (y - y.mean(0))).sum(0) / (x - x.mean(0)).square().sum(0)
    torch.testing.assert_close(x * slope + (y.mean(0) - slope * x.mean(0)), y, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x.square().mean(-1), torch.ones(40), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_mixing_gives_what_attention_writes(any_lm: Model) -> None:
    tokens, z, out = any_lm.tokens(TEXT), Site(1, "attn_z"), Site(1, "attn_out")
    if any_lm.post_norms:
        return
    found, _ = any_lm.activations([tokens], [z, out])
    mixed = found[z] @ any_lm.mixing(1)
    rest = (found[out] - mixed)[0]  # the bias, the same at every token
    torch.testing.assert_close(rest, rest[:1].expand_as(rest), atol=1e-4, rtol=1e-4)


# Padding, hooks -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_left_padded_row_is_the_row_alone(any_lm: Model) -> None:
    prompts = [any_lm.tokens(text) for text in ("I", TEXT, "Is 7 plus 5 equal to 13?", TEXT + TEXT)]
    site = Site(2, "resid_post")
    found, mask = any_lm.activations(prompts, [site])
    assert mask.sum(1).tolist() == [len(prompt) for prompt in prompts]
    for row, prompt in enumerate(prompts):
        alone = any_lm.activations([prompt], [site])[0][site][0]
        torch.testing.assert_close(found[site][row][mask[row]], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_hooks_are_gone_after_an_exception(any_lm: Model) -> None:
    tokens = torch.tensor([any_lm.tokens(TEXT)])
    before = any_lm.forward(tokens)

    def fail(h: torch.Tensor) -> None:
        raise RuntimeError("on purpose")

    def count_hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in any_lm.hf.modules())

    hooks_before = count_hooks()
    with pytest.raises(RuntimeError, match="on purpose"):
        any_lm.forward(tokens, hooks={Site(0): lambda h: h + 1, Site(2): fail})
    # A site that does not exist, after one that does: the first must not stay either.
    with pytest.raises(ValueError, match="layers 0 to 3"):
        any_lm.forward(tokens, hooks={Site(0): lambda h: h + 1, Site(99): fail})
    any_lm.activations([[1, 2, 3]], [Site(0)])
    assert count_hooks() == hooks_before
    assert torch.equal(any_lm.forward(tokens), before)


@torch.no_grad()
def test_a_hook_that_changes_nothing_changes_no_bit(any_lm: Model) -> None:
    tokens = torch.tensor([any_lm.tokens(TEXT)])
    before = any_lm.forward(tokens)
    assert torch.equal(any_lm.forward(tokens, hooks=dict.fromkeys(all_sites(any_lm), lambda h: None)), before)
    assert torch.equal(any_lm.forward(tokens, hooks=dict.fromkeys(all_sites(any_lm), lambda h: h.clone())), before)
    # (Not the same number on every channel: a LayerNorm does not see that.)
    v = torch.randn(any_lm.d_model, generator=torch.Generator().manual_seed(1))
    moved = any_lm.forward(tokens, hooks={Site(0): lambda h: h + v})
    assert not torch.allclose(moved, before, atol=1e-2)


def test_a_model_without_such_a_site_says_so(model: Callable[[str], Model]) -> None:
    with pytest.raises(ValueError, match="layers 0 to 3; got layer 4"):
        model("llama").check_site(Site(4))
    with pytest.raises(ValueError, match="parallel and has no resid_mid"):
        model("neox").check_site(Site(0, "resid_mid"))
    assert model("neox_sequential").check_site(Site(0, "resid_mid"))


# Text ---------------------------------------------------------------------------------------------------------------


def test_bos_is_put_where_the_tokenizer_puts_it(any_lm: Model) -> None:
    tokens = any_lm.tokens("The cat")
    family = any_lm.name.rsplit("tiny-", 1)[1]
    assert (tokens[0] == any_lm.tokenizer.bos_token_id) == (family in tiny.WITH_BOS)
    assert any_lm.text(tokens) == "The cat"
    assert any_lm.tokens(tokens) == tokens
    assert "".join(any_lm.token_texts(tokens)).endswith("The cat")


@pytest.mark.parametrize("family", tiny.WITH_CHAT)
def test_chat_goes_through_the_template(family: str, model: Callable[[str], Model]) -> None:
    lm = model(family)
    chat = [{"role": "user", "content": "Is it so?"}]
    tokens = lm.tokens(chat)
    assert tokens.count(lm.tokenizer.bos_token_id) == (family in tiny.WITH_BOS)  # the template's own, not a second one
    assert lm.text(tokens, special=True).endswith(("<start>model\n", "<start>assistant\n"))
    begun = lm.tokens([*chat, {"role": "assistant", "content": "Yes, it"}], continue_final=True)
    assert lm.text(begun, special=True).endswith("Yes, it")


def test_chat_without_a_template_is_refused(tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match="has none. Give the prompt as plain text"):
        tiny_llama.tokens([{"role": "user", "content": "Hello"}])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "at least one character"),
        ([], "at least one token"),
        ([3, 304], "Token ids .* run from 0 to 303; got 304"),
        ([3, -1], "got -1"),
        ("cat " * 200, "reads at most 128 tokens"),
        (list(range(128)), "the prompt has 128"),
    ],
)
def test_a_prompt_that_cannot_be_run(prompt: object, message: str, tiny_llama: Model) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_llama.tokens(prompt)  # type: ignore[arg-type]


def test_an_empty_chat_is_refused(tiny_gemma2: Model) -> None:
    with pytest.raises(ValueError, match="at least one message with text"):
        tiny_gemma2.tokens([{"role": "user", "content": ""}])


def test_the_longest_prompt_that_leaves_room_for_one_token(tiny_llama: Model) -> None:
    assert len(tiny_llama.tokens([5] * 127)) == 127


# Loading ------------------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_the_weights(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    first, again = load_model(checkpoint("llama")), load_model(checkpoint("llama"))
    other = load_model(tiny.write_checkpoint("llama", tmp_path / "other", seed=1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.identity["loading"] == "raw"


def test_weights_are_those_of_transformers(any_lm: Model) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(any_lm.name).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in any_lm.hf.state_dict().items())
    assert not any(p.requires_grad for p in any_lm.hf.parameters()) and not any_lm.hf.training


def test_dtype_is_what_was_asked_for(checkpoint: Callable[[str], Path]) -> None:
    lm = load_model(checkpoint("llama"), dtype=torch.bfloat16)
    assert lm.dtype == torch.bfloat16
    site = Site(1)
    assert lm.activations([[1, 2, 3]], [site])[0][site].dtype == torch.bfloat16


def test_placements_that_cannot_be(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="A dtype is one of float32, bfloat16, float16; got 'int8'"):
        load_model(checkpoint("llama"), dtype="int8")
    with pytest.raises(ValueError, match="quantize is 8 or 4"):
        load_model(checkpoint("llama"), quantize=3)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="8-bit weights need the package bitsandbytes"):
        load_model(checkpoint("llama"), quantize=8)


def test_a_device_map_is_the_same_model(checkpoint: Callable[[str], Path], tiny_llama: Model, tmp_path: Path) -> None:
    """On one device it must change nothing; parts that would wait elsewhere are refused."""
    mapped = load_model(checkpoint("llama"), device="cpu", device_map="auto")
    tokens = torch.tensor([tiny_llama.tokens(TEXT)])
    v = torch.randn(tiny_llama.d_model, generator=torch.Generator().manual_seed(1))
    for hooks in ({}, {Site(1): lambda h: h + v}, {Site(2, "resid_mid"): lambda h: h + v}):
        assert torch.equal(mapped.forward(tokens, hooks=hooks), tiny_llama.forward(tokens, hooks=hooks))
    layers = {f"model.layers.{n}": "disk" if n == 3 else "cpu" for n in range(tiny_llama.n_layers)}
    split = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu", **layers}
    with pytest.raises(ValueError, match="(does not fit on the devices|could not be loaded)"):
        load_model(checkpoint("llama"), device="cpu", device_map=split)


def broken(tmp_path: Path, checkpoint: Callable[[str], Path], how: str) -> Path:
    folder = tmp_path / how
    if how == "missing":
        return folder
    if how == "file":
        folder.write_text("{}")
        return folder
    shutil.copytree(checkpoint("llama"), folder)
    weights = folder / "model.safetensors"
    if how == "no config":
        (folder / "config.json").unlink()
    elif how == "no weights":
        weights.unlink()
    elif how == "pickle":
        weights.unlink()
        torch.save({}, folder / "pytorch_model.bin")
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "unknown":
        (folder / "config.json").write_text(json.dumps({"model_type": "nonsense", "architectures": ["Nonsense"]}))
    elif how == "broken config":
        (folder / "config.json").write_text("{")
    elif how == "no tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
    elif how == "encoder":
        (folder / "config.json").write_text(json.dumps({"model_type": "t5", "architectures": ["T5Model"]}))
    return folder


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "A local model is a folder or a .gguf file; there is none"),
        ("file", "is a file of another kind"),
        ("no config", "has none. Give a Hugging Face checkpoint"),
        ("no weights", "has no weights"),
        ("pickle", "only pickled weights .pytorch_model.bin., which can run code"),
        ("truncated", "could not be loaded"),
        ("unknown", "could not be loaded: .*nonsense"),
        ("broken config", "could not be loaded"),
        ("no tokenizer", "could not be loaded"),
        ("encoder", "could not be loaded"),
    ],
)
def test_what_is_no_model_is_told_in_one_line(
    how: str, message: str, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_model(broken(tmp_path, checkpoint, how))
    assert len(str(caught.value)) < 700


def test_a_name_that_is_nothing_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match="could not be loaded.*Bundled models"):
        load_model("no-such/model")
