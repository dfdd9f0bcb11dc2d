"""JSON that any reader takes, whatever it holds: plain ASCII, and no number that JSON has no word for."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ckptaudit.text import integer, value

# Integers that every JSON reader takes; what is larger is written as text.
_LARGEST = 2**63
_NESTING = 32


def dumps(thing: object) -> str:
    """The JSON of `thing` on one line. A lone surrogate becomes its escape.

    GitHub's runner takes `##[command]` anywhere in a line of a log for a command; a `#` can only stand
    within a string, where its escape means the same.
    """
    return json.dumps(_plain(thing, _NESTING), allow_nan=False).replace("##[", "#\\u0023[")


def _plain(thing: object, depth: int) -> object:
    if thing is None or isinstance(thing, str | bool):
        return thing
    if isinstance(thing, int):
        return thing if abs(thing) < _LARGEST else integer(thing)
    if isinstance(thing, float):
        return thing if abs(thing) < float("inf") else repr(thing)
    if depth and isinstance(thing, list | tuple):
        return [_plain(item, depth - 1) for item in thing]
    if depth and isinstance(thing, Mapping):
        return {_name(name): _plain(item, depth - 1) for name, item in thing.items()}
    return value(thing)


def _name(key: object) -> str:
    return key if isinstance(key, str) else value(key)
