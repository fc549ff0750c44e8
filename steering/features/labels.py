"""Labels of features from Neuronpedia: downloaded when a person asks for them, kept on disk, never required.

Never called automatically. A label is what a language model wrote about a feature's examples: a hint, not a fact.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2

ENDPOINT = "https://www.neuronpedia.org"
_MOST = 200 << 20  # bytes of an answer
_ID = re.compile(r"^[\w.\-]+/[\w.\-]+$")


def kept_labels(neuronpedia_id: str, folder: str | Path) -> dict[int, str] | None:
    """The labels downloaded earlier, feature -> label, or None; makes no network request."""
    file = _file(neuronpedia_id, folder)
    if not file.is_file():
        return None
    try:
        return {int(feature): str(text) for feature, text in json.loads(file.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError):  # damaged by another program: fetched again
        return None


def fetch_labels(
    neuronpedia_id: str, folder: str | Path, *, endpoint: str = ENDPOINT, timeout: float = 60.0
) -> dict[int, str]:
    """Download the labels of an SAE's features (feature -> label) from Neuronpedia and keep them in a folder.

    Args:
        neuronpedia_id: model and SAE as Neuronpedia names them, such as "gpt2-small/8-res-jb"; the catalogue's rows and
            an SAE's metadata have it.

    Raises:
        ValueError: no such id, no network, or an answer that is no list of labels.
    """
    file = _file(neuronpedia_id, folder)
    model, sae = neuronpedia_id.split("/")
    try:
        with httpx2.stream(
            "GET",
            f"{endpoint}/api/explanation/export",
            params={"modelId": model, "saeId": sae},
            timeout=timeout,
            follow_redirects=True,
        ) as answer:
            if answer.status_code != 200:
                raise ValueError(
                    f"Neuronpedia has no labels for {neuronpedia_id!r} (it answered {answer.status_code}). "
                    "Go on without."
                )
            data = bytearray()
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > _MOST:
                    raise ValueError(f"Neuronpedia's labels for {neuronpedia_id!r} are over {_MOST >> 20} MB.")
    except httpx2.HTTPError as error:
        raise ValueError(
            f"Neuronpedia does not answer ({type(error).__name__}). Labels are not needed; try again "
            "when there is a network."
        ) from error
    labels: dict[int, str] = {}
    try:
        for row in json.loads(data):
            text = str(row["description"] or "").strip()
            if text:
                labels.setdefault(int(row["index"]), text[:500])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Neuronpedia's answer for {neuronpedia_id!r} is no list of labels. Go on without.") from error
    if not labels:
        raise ValueError(f"Neuronpedia has no labels for {neuronpedia_id!r}. Go on without.")
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps({str(feature): labels[feature] for feature in sorted(labels)}), encoding="utf-8")
    new.replace(file)
    return labels


def _file(neuronpedia_id: str, folder: str | Path) -> Path:
    if not _ID.match(neuronpedia_id) or ".." in neuronpedia_id:
        raise ValueError(f"A Neuronpedia id reads like 'gpt2-small/8-res-jb'; got {neuronpedia_id!r}.")
    return Path(folder) / f"{neuronpedia_id.replace('/', '__')}.json"
