"""The document itself."""

from __future__ import annotations

from collections.abc import Mapping

from ckptaudit.reports import jsontext


def render(document: Mapping[str, object]) -> str:
    """One JSON object, a field a line; lists of modules a module a line."""
    fields = (f"{jsontext.dumps(name)}: {_field(value)}" for name, value in document.items())
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _field(value: object) -> str:
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        return "[\n" + ",\n".join(map(jsontext.dumps, value)) + "\n]"
    return jsontext.dumps(value)
