"""Under the texts: what changed and why. Each function takes a result and draws one panel."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence

import streamlit as st

from ...measurements.numbers import repetition
from ...plots import charts as plots
from ...plots import matrices
from ...plots.base import Line, percent
from ...showing.glossary import explain
from ..shared.directions import shown_name
from ..widgets import theme
from ..widgets.basics import chart, literal
from ..widgets.tokens import Token, token_view
from .results import Run, RunRow

TOKEN = "compare_token"  # the place in the text that the visitor looks at
TINTS = {"projection": "Tint: projection", "surprise": "Tint: surprise", "none": "No tint"}


def changed_tokens(row: RunRow, baseline: RunRow) -> set[int]:
    """Positions (in `row.pieces`) of generated tokens that belong to words the baseline does not have there."""
    start = len(row.prompt_tokens)
    mine, theirs = row.pieces[start:], baseline.pieces[len(baseline.prompt_tokens) :]
    words, owners = _words(mine)
    others, _ = _words(theirs)
    same = {
        i
        for block in difflib.SequenceMatcher(None, words, others, autojunk=False).get_matching_blocks()
        for i in range(block.a, block.a + block.size)
    }
    return {start + token for token, word in enumerate(owners) if word not in same and mine[token].strip()}


def _words(pieces: Sequence[str]) -> tuple[list[str], list[int]]:
    """The words of generated tokens, and for each token the word it ends in."""
    words: list[str] = []
    owners: list[int] = []
    for piece in pieces:
        if not words or piece[:1].isspace() or re.match(r"\W", piece):
            words.append(piece.strip())
        else:
            words[-1] += piece
        owners.append(len(words) - 1)
    return words, owners


def view_tokens(row: RunRow, baseline: RunRow, label: str | None, tint: str) -> list[Token]:
    """The tokens of a row for the token view: tinted, marked where they differ, with what the tooltip says."""
    values = row.along(label) if label else [None] * len(row.pieces)
    before = row.along(label, "before") if label else values
    tinted = ordinary(values)
    start, steered, changed = len(row.prompt_tokens), row.steered, changed_tokens(row, baseline)
    found = []
    for i, piece in enumerate(row.pieces):
        tip: list[tuple[str, str]] = []
        if values[i] is not None:
            tip.append(("projection", f"{values[i]:+.2f}"))
            if before[i] is not None and abs(before[i] - values[i]) > 5e-3:  # type: ignore[operator]
                tip.append(("before the edit", f"{before[i]:+.2f}"))
        surprise = None
        if i >= start:
            logprob = row.logprobs[i - start]
            surprise = -logprob
            tip.append(("log-probability", f"{logprob:.2f} ({percent(math.exp(logprob))})"))
            others = row.alternatives[i - start][:4] if row.alternatives else []
            tip += [(f"“{text}”", percent(math.exp(value))) for text, value in others]
        tip += [("steered", "yes" if i in steered else "no"), ("position", str(i))]
        value = {"projection": tinted[i], "surprise": surprise}.get(tint)
        found.append(Token(piece, value, tuple(tip), prompt=i < start, changed=i in changed))
    return found


def ordinary(values: Sequence[float | None]) -> list[float | None]:
    """The values along a text with None for its first token and other massive ones, which would drown the rest.

    In most models a few tokens (the first above all) have activations many times longer than all others.
    """
    sizes = sorted(abs(v) for v in values[1:] if v)  # features are zero on most tokens
    if len(values) < 2:
        return list(values)
    limit = max(20 * sizes[len(sizes) // 2], 4 * sizes[int(0.9 * (len(sizes) - 1))]) if sizes else 0.0
    return [None, *(v if v is not None and abs(v) <= limit else None for v in values[1:])]


def scale_of(rows: Sequence[RunRow], label: str | None, tint: str) -> float:
    """One scale for all the rows: the 98th percentile of the magnitudes, so that one outlier does not pale the rest."""
    if tint == "surprise":
        return 6.0
    values = sorted(abs(v) for row in rows for v in (ordinary(row.along(label)) if label else []) if v is not None)
    return values[int(0.98 * (len(values) - 1))] if values else 0.0


def tokens_card(row: RunRow, result: Run, *, label: str | None, tint: str, scale: float, key: str) -> None:
    """Draw a row's tokens; a click chooses the token to look at."""
    shown = result.shown(row.prompt)
    baseline = shown[0]
    legend = {"projection": ("against", "along"), "surprise": ("", "surprising")}
    # One scale for all cards, so one legend, in the last of them.
    explained = row is shown[-1] and (label or tint == "surprise")
    low, high = legend.get(tint, ("", "")) if explained else ("", "")
    token_view(
        view_tokens(row, baseline, label, tint),
        key=key,
        scale=scale,
        selected=st.session_state.get(TOKEN),
        low=low,
        high=high,
        label=f"{row.title}: tokens",
        into=TOKEN,
        fold=" ".join(result.settings.prompts[row.prompt].split()),
    )


