"""A conversation taken away: into the Library, or as JSON, a web page, plain text, and Python that holds it again."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

import streamlit as st

from ...checkpoints.forms import Form
from ...recipes import python
from ...recipes.steps import Variant
from ..shared import objects as services
from ..shared import state
from ..widgets.basics import copy_link, file_stem
from .conversation import Conversation, Turn, to_data


def toolbar(talk: Conversation) -> None:
    """Draw link, save and export; the last two once something was answered."""
    none = not talk.turns
    copy_link("chat_link")
    with st.popover("Save chat", icon=":material/bookmark_add:", disabled=none, key="chat_save_box"):
        name = st.text_input("Name", key="chat_save_name", placeholder="What is it about?")
        st.button("Save", key="chat_save", on_click=_save, args=(talk, name), type="primary")
    with st.popover("Export", icon=":material/download:", disabled=none, key="chat_export_box"):
        if talk.turns:
            downloads(talk, "chat")


def _save(talk: Conversation, name: str | None) -> None:
    services.store().save_run(to_data(talk), name or "", model=talk.model, prompt=talk.turns[0].user)
    st.toast("Saved in the Library, under Runs")


def downloads(talk: Conversation, prefix: str) -> None:
    """Draw a conversation's downloads; each file is made when it is asked for."""
    sae, stem = state.sae_choice(talk.model), file_stem(talk.title)
    files = (
        ("JSON", "json", "application/json", lambda: json.dumps(to_data(talk), ensure_ascii=False, indent=1)),
        ("Web page", "html", "text/html", lambda: page(talk)),
        ("Text", "txt", "text/plain", lambda: transcript(talk)),
        ("Python code", "py", "text/x-python", lambda: code(talk, sae)),
    )
    for label, ending, mime, make in files:
        st.download_button(
            label, make, f"{stem}.{ending}", mime, key=f"{prefix}_chat_{ending}", on_click="ignore", width="stretch",
            type="tertiary",
        )  # fmt: skip


def transcript(talk: Conversation) -> str:
    """The conversation as plain text, side after side."""
    parts = [f"Model: {talk.model}", *([f"System prompt: {talk.system}"] if talk.system else []), ""]
    for turn in talk.turns:
        parts += [f"You: {turn.user}", "", f"Without steering: {turn.plain}", ""]
        parts += [f"Steered ({turn.recipe}): {turn.steered}", ""]
    return "\n".join(parts)


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Tiller chat</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; --ink: #24221f; --paper: #fdfcf9; --rule: #e3dfd5; --muted: #68645d;
  --teal: #0b7285; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e9e6df; --paper: #141517; --rule: #33353a; --muted: #b3ada3;
  --teal: #4fbccd; }} }}
body {{ margin: 2rem auto; max-width: 64rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 17px/1.7 "Source Serif", Georgia, serif; }}
h1 {{ line-height: 1.2; }} p {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; unicode-bidi: isolate; }}
.muted {{ color: var(--muted); font: 14px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }}
.you {{ margin: 1.6rem 0 0.6rem auto; width: fit-content; background: var(--rule); border-radius: 10px;
  padding: 0.5rem 0.9rem; }}
.sides {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }}
article {{ border: 1px solid var(--rule); border-top: 3px solid #8a857b; border-radius: 8px; padding: 1rem; }}
article.steered {{ border-top-color: var(--teal); }}
pre {{ overflow: auto; border: 1px solid var(--rule); border-radius: 8px; padding: 1rem; font-size: 13px; }}
</style></head><body><h1>Tiller chat</h1><div class="muted">{about}</div>{body}<h2>Python</h2><pre>{code}</pre></body>
</html>
"""


def page(talk: Conversation) -> str:
    """The conversation as one HTML file that needs nothing else; all text of model and visitor is escaped."""
    about = f"Model {talk.model}." + (f" System prompt: {talk.system}" if talk.system else "")
    body = []
    for turn in talk.turns:
        receipt = "".join(f'<div class="muted">{html.escape(line)}</div>' for line in [*turn.problems, *turn.receipts])
        body.append(
            f'<p class="you">{html.escape(turn.user)}</p><div class="sides"><article><div class="muted">Without '
            f'steering</div><p>{html.escape(turn.plain or "")}</p></article><article class="steered">'
            f'<div class="muted">Steered: {html.escape(turn.recipe)}</div><p>{html.escape(turn.steered or "")}</p>'
            f"{receipt}</article></div>"
        )
    return _PAGE.format(about=html.escape(about), body="".join(body), code=html.escape(code(talk)))


def code(talk: Conversation, sae: tuple[str, str] | None = None) -> str:
    """Python that holds the same conversation again with the package, without the dashboard."""
    variants, raw, numbers = _variants(talk.turns)
    lines, names, _ = python.setups(variants, raw)
    turns = [
        f"    ({turn.user!r}, {names[at] if at is not None else '()'}, "
        f"dict(seed={turn.seed!r}, max_new_tokens={turn.max_new_tokens!r}, temperature={turn.temperature!r})),"
        for turn, at in zip(talk.turns, numbers, strict=True)
    ]
    begin = repr([{"role": "system", "content": talk.system}] if talk.system else [])
    return "\n".join(
        [
            *python.head(variants, Form.parse(talk.model).call, sae, raw),
            *lines,
            "",
            "engine = t.Engine(lm)",
            "turns = [  # question, how the second side is steered, sampling",
            *turns,
            "]",
            f"sides = {begin}, {begin}",
            "answers = []",
            "for question, steps, sampling in turns:",
            "    for side, variant in zip(sides, [(), steps]):",
            '        side.append({"role": "user", "content": question})',
            '        prompt = side if lm.has_chat_template else " ".join(m["content"] for m in side if m["content"])',
            "        answer = engine.generate(prompt, [variant], **sampling)[0].text",
            '        side.append({"role": "assistant", "content": answer})',
            "        answers.append(answer)",
            "        print(repr(answer))",
            "",
        ]
    )


def _variants(turns: Sequence[Turn]) -> tuple[tuple[Variant, ...], list, list[int | None]]:
    """The different variants of a conversation, what their strengths came to, and each turn's number among them."""
    found: dict[str, int] = {}
    variants, raw, numbers = [], [], []
    for turn in turns:
        if not turn.steps:
            numbers.append(None)
            continue
        key = json.dumps([turn.variant, turn.raw], sort_keys=True)
        if key not in found:
            found[key] = len(variants)
            variants.append(turn.steps[0])
            raw.append(turn.raw[0] if turn.raw else [])
        numbers.append(found[key])
    return tuple(variants), raw, numbers
