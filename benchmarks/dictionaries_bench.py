"""`python -m benchmarks.dictionaries_bench`: training dictionaries beside SAELens' own runner, matching, and memory.

The same work for both: random tokens through smollm2 to layer 15, then a BatchTopK dictionary trained on as many
activations, on the CPU. Seconds of the process, so that what else the machine does counts little. Tokens that pass
through the model are counted: SAELens fills a buffer to mix from with more than it trains on, and ours reads a sample
(here all) once more to find norms.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from steering.models.loading import load_model
from steering.models.model import Model
from steering.saes.comparing.known import known_dictionaries
from steering.saes.comparing.matching import match
from steering.saes.making.harvest import Buffer
from steering.saes.making.recipe import SaeRecipe
from steering.saes.making.tokens import Windows, write_windows
from steering.saes.making.training import train_sites
from steering.sites import Site

from .machine import load

SITE, WIDTH, K, BATCH, CONTEXT = Site(15, "resid_post"), 1024, 32, 2048, 256
BATCHES = 8
SMALL, LARGE, BOUND = 60_000, 600_000, 40_000_000  # tokens of a text, tokens of a longer one, bytes on disk


def tokens_of(lm: Model, count: int) -> list[list[int]]:
    """Windows of random tokens; what is in them does not change what a pass costs."""
    ids = torch.randint(100, lm.d_vocab, (count // CONTEXT, CONTEXT), generator=torch.Generator().manual_seed(0))
    return ids.tolist()


def processed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of the process and of the clock that a piece of work takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


@contextmanager
def passed(lm: Model) -> Iterator[list[int]]:
    """Counts the tokens that pass through the model, in the list's only item."""
    count = [0]

    def add(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        count[0] += inputs[0].numel()

    handle = lm.hf.get_input_embeddings().register_forward_pre_hook(add)
    try:
        yield count
    finally:
        handle.remove()


def ours(lm: Model, rows: list[list[int]], folder: Path) -> dict[str, float]:
    """Process seconds of harvesting and of training."""
    windows = write_windows(folder / "windows", ((row, 0) for row in rows), {}, lambda done: None)
    recipe = SaeRecipe("batchtopk", d_sae=WIDTH, k=K, samples=BATCHES * BATCH, batch=BATCH)
    made: list[Buffer] = []

    def harvest() -> None:
        made.append(Buffer(lm, windows, [SITE], folder / "buffer", most_bytes=10**9, batch_tokens=4096))
        made[0].load(0)

    # Thresholds and scales are found on a sample, which here is the whole text: it is read twice.
    harvested, _ = processed(harvest)
    trained, _ = processed(lambda: train_sites(made[0], recipe, folder / "trainers"))
    return {"harvest": harvested / 2, "norms": harvested / 2, "train": trained}


def theirs(lm: Model, rows: list[list[int]]) -> float:
    """Process seconds of SAELens' runner on the same tokens, without evaluation and checkpoints."""
    from datasets import Dataset
    from sae_lens import BatchTopKTrainingSAEConfig, LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner
    from sae_lens.config import LoggingConfig

    config = LanguageModelSAERunnerConfig(
        sae=BatchTopKTrainingSAEConfig(d_in=lm.d_model, d_sae=WIDTH, k=K),
        model_name="smollm2", model_class_name="HookedTransformer", hook_name=str(SITE), dataset_path="none",
        is_dataset_tokenized=True, streaming=False, context_size=CONTEXT, training_tokens=BATCHES * BATCH,
        n_batches_in_buffer=BATCH // CONTEXT, store_batch_size_prompts=16, train_batch_size_tokens=BATCH,
        prepend_bos=False, lr=1e-3, device="cpu", n_eval_batches=0, output_path=None, checkpoint_path=None,
        verbose=False, logger=LoggingConfig(log_to_wandb=False),
    )  # fmt: skip
    data = Dataset.from_dict({"input_ids": rows})
    data.set_format("torch")
    runner = LanguageModelSAETrainingRunner(config, override_dataset=data, override_model=lm.bridge)  # type: ignore
    return processed(runner.run)[0]


def memory(count: int) -> float:
    """Peak gigabytes of a process that tokenizes and harvests so many tokens on the organism, whole."""
    lm = load_model("organism")
    with tempfile.TemporaryDirectory() as folder:

        def rows() -> Iterator[tuple[list[int], int]]:
            generator = torch.Generator().manual_seed(0)
            for _ in range(count // 128):
                yield torch.randint(10, lm.d_vocab, (128,), generator=generator).tolist(), 0

        windows: Windows = write_windows(Path(folder, "w"), rows(), {}, lambda done: None)
        buffer = Buffer(lm, windows, [Site(3)], Path(folder, "b"), most_bytes=BOUND, batch_tokens=4096)
        for piece in range(len(buffer.pieces)):
            found = buffer.load(piece)
            for batch in buffer.batches(Site(3), found, 1024, 1, 0):
                float(batch.float().sum())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def matching() -> tuple[float, float]:
    """Seconds of matching two shipped dictionaries of 4,096 features, and two random ones."""
    two = [one.rows() for one in known_dictionaries("smollm2", Path("/nowhere"))][:2]
    random = [torch.randn(4096, 576, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    return processed(lambda: match(*two))[1], processed(lambda: match(*random))[1]


def speed() -> None:
    """Print the seconds of both on the same work, and how many tokens each passed through the model."""
    lm = load_model("smollm2")
    rows = tokens_of(lm, BATCHES * BATCH)
    with tempfile.TemporaryDirectory() as folder, passed(lm) as read:
        mine = ours(lm, rows, Path(folder))
    tokens = BATCHES * BATCH
    print(
        f"ours, smollm2 layer 15, {tokens:,} tokens: harvest {tokens / mine['harvest']:,.0f} tokens a CPU second (and "
        f"once more to find norms: {mine['norms']:.1f} s), train {tokens / mine['train']:,.0f} samples a CPU second",
        flush=True,
    )
    with passed(lm) as also:
        other = theirs(lm, rows)
    whole = sum(mine.values())
    print(
        f"SAELens' runner: {other:.1f} CPU s with {also[0]:,} tokens through the model; ours {whole:.1f} CPU s with "
        f"{read[0]:,}; ratio {other / whole:.2f}, for each token through the model "
        f"{other / also[0] / (whole / read[0]):.2f}"
    )


def main() -> int:
    """Print every figure; with "speed" only those beside SAELens, with a number the peak memory of so many tokens."""
    if sys.argv[1:] == ["speed"]:
        speed()
        return 0
    if len(sys.argv) > 1:
        print(f"{memory(int(sys.argv[1])):.3f}")
        return 0
    print(f"load average before: {load()}")
    shipped, random = matching()
    print(f"matching 4,096 x 4,096: shipped layers 10 and 15 {shipped:.1f} s, random {random:.1f} s", flush=True)
    peaks = []
    for count in (SMALL, LARGE):
        call = [sys.executable, "-m", "benchmarks.dictionaries_bench", str(count)]
        peaks.append(float(subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()[-1]))
    print(f"peak memory, organism: {SMALL:,} tokens {peaks[0]:.2f} GB, {LARGE:,} tokens {peaks[1]:.2f} GB", flush=True)
    speed()
    return 0


if __name__ == "__main__":
    sys.exit(main())