# Panels -------------------------------------------------------------------------------------------------------------


def along(result: Run, prompt: int, label: str | None) -> None:
    """Draw the projection along the text; a click chooses the token to look at."""
    if label is None:
        st.caption("No step of this recipe uses a direction, so there is no projection to show along the text.")
        return
    rows = result.shown(prompt)
    controls = result.controls(prompt)
    lines = [Line(r.title, ordinary(r.along(label)), r.kind, r.pieces, max(0, r.variant)) for r in rows]
    lines += [Line(r.title, ordinary(r.along(label)), "control") for r in controls]
    figure = plots.along_text(
        lines, theme.palette(), prompt_tokens=len(rows[0].prompt_tokens), selected=st.session_state.get(TOKEN)
    )
    chart(
        figure,
        title=f"Along {literal(shown_name(label), 60)}",
        caption="How far each token points along the direction, after the edit. The first token is left out: it is far "
        "off in most models."
        + (f" Gray: {len(controls)} random directions of equal norm." if len(controls) > 1 else "")
        + (" Gray line: a random direction of equal norm." if len(controls) == 1 else ""),
        key="compare_along",
        select=_clicked,
    )


def _clicked() -> None:
    """Select the token that was clicked in the line chart."""
    points = ((st.session_state.get("compare_along") or {}).get("selection") or {}).get("points") or []
    if points:
        st.session_state[TOKEN] = int(points[0]["x"])


def _first_difference(rows: Sequence[RunRow]) -> int:
    """The first generated place where not all texts have the same token; 0 where they are the same."""
    shortest = min(len(row.tokens) for row in rows)
    return next((i for i in range(shortest) if len({row.tokens[i] for row in rows}) > 1), 0)


def next_tokens(result: Run, prompt: int, token: int | None) -> None:
    """Draw the most probable next tokens of each variant at a place in the text, beside the baseline's."""
    rows = result.shown(prompt)
    start = len(rows[0].prompt_tokens)
    step = _first_difference(rows) if token is None else max(0, token - start)
    with_step = [row for row in rows if step < len(row.alternatives)]
    if not with_step or with_step[0].kind != "baseline":
        st.caption("The baseline has no token at this place. Click another token.")
        return
    chances = {row.title: {text: math.exp(value) for text, value in row.alternatives[step]} for row in with_step}
    names = list(dict.fromkeys(text for row in with_step for text, _ in row.alternatives[step][:4]))[:10]
    baseline = chances.pop(rows[0].title)
    before = "".join(rows[0].pieces[start : start + step])[-24:]
    where = f"“{literal(before, 28)}”" if before else "the prompt"
    figure = plots.dumbbell(
        [f"“{visible_piece(name)}”" for name in names],
        [baseline.get(name) for name in names],
        {title: [values.get(name) for name in names] for title, values in chances.items()},
        theme.palette(),
        height=320,
    )
    same = all(row.tokens[:step] == rows[0].tokens[:step] for row in with_step)
    note = "" if same else " The texts differ before this place, so part of the change is theirs."
    chart(
        figure,
        title=f"Next token after {where}",
        caption="Open: baseline; filled: steered, where the token is among its five likeliest. "
        f"Click a token in a text to look there.{note}",
        key="compare_next",
    )


def visible_piece(piece: str) -> str:
    """A token's text with its spaces and line breaks made visible."""
    from ...showing.visible import visible

    return visible(piece)


def distributions(
    result: Run, prompt: int, label: str | None, groups: dict[str, list[float]], tau: float | None = None
) -> float | None:
    """The tau at which the line stands (at first the given one), after drawing where the groups lie."""
    if label is None:
        st.caption("No step of this recipe uses a direction, so there is nothing to distribute.")
        return None
    from ..widgets.threshold import threshold

    rows = result.shown(prompt)
    start = len(rows[0].prompt_tokens)
    for row in rows:
        values = [v for v in row.along(label, "before")[start:] if v is not None]
        groups = {**groups, ("baseline tokens" if row.kind == "baseline" else row.title): values}
    colors = theme.palette()
    fixed = {
        "positive pairs": colors.ink,
        "negative pairs": colors.negative,
        "neutral text": colors.muted,
        "baseline tokens": colors.baseline,
    }
    return threshold(
        {name: values for name, values in groups.items() if values},
        colors={**{row.title: colors.series[max(0, row.variant) % len(colors.series)] for row in rows}, **fixed},
        key=f"compare_tau_{label}",
        title=f"Where {label} separates",
        tau=tau,
    )


