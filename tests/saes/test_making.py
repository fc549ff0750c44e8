"""From text to saved dictionaries: what is left out, what a kill leaves, and that SAELens reads the result."""

import json

import pytest
import torch
from sae_lens import SAE

from steering.jobs.checkpoint import Checkpoint
from steering.saes.__main__ import main
from steering.saes.loading import load_sae
from steering.saes.making.harvest import Buffer, gap, special_tokens
from steering.saes.making.plan import TrainingPlan, make
from steering.saes.making.recipe import SaeRecipe
from steering.saes.making.tokens import Windows, answers, chat_windows, text_windows, write_windows
from steering.saes.making.training import finished, train_sites
from steering.sites import Site

SITES = (Site(1, "resid_post"), Site(2, "resid_post"))
TEXTS = [
    f"The cat sat on the mat and looked at the moon, {n} times; the dog was not happy with that." for n in range(40)
]
RECIPE = SaeRecipe("batchtopk", d_sae=48, k=4, samples=6_400, batch=64, learning_rate=3e-3)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def lm(model):
    return model("qwen2")


@pytest.fixture
def windows(lm, tmp_path):
    return write_windows(tmp_path / "windows", text_windows(lm, TEXTS, 32), {}, lambda done: None)


def buffer(lm, windows: Windows, folder, most_bytes: int = 10**8) -> Buffer:
    return Buffer(lm, windows, SITES, folder, most_bytes=most_bytes, batch_tokens=256)


def test_the_gap_parts_massive_norms_from_the_others():
    usual = 160 + 20 * torch.rand(1000)
    assert gap(usual) == float("inf")
    threshold = gap(torch.cat([usual, torch.tensor([20_000.0, 21_000.0])]))
    assert 180 < threshold < 20_000
    assert gap(torch.tensor([5.0])) == float("inf")


def test_massive_special_and_skipped_tokens_are_left_out(lm, tmp_path, monkeypatch):
    plain = lm.tokenizer.encode(TEXTS[0], add_special_tokens=False)[:20]
    start = lm.tokenizer.convert_tokens_to_ids("<start>")
    assert start in special_tokens(lm)
    sequences = [([start, *plain[:n], start, *plain[n:]], 3) for n in range(3, 19)]
    windows = write_windows(tmp_path / "windows", sequences, {}, lambda done: None)
    original = type(lm).activations

    def with_massive(self, prompts, sites):
        found, mask = original(self, prompts, sites)
        found[SITES[1]][:, -1] *= 1e4  # the last token of every window, at one of the sites only
        return found, mask

    monkeypatch.setattr(type(lm), "activations", with_massive)
    made = buffer(lm, windows, tmp_path / "buffer")
    assert made.norms[SITES[0]].threshold == float("inf") and made.norms[SITES[1]].threshold < float("inf")
    assert made.norms[SITES[1]].massive == pytest.approx(1 / 18, abs=0.01)
    # Of 22 tokens: two special ones, of which the first is skipped too, two more skipped, and the massive last one.
    assert made.load(0) == 16 * 17 and made.massive == pytest.approx(1 / 18)
    rows = torch.cat(list(made.batches(SITES[1], 16 * 17, 16, 1, 0)))
    assert float(rows.float().norm(dim=-1).mean()) == pytest.approx(lm.d_model**0.5, rel=1e-2)


def test_the_buffer_holds_what_the_model_gives_each_token_once_a_pass(lm, windows, tmp_path):
    made = buffer(lm, windows, tmp_path / "buffer")
    rows = made.load(0)
    assert rows == windows.tokens and len(made.pieces) == 1
    scale = made.norms[SITES[0]].scale
    expected = torch.cat([lm.activations([windows[n]], SITES)[0][SITES[0]][0] for n in range(len(windows))]) * scale
    first, second = (torch.cat(list(made.batches(SITES[0], rows, 1, 1, seed))).float() for seed in (0, 1))
    assert not torch.equal(first, second)
    for order in (first, second):
        near = torch.cdist(order, expected)
        assert float(near.min(0).values.max()) < 0.02 and float(near.min(1).values.max()) < 0.02
        torch.testing.assert_close(order.sum(0), expected.sum(0), rtol=1e-3, atol=0.1)


def test_a_bound_cuts_the_text_into_pieces_that_cover_it(lm, windows, tmp_path):
    bound = 2 * 2 * lm.d_model * 200
    made = buffer(lm, windows, tmp_path / "buffer", bound)
    assert len(made.pieces) > 2 and sorted(n for piece in made.pieces for n in piece) == list(range(len(windows)))
    assert sum(made.load(piece) for piece in range(len(made.pieces))) == windows.tokens
    assert all(int(windows.counted[piece].sum()) <= made.most_rows + 32 for piece in made.pieces)


@pytest.mark.parametrize("most_bytes", [10**8, 2 * 2 * 32 * 400])
@pytest.mark.parametrize("architecture", ["batchtopk", "gated"])
def test_killed_and_resumed_gives_the_same_dictionaries(lm, windows, tmp_path, architecture, most_bytes):
    recipe = SaeRecipe(architecture, d_sae=48, k=4, samples=6_400, batch=64, group=2, mutual=0.1, sparsity=0.1)
    whole = train_sites(buffer(lm, windows, tmp_path / "a", most_bytes), recipe, tmp_path / "ta")
    for limit in (60, 170, None):
        calls = 0

        def tick(site, done, total, shown, limit=limit):
            nonlocal calls
            calls += 1
            if calls == limit:
                raise Killed

        try:
            parts = train_sites(
                buffer(lm, windows, tmp_path / "b", most_bytes), recipe, tmp_path / "tb", tick, save_every=0.0
            )
        except Killed:
            assert limit is not None
    for site in SITES:
        for one, other in zip(whole[site].group, parts[site].group, strict=True):
            for name, tensor in one.state_dict().items():
                assert torch.equal(tensor, other.state_dict()[name]), (site, name)


