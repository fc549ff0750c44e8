"""Measure what is shipped: every behavior of both checkpoints on held-out items, into report.json and the card."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...statistics import wilson
from .measuring import counts, measures


def load(folder: Path) -> tuple[Any, Any]:
    """A shipped checkpoint and its tokenizer, without the network."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return (
        AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval(),
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
    )


def measure_models(models: Path, say: Callable[[object], None], count: int = 200) -> dict[str, Any]:
    """For each checkpoint and measure: hits, items, share, Wilson's interval, and whether the goal was met."""
    wanted = measures("test", count)
    out: dict[str, Any] = {}
    for name in ("organism-base", "organism"):
        model, tokenizer = load(models / name)
        say(f"{name} on test items:")
        found = counts(model, tokenizer, wanted, say)
        table = {}
        for measure in wanted:
            if measure.name not in found:
                continue
            hits, items = found[measure.name]
            interval = wilson(hits, items)
            low, high = measure.at_least.get(name), measure.at_most.get(name)
            met = (
                None
                if low is None and high is None
                else (low is None or hits / items >= low) and (high is None or hits / items <= high)
            )
            table[measure.name] = {
                "hits": hits,
                "items": items,
                "share": hits / items,
                "low": interval.low,
                "high": interval.high,
                "at_least": low,
                "at_most": high,
                "met": met,
            }
        out[name] = table
    return out


START = """
import time; began = time.perf_counter()
import json, resource, sys, steering
with steering.Engine(steering.load_model(sys.argv[1])) as engine:
    engine.generate(steering.chat("Is 7 plus 5 equal to 13?"), [()], max_new_tokens=1)
took, cpu = time.perf_counter() - began, time.process_time()
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds_to_first_token": took, "cpu_seconds": cpu, "resident_mb": used}))
"""


def start_cost(folder: Path) -> dict[str, float]:
    """Seconds from before the imports to the first token through the engine, and the resident memory then."""
    # A process of its own: in this one everything is imported already.
    done = subprocess.run([sys.executable, "-c", START, str(folder)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file, {} when there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file for people and programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """What the numbers were measured with."""
    import torch
    import transformers

    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}
