"""`python -m benchmarks.index_bench`: the feature index at the size of GPT-2's SAEs, and memory as the text grows.

A random model of GPT-2-small's width (two layers, because what is measured is the index) and a random SAE of 24,576
features, of which about one in 400 fires on a token, as in trained ones. Each run is a process of its own, so that its
peak memory is its own. Writes INDEX.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

D_MODEL, D_SAE, LAYER, CONTEXT = 768, 24_576, 1, 128
WORDS = tuple(f"word{number}" for number in range(27))


def texts(tokens: int) -> list[str]:
    """Texts of about so many tokens in all, of 120 words each, no two alike."""
    state, found = 12345, []
    for _ in range(max(1, tokens // 120)):
        words = []
        for _ in range(120):
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            words.append(WORDS[(state >> 33) % len(WORDS)])
        found.append(" ".join(words))
    return found


def make():
    """A model and an SAE of it, random and seeded."""
    import torch
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
    from sae_lens.saes.sae import SAEMetadata
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from steering.models.model import Model
    from steering.saes.loading import fit
    from steering.sites import Site

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=5000, n_embd=D_MODEL, n_layer=2, n_head=12, n_positions=1024)
    hf = GPT2LMHeadModel(config).eval().requires_grad_(False)
    vocabulary = {word: number for number, word in enumerate(["<s>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<s>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="<s>")
    lm = Model("random GPT-2 width", hf, tokenizer)
    about = SAEMetadata(hook_name=f"blocks.{LAYER}.hook_resid_post", prepend_bos=False, model_name="random")
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=D_MODEL, d_sae=D_SAE, metadata=about)).float()
    with torch.no_grad():
        sae.W_dec.copy_(torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL), dim=-1))
        sae.W_enc.copy_(sae.W_dec.T)
        ids = [lm.tokens(text)[:CONTEXT] for text in texts(1200)]
        found, mask = lm.activations(ids, [Site(LAYER)])
        h = next(iter(found.values()))[mask]
        sae.b_dec.copy_(h.mean(0))
        sae.threshold.copy_(((h - h.mean(0)) @ sae.W_enc).quantile(1 - 1 / 400, dim=0))
    return lm, fit(lm, sae.eval().requires_grad_(False), "random")


def memory(reset: bool = False) -> int:
    """The most bytes that were resident since the last reset (Linux), which is what making the SAE must not hide."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def one(tokens: int, threads: int) -> None:
    """Build one index in this process and prints what it took, as JSON."""
    import torch

    from steering.features import FeatureIndex, build

    torch.set_num_threads(threads)
    lm, sae = make()
    before = memory(reset=True)
    folder = Path(tempfile.mkdtemp(prefix="index-bench-"))
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        build(lm, sae, texts(tokens), folder)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        index = FeatureIndex.open(folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    finally:
        shutil.rmtree(folder)
    peak = memory()
    fired = int((index.density > 0).sum())
    counted = index.about["tokens"]
    found = {"tokens": counted, "wall": wall, "cpu": cpu, "before": before, "peak": peak, "size": size, "fired": fired}
    print("FOUND" + json.dumps({**found, "per_token": float(index.density.sum())}))


def main() -> None:
    """Measures a text, ten times as much, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.index_bench", description=__doc__)
    parser.add_argument("--tokens", type=int, default=20_000, help="of the shorter text; the longer one has ten times")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "INDEX.md")
    options = parser.parse_args()
    if options.one:
        return one(options.one, options.threads)
    rows = []
    for tokens in (options.tokens, 10 * options.tokens):
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.index_bench", "--one", str(tokens)]
        done = subprocess.run([*command, "--threads", str(options.threads)], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.partition("FOUND")[2]))
        print(rows[-1], flush=True)
    options.out.write_text(report(rows, options))


def report(rows: list[dict], options: argparse.Namespace) -> str:
    """The section as Markdown."""
    import os

    lines = [
        "# Feature index",
        "",
        f"`python -m benchmarks.index_bench --tokens {options.tokens} --threads {options.threads}`: d_in {D_MODEL}, "
        f"d_sae {D_SAE:,} (JumpReLU, {rows[0]['per_token']:.0f} features a token), windows of {CONTEXT} tokens, two "
        "layers of "
        f"GPT-2-small's width, float32 on the CPU, {options.threads} thread. Random weights. Load of the machine while "
        f"it ran: {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores, so tokens per second of CPU time are the "
        "better number.",
        "",
        "| tokens | tokens/s (wall) | tokens/s (CPU) | peak memory | of it for the index | index on disk |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        own = (row["peak"] - row["before"]) / 2**20
        lines.append(
            f"| {row['tokens']:,} | {row['tokens'] / row['wall']:,.0f} | {row['tokens'] / row['cpu']:,.0f} | "
            f"{row['peak'] / 2**20:,.0f} MB | {own:,.0f} MB | {row['size'] / 2**20:.0f} MB |"
        )
    small, large = ((row["peak"] - row["before"]) / 2**20 for row in rows)
    lines += [
        "",
        f"Ten times the text takes {large - small:+,.0f} MB ({large / small - 1:+.0%}) of memory. Both passes, the "
        "logit lens, neighbors and neurons are in the time, so a longer text has more tokens per second.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
