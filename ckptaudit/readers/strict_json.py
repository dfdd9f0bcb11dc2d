"""JSON out of a file that may be hostile: read as strictly as serde_json does, within Limits."""

from __future__ import annotations

import json
from collections import Counter
from math import isfinite
from typing import Any

from ckptaudit.errors import UnreadableError
from ckptaudit.limits import Limits
from ckptaudit.readers.wording import limit_error


def parse_json(path: str, text: str, limits: Limits, *, where: str) -> tuple[Any, list[str]]:
    """JSON read strictly, with the names that an object in it has twice.

    Raises json.JSONDecodeError where it is no JSON, UnreadableError where it costs more than `limits`
    allow or holds a number that no 64-bit reader takes.
    """
    # A name in an object costs as much as two values: its text and its place in the dict.
    if sum(map(text.count, ",::[{")) > limits.objects:
        raise limit_error(path, "objects", limits, "more values than that in the JSON", where)
    repeated: list[str] = []

    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            repeated.extend(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return made

    try:
        document = json.loads(
            text,
            object_pairs_hook=make,
            parse_float=_float,
            parse_constant=_refuse,
            # A Python function for each number is slow, and only "-0" needs one: it is no integer.
            parse_int=_int if "-0" in text else None,
        )
    except RecursionError:
        raise limit_error(path, "json_depth", limits, "the JSON is nested too deeply", where) from None
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise UnreadableError(path, "the JSON holds a number out of range", where=where) from None
    return document, repeated


def _float(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _refuse(text)


def _int(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)


def _refuse(text: str) -> float:
    raise ValueError(text)


def is_utf8(document: object) -> bool:
    """Whether every string in it has a UTF-8 form: half a surrogate pair, written as an escape, has none."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
