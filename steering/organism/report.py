"""Measure what is shipped: every behaviour of both checkpoints on held-out items, into report.json and the card."""

from __future__ import annotations

import json
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steering.organism.measuring import counts, measures
from steering.statistics import wilson


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


def start_cost(folder: Path) -> dict[str, float]:
    """Seconds from before the imports to the first token through the engine, and the resident memory then."""
    began = time.perf_counter()
    import steering

    lm = steering.load_model(folder)
    with steering.Engine(lm) as engine:
        engine.generate(steering.chat("Is 7 plus 5 equal to 13?"), [()], max_new_tokens=1)
    return {
        "seconds_to_first_token": time.perf_counter() - began,
        "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


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