def test_a_checkpoint_of_another_recipe_is_refused(lm, windows, tmp_path):
    train_sites(buffer(lm, windows, tmp_path / "a"), RECIPE, tmp_path / "t")
    other = SaeRecipe("batchtopk", d_sae=48, k=5, samples=6_400, batch=64)
    with pytest.raises(ValueError, match="begun with"):
        train_sites(buffer(lm, windows, tmp_path / "a"), other, tmp_path / "t")


def test_chats_count_the_templates_beginning_once(lm):
    chats = [[{"role": "user", "content": f"Is it {n}?"}, {"role": "assistant", "content": "Yes."}] for n in range(3)]
    made = list(chat_windows(lm, chats, 64))
    skips = [skip for _, skip in made]
    assert skips[0] == 0 and skips[1] == skips[2] > 0
    assert made[1][0][: skips[1]] == made[2][0][: skips[2]] == made[0][0][: skips[1]]
    assert lm.text(made[1][0], special=True).endswith("Yes.")


def test_answers_are_sampled_once(lm, tmp_path):
    prompts = [f"Is 7 plus {n} equal to 13?" for n in range(5)]
    first = answers(lm, prompts, Checkpoint(tmp_path / "a"), lambda d, t: None, tokens=8, rows=2)
    again = answers(lm, prompts, Checkpoint(tmp_path / "b"), lambda d, t: None, tokens=8, rows=2)
    assert first == again and {chat[0]["content"] for chat in first} <= set(prompts)
    lines = (tmp_path / "a").read_text().splitlines()
    (tmp_path / "a").write_text("\n".join(lines[:1]) + "\n")  # killed after the first batch
    assert answers(lm, prompts, Checkpoint(tmp_path / "a"), lambda d, t: None, tokens=8, rows=2) == first


def test_a_plan_becomes_folders_that_sae_lens_loads(lm, tmp_path):
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    plan = TrainingPlan.parse(
        f'model = "tiny"\nsites = ["{SITES[0]}"]\ntexts = ["{tmp_path / "text.jsonl"}"]\nheld_out = ["{tmp_path}"]\n'
        'context = 32\nmeasure_tokens = 5000\nsources = "ours"\n'
        '[recipe]\narchitecture = "batchtopk"\nd_sae = 48\nk = 4\nsamples = 6400\nbatch = 64\nlearning_rate = 3e-3\n'
    )
    measured = make(plan, lm, tmp_path / "out", lambda *_: None)[str(SITES[0])]
    assert not (tmp_path / "out" / "work").exists()
    loaded = SAE.load_from_disk(tmp_path / "out" / str(SITES[0]))
    assert loaded.W_dec.dtype == torch.float32 and loaded.cfg.metadata.sources == "ours"
    sae = load_sae(lm, tmp_path / "out" / str(SITES[0]))
    windows = [ids for ids, _ in text_windows(lm, TEXTS, 32)]
    h = torch.cat([lm.activations([ids], [SITES[0]])[0][SITES[0]][0] for ids in windows])
    left = (h - sae.reconstruct(h)).square().sum() / (h - h.mean(0)).square().sum()
    # The saved file, through SAELens, is as good as what was measured of the module.
    assert 1 - float(left) == pytest.approx(measured["explained_variance"], abs=1e-3)
    assert measured["explained_variance"] > 0.3 and 0 < measured["l0"] < 12
    assert measured["ce_clean"] <= measured["ce_sae"] and measured["kl"] > 0
    assert set(measured) <= set(json.loads((tmp_path / "out" / str(SITES[0]) / "cfg.json").read_text())["metadata"])


def test_no_features_where_the_training_left_tokens_out(lm, tmp_path):
    plan = TrainingPlan("tiny", (str(SITES[0]),), RECIPE, texts=("unused",))
    windows = write_windows(tmp_path / "windows", text_windows(lm, TEXTS, 32), {}, lambda done: None)
    made = buffer(lm, windows, tmp_path / "buffer")
    module = finished(train_sites(made, RECIPE, tmp_path / "t")[SITES[0]], made.norms[SITES[0]].scale)[0]
    from steering.saes.making.folder import save_dictionary

    save_dictionary(module, tmp_path / "sae", SITES[0], plan.model, {"massive_threshold": 1e4})
    sae = load_sae(lm, tmp_path / "sae")
    h = lm.activations([windows[0]], [SITES[0]])[0][SITES[0]][0]
    massive = h.clone()
    massive[0] *= 1e6
    assert bool(sae.encode(h)[0].any()) and not bool(sae.encode(massive)[0].any())
    assert torch.equal(sae.encode(massive)[1:], sae.encode(h)[1:])
    assert torch.equal(sae.reconstruct(massive)[0], massive[0])
    assert not bool(sae.features([0, 1]).encode(massive)[0].any())


def test_mistakes_in_a_plan_are_sentences(tmp_path, capsys):
    for text, said in (
        ("model = ", "TOML"),
        ('model = "organism"\nsites = []\ntexts = ["a"]', "names the sites"),
        ('model = "organism"\nsites = ["blocks.1.hook_resid_post"]', "names texts or prompts"),
        ('model = "organism"\nlayers = [1]', "does not know 'layers'"),
        ('model = "organism"\nsites = ["x"]\ntexts = ["a"]\n[recipe]\nk = 0', "k counts features"),
    ):
        (tmp_path / "plan.toml").write_text(text)
        assert main(["train", str(tmp_path / "plan.toml")]) == 2
        assert said in capsys.readouterr().err
