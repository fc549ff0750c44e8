"""load_model and load_sae against a hub on loopback, in a process of their own that only knows that hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fake_hub import Hub

ROOT = Path(__file__).parents[2]

# As a person would: the environment names the hub, a gated model needs its token, the second time there is no network.
SCRIPT = """
import json, sys
from steering.models import load_model
from steering.saes import load_sae

ticks = []
lm = load_model("someone/tiny-gpt2", device="cpu", threads=1, tick=lambda done, total: ticks.append((done, total)))
found = {"revision": lm.revision, "name": lm.name, "fingerprint": lm.fingerprint, "last": ticks[-1] if ticks else None}
sae = load_sae(lm, "gpt2-small-res-jb", "blocks.1.hook_resid_pre")
found |= {"sae": sae.name, "sae_fingerprint": sae.fingerprint, "center": sae.center, "warnings": sae.warnings}
for name, revision in (("someone/gated", None), ("someone/nothing", None), ("someone/tiny-gpt2", "v9")):
    try:
        load_model(name, revision=revision, device="cpu")
    except ValueError as error:
        found[name + (revision or "")] = str(error)
try:
    load_sae(lm, "gpt2-small-res-jb", "blocks.2.hook_resid_pre")
except ValueError as error:
    found["missing sae"] = str(error)
print("FOUND" + json.dumps(found))
"""


def run(hub: str, home: Path, **more: str) -> dict:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "HUGGING"))
    }
    environment |= {"HF_ENDPOINT": hub, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert lines, done.stderr[-2000:]
    return json.loads(lines[0].removeprefix("FOUND"))


def test_a_model_and_its_sae_from_the_hub(
    checkpoint: Callable[[str], Path], sae_folder: Callable[..., Path], tmp_path: Path
) -> None:
    made = tmp_path / "sae"
    shutil.copytree(sae_folder("standard", family="gpt2", layer=1, stream="resid_pre"), made)
    # The real file is of SAELens before version 6, to which the registry adds how the model was loaded.
    old = {
        "hook_point": "blocks.1.hook_resid_pre",
        "hook_point_layer": 1,
        "d_in": 32,
        "d_sae": 96,
        "dtype": "float32",
        "model_name": "gpt2-small",
        "prepend_bos": True,
        "context_size": 128,
        "activation_fn_str": "relu",
    }
    (made / "cfg.json").write_text(json.dumps(old))
    with Hub() as hub:
        model = hub.add("someone/tiny-gpt2", checkpoint("gpt2"))
        hub.add("someone/gated", checkpoint("gpt2"), gated=True)
        hub.add("jbloom/GPT2-Small-SAEs-Reformatted", made, prefix="blocks.1.hook_resid_pre/")
        found = run(hub.url, tmp_path / "home")
        assert found["revision"] == model.commit and found["name"] == "someone/tiny-gpt2"
        assert found["last"][0] == found["last"][1] > 100_000
        assert found["sae"] == "gpt2-small-res-jb/blocks.1.hook_resid_pre"
        assert found["center"]  # the registry says that it was made on centered weights, and GPT-2 is a LayerNorm model
        assert found["warnings"] == [
            "It was made on openai-community/gpt2; this model is someone/tiny-gpt2.",
            "It was trained with a BOS token in front of every text; this model's tokenizer puts none.",
        ]
        assert "is gated: accept its license at" in found["someone/gated"]
        assert "There is no model repository 'someone/nothing'" in found["someone/nothing"]
        assert "Bundled models" in found["someone/nothing"]
        assert "has no revision 'v9'" in found["someone/tiny-gpt2v9"]
        assert "blocks.2.hook_resid_pre" in found["missing sae"]
        asked = {path for method, path, _ in hub.requests if method == "GET"}
        assert not any("onnx" in path or path.endswith((".bin", ".py")) for path in asked)
        hub.requests.clear()
        again = run(hub.url, tmp_path / "home", HF_HUB_OFFLINE="1")
        assert not hub.requests
    same = ("revision", "fingerprint", "sae", "sae_fingerprint", "center")
    assert {name: again[name] for name in same} == {name: found[name] for name in same}
    assert "offline mode is on" in again["someone/gated"]
