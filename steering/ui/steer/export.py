"""A run as a file: JSON bundle, CSV, a standalone HTML page, and Python code that reproduces it."""

from __future__ import annotations

import html
import json
from typing import Any

from ...checkpoints.forms import Form
from ...jobs.reading import read_json
from ...jobs.tables import csv_text
from ...recipes import python
from ...recipes.steps import from_data
from .bundles import BUNDLE, MAX_BYTES, checked_run
from .results import Run, RunRow


def bundle(result: Run) -> str:
    """The JSON bundle of a run as text."""
    return json.dumps(bundle_data(result), ensure_ascii=False, indent=1)


def bundle_data(result: Run) -> dict[str, Any]:
    """The JSON bundle of a run: settings, recipe, every token, and (`about`) model, SAE and versions."""
    return {"format": BUNDLE, "version": 1, **result.to_data()}


def read_bundle(text: str | bytes, file: str = "") -> Run:
    """The run of a JSON bundle; `file` is its name, for the messages.

    Raises:
        ValueError: it is no bundle of Tiller's, or a field of it is not what it must be.
    """
    return checked_run(read_json(text, file, MAX_BYTES), file)


def table(result: Run) -> str:
    """The run as CSV, one line per generated token."""
    names = [f"projection on {label}" for label in result.labels]
    head = ["prompt", "row", "kind", "position", "token id", "token", "log-probability", "steered", *names]
    body = []
    for row in result.rows:
        start, steered = len(row.prompt_tokens), row.steered
        columns = [row.along(label) for label in result.labels]
        for i, token in enumerate(row.tokens):
            at = start + i
            values = [None if value is None else Figure(value) for value in (column[at] for column in columns)]
            place = [row.prompt, row.title, row.kind, at, token, row.pieces[at], Figure(row.logprobs[i])]
            body.append([*place, int(at in steered), *values])
    return csv_text(head, body)


class Figure(float):
    """A number that is written with six digits; unlike a text, a spreadsheet reads it as a number."""

    def __str__(self) -> str:
        return f"{float(self):.6g}"

    __repr__ = __str__


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Tiller run</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; --ink: #24221f; --paper: #fdfcf9; --rule: #e3dfd5; --muted: #68645d;
  --teal: 11 114 133; --orange: 194 87 12; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e9e6df; --paper: #141517; --rule: #33353a; --muted: #b3ada3;
  --teal: 79 188 205; --orange: 240 140 70; }} }}
body {{ margin: 2rem auto; max-width: 70rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.7 "Source Serif", Georgia, serif; }}
h1, h2 {{ line-height: 1.2; }} h2 {{ font-size: 1.1rem; margin: 0 0 0.5rem; }}
.muted, .receipt {{ color: var(--muted); font: 14px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }}
.receipt {{ margin: 0 0 0.5rem; }} .receipt b {{ color: var(--ink); font-weight: 600; }}
.problem {{ color: #b3261e; font-weight: 600; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }}
article {{ border: 1px solid var(--rule); border-top: 3px solid #8a857b; border-radius: 8px; padding: 1rem; }}
article.steered {{ border-top-color: rgb(var(--teal)); }}
p.text {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 1rem; }}
.text span {{ unicode-bidi: isolate; border-radius: 3px; }} .text .p {{ color: var(--muted); }}
pre {{ overflow: auto; border: 1px solid var(--rule); border-radius: 8px; padding: 1rem; font-size: 13px; }}
</style></head><body><h1>Tiller run</h1><p class="muted">{about}</p>{body}<h2>Python</h2><pre>{code}</pre></body></html>
"""


def page(result: Run) -> str:
    """The run as one HTML file that needs nothing else; all text of model and visitor is escaped."""
    s = result.settings
    how = "greedy" if not s.temperature else f"temperature {s.temperature:g}, top-p {s.top_p:g}, seed {s.seed}"
    body = []
    label = result.labels[0] if result.labels else None
    magnitudes = [abs(v) for row in result.rows for v in (row.along(label) if label else []) if v is not None]
    scale = max(magnitudes, default=1.0) or 1.0  # one for all texts, so that they can be compared
    for number, prompt in enumerate(s.prompts):
        rows = [row for row in result.rows if row.prompt == number]
        cards = "".join(_article(row, label, scale) for row in rows)
        body.append(f"<h2>{html.escape(prompt)}</h2><div class=grid>{cards}</div>")
    tint = f" Tint: the projection on {label}; teal along it, orange against it." if label else ""
    about = html.escape(f"Model {s.model}. At most {s.max_new_tokens} tokens, {how}.{tint}")
    return _PAGE.format(about=about, body="".join(body), code=html.escape(code(result)))


def _article(row: RunRow, label: str | None, scale: float) -> str:
    values = row.along(label) if label else [None] * len(row.pieces)
    spans = []
    for i, piece in enumerate(row.pieces):
        value = values[i]
        share = 0.0 if value is None else abs(value) / scale
        hue = "teal" if (value or 0) > 0 else "orange"
        style = f' style="background: rgb(var(--{hue}) / {0.5 * share:.2f})"' if share > 0.12 else ""
        mark = ' class="p"' if i < len(row.prompt_tokens) else ""
        title = "" if value is None else f' title="projection {value:+.2f}"'
        spans.append(f"<span{mark}{style}{title}>{html.escape(piece)}</span>")
    lines = "".join(
        f'<p class="receipt">{html.escape(r["intervention"])}<br>{r["tokens"]} tokens, shift per token: expected '
        f"<b>{r['expected']:.4g}</b>, measured <b>{r['measured']:.4g}</b></p>"
        for r in row.receipts
    )
    lines = (
        "".join(f'<p class="problem">Not steered as it says. {html.escape(text)}</p>' for text in row.problems) + lines
    )
    kind = "steered" if row.kind == "steered" else ""
    head = f'<article class="{kind}"><h2>{html.escape(row.title)}</h2>'
    return f'{head}<p class="text">{"".join(spans)}</p>{lines}</article>'


# Python -------------------------------------------------------------------------------------------------------------


def code(result: Run, sae: tuple[str, str] | None = None) -> str:
    """Python that does the same run again with the package, without the dashboard."""
    s, recipe = result.settings, from_data(result.recipe)
    lines, names, records = python.setups(recipe, result.raw)
    recorded = f"record=[{', '.join(records)}], " if records else ""
    bos = " steer_bos=True," if s.steer_bos else ""
    return "\n".join(
        [
            *python.head(recipe, Form.parse(s.model).call, sae, result.raw),
            *lines,
            "",
            "engine = t.Engine(lm)",
            f"for prompt in {list(s.prompts)!r}:",
            "    completions = engine.generate(",
            f"        {'t.chat(prompt)' if s.chat else 'prompt'}, [{', '.join(['()', *names])}],",
            f"        {recorded}max_new_tokens={s.max_new_tokens!r}, temperature={s.temperature!r}, "
            f"top_p={s.top_p!r}, seed={s.seed!r},{bos}",
            "    )",
            "    for completion in completions:",
            "        print(repr(completion.text), completion.receipts)",
            "",
        ]
    )
