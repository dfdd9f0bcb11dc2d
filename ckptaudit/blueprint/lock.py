"""Lock files: a blueprint as small, sorted JSON, one tensor a line, made to be reviewed in a diff.

`{"schema": "ckptaudit.lock/1", "model", "tensors": {key: "float32 [256, 20]"}, "ties": [[key, key]],
"other"}`; a lazy parameter has the shape `lazy`.
"""

from __future__ import annotations

import json
import os
import re
from codecs import BOM_UTF8
from typing import Any

from ckptaudit.blueprint import Blueprint, Expected
from ckptaudit.errors import LimitError, UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.locate import split
from ckptaudit.model import DTYPE_BITS
from ckptaudit.source import LocalFile
from ckptaudit.text import natural, shape

SCHEMA = "ckptaudit.lock/1"
_ENTRY = re.compile(r"(?P<dtype>[a-z]\w*) (?:lazy|\[(?P<shape>(?:[0-9]{1,400}(?:, [0-9]{1,400})*)?)\])")
_FIELDS = {"schema", "model", "tensors", "ties", "other"}
_REMEDY = "write it again: ckptaudit lock"


def dump(blueprint: Blueprint) -> str:
    """The text of a lock file: plain ASCII, the same for the same blueprint."""
    rows = {
        key: f"{expected.dtype} {shape(expected.shape)}"
        for key, expected in sorted(blueprint.tensors.items(), key=lambda pair: natural(pair[0]))
    }
    document: dict[str, Any] = {"schema": SCHEMA, "model": blueprint.name, "tensors": rows}
    document["ties"] = sorted(sorted(group, key=natural) for group in blueprint.ties)
    if blueprint.other_keys:
        document["other"] = sorted(blueprint.other_keys, key=natural)
    return _lines(document)


def _lines(document: dict[str, Any]) -> str:
    """JSON with a line for each tensor and each tie: json.dumps would give every key of a tie its own."""
    parts = []
    for name, field in document.items():
        rows = []
        if isinstance(field, dict):
            rows = [f"    {json.dumps(key)}: {json.dumps(entry)}" for key, entry in field.items()]
        elif isinstance(field, list):
            rows = [f"    {json.dumps(entry)}" for entry in field]
        opening, closing = ("{", "}") if isinstance(field, dict) else ("[", "]")
        whole = ",\n".join(rows)
        told = f"{opening}\n{whole}\n  {closing}" if rows else json.dumps(field)
        parts.append(f"  {json.dumps(name)}: {told}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def load(path: str, limits: Limits) -> Blueprint | None:
    """The blueprint in a lock file; None where the file is something else.

    Raises UnreadableError where it is meant as a lock file and is none, AccessError where there is no file.
    """
    if split(path)[1] or os.path.isdir(path):
        return None
    with LocalFile(path) as file:
        head = file.read(0, 4096)
        if not head.removeprefix(BOM_UTF8).lstrip().startswith(b"{") or b'"ckptaudit.lock/' not in head:
            return None
        if file.size > limits.json_bytes:
            raise LimitError(path, f"a lock file of {file.size:,} bytes: the limit json_bytes was reached")
        raw = file.read(0, file.size)
    try:
        return _blueprint(path, json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once))
    except RecursionError:
        raise UnreadableError(path, "nested too deeply for a lock file", remedy=_REMEDY) from None
    except ValueError as error:  # no UTF-8, no JSON
        raise UnreadableError(path, f"no lock file: {error}", remedy=_REMEDY) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. A merge can leave a key twice: which of the two is meant, nobody knows."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice[:100]!r} is there twice")
    return made


def _blueprint(path: str, document: Any) -> Blueprint:
    if document.get("schema") != SCHEMA:
        reason = f"a lock file of schema {str(document.get('schema'))[:60]!r}, this reads {SCHEMA!r}"
        raise UnreadableError(path, reason, remedy=_REMEDY)
    unknown = sorted(set(document) - _FIELDS)
    if unknown:
        raise UnreadableError(path, f"unknown field {unknown[0][:60]!r} in a lock file", remedy=_REMEDY)
    tensors, ties, other = document.get("tensors"), document.get("ties", []), document.get("other", [])
    if not isinstance(tensors, dict) or not _is_list_of_names(other):
        raise UnreadableError(path, "a lock file without tensors", remedy=_REMEDY)
    if not isinstance(ties, list) or not all(_is_list_of_names(group) for group in ties):
        raise UnreadableError(path, "ties that are no lists of keys", remedy=_REMEDY)
    expected = {key: _expected(path, key, entry) for key, entry in tensors.items()}
    strange = next((key for group in ties for key in group if key not in expected), None)
    if strange is not None:
        raise UnreadableError(path, f"a tie of {strange[:100]!r}, which is no tensor of it", remedy=_REMEDY)
    return Blueprint(path, str(document.get("model", path)), expected, tuple(map(tuple, ties)), tuple(other))


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _expected(path: str, key: str, entry: Any) -> Expected:
    match = _ENTRY.fullmatch(entry) if isinstance(entry, str) else None
    if match is None or match["dtype"] not in DTYPE_BITS:
        reason = f"tensor {key[:100]!r} is described by {str(entry)[:60]!r}, not by a dtype and a shape"
        raise UnreadableError(path, reason, remedy=_REMEDY)
    sizes = match["shape"]
    dims = None if sizes is None else tuple(int(size) for size in sizes.split(", ") if size)
    return Expected(dims, match["dtype"])