def receipts(result: Run, prompt: int) -> None:
    """Draw the receipts: expected and measured shift, tokens touched, share of tokens that fired."""
    rows = [row for row in result.shown(prompt) if row.kind == "steered"]
    table = []
    for row in rows:
        for receipt in row.receipts:
            table.append(
                {
                    "Variant": row.title,
                    "Tokens": receipt["tokens"],
                    "Expected shift": receipt["expected"],
                    "Measured shift": receipt["measured"],
                    "Agrees": "yes" if receipt["agrees"] else "NO",
                    "Fired": "" if receipt["fired"] is None else percent(receipt["fired"]),
                    "Site": _sites(receipt["sites"]),
                    "Intervention": receipt["intervention"],
                    "Notes": " ".join(receipt["notes"]),
                }
            )
    if not table:
        st.caption("No variant was steered, so nothing was applied.")
        return
    st.markdown("**Receipt: what was really applied**", help=explain("receipt"))
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "Expected shift": number(format="%.4g", help="Mean norm of the change per touched token, by the formula."),
            "Measured shift": number(
                format="%.4g", help="The same, from what the rest of the model received further down."
            ),
            "Fired": st.column_config.TextColumn(help="Share of touched tokens on which the threshold was crossed."),
        },
    )
    st.caption(
        "Shifts are mean norms of the change of the residual stream, per touched token, in the stream's own units. "
        "Expected comes from the formula, measured from what the next part of the model received: they differ by "
        "rounding, or something is wrong."
    )


def _sites(sites: Sequence[str]) -> str:
    return sites[0] if len(sites) == 1 else f"{len(sites)} sites" if sites else "none"


def text_similarity(rows: Sequence[RunRow]) -> list[list[float]]:
    """How alike the generated texts are, pairwise: cosine of their word counts."""
    counts = []
    for row in rows:
        found: dict[str, int] = {}
        for word in re.findall(r"\w+", row.text.lower()):
            found[word] = found.get(word, 0) + 1
        counts.append(found)

    def cosine(a: dict[str, int], b: dict[str, int]) -> float:
        dot = sum(value * b.get(word, 0) for word, value in a.items())
        norms = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
        return dot / norms if norms else 0.0

    return [[cosine(a, b) for b in counts] for a in counts]


def similarity(result: Run, prompt: int, cosines: dict[str, tuple[list[str], list[list[float]]]]) -> None:
    """Draw how alike the directions are, the first one across layers, and how alike the responses are."""
    rows = result.shown(prompt)
    left, right = st.columns(2, gap="medium")
    with left:
        names = [row.title for row in rows] + [f"random {i + 1}" for i in range(len(result.controls(prompt)))]
        matrix = text_similarity([*rows, *result.controls(prompt)])
        figure = matrices.heatmap(matrix, names, names, theme.palette(), low=0.0, height=340)
        chart(
            figure,
            title="The responses against each other",
            caption="Cosine of word counts: 1 is the same words. Random rows show what any push of that size does.",
            key="compare_texts",
        )
    with right:
        for number, (title, (labels, values)) in enumerate(cosines.items()):
            figure = matrices.heatmap(values, labels, labels, theme.palette(), height=340)
            chart(
                figure,
                title=title,
                caption="Cosine: 1 the same way, 0 unrelated, -1 opposite.",
                key=f"compare_directions_{number}",
            )
        if not cosines:
            st.caption("No step of this recipe uses a direction, so there are none to compare.")


def short(value: float) -> str:
    """A signed number with about three digits and a real minus."""
    value = 0.0 if abs(value) < 0.005 else value
    text = f"{value:+.0f}" if abs(value) >= 100 else f"{value:+.1f}" if abs(value) >= 10 else f"{value:+.2f}"
    return text.replace("-", "−")


def numbers(row: RunRow, baseline: RunRow, label: str | None) -> list[tuple[str, str, str]]:
    """(name, value, change against the baseline) for the line under a text."""
    start = len(row.prompt_tokens)
    found = []
    if label:
        mine = [v for v in row.along(label)[start:] if v is not None]
        theirs = [v for v in baseline.along(label)[start:] if v is not None]
        if mine and theirs:
            value, base = sum(mine) / len(mine), sum(theirs) / len(theirs)
            found.append(("Projection", short(value), "" if row is baseline else short(value - base)))
    value, base = repetition(row.text), repetition(baseline.text)
    found.append(
        ("Repetition", percent(value), "" if row is baseline else f"{100 * (value - base):+.0f} pt".replace("-", "−"))
    )
    if row.surprise is not None and baseline.surprise is not None:
        change = "" if row is baseline else f"{row.surprise - baseline.surprise:+.2f}".replace("-", "−")
        found.append(("Surprise", f"{row.surprise:.2f}", change))
    return found
