"""A configuration as TOML text: what was put together on a page can be kept, and run from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


def to_toml(data: Mapping[str, Any]) -> str:
    """The text of a TOML file; tables of tables get headers, what lies deeper is written inline, None is left out."""
    plain, tables = [], []
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            nested = {name: inner for name, inner in value.items() if isinstance(inner, Mapping)}
            flat = {name: inner for name, inner in value.items() if name not in nested}
            if flat:
                tables.append(_table(f"[{_key(key)}]", flat))
            tables += [_table(f"[{_key(key)}.{_key(name)}]", inner) for name, inner in nested.items()]
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            tables += [_table(f"[[{_key(key)}]]", one) for one in value]
        elif value is not None:
            plain.append(f"{_key(key)} = {_value(value)}")
    return "\n\n".join(["\n".join(plain), *tables]).strip() + "\n"


def _table(head: str, values: Mapping[str, Any]) -> str:
    return "\n".join([head, *(f"{_key(key)} = {_value(value)}" for key, value in values.items() if value is not None)])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # The escapes of JSON are those of TOML, but for DEL, which is no text in TOML.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(k))} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise ValueError(f"A configuration holds texts, numbers, lists and tables; got {value!r}.")
