"""What a person is told of a rebuilt model: how far it got, what was loaded, and what is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ckptaudit.text import grouped, plural, safe, size, some

_STEPS = {
    "parametric skeleton": "names and shapes alone",
    "typed skeleton": "layer classes by inference",
    "identified": "the architecture that was named, and everything in it loaded",
    "exact config": "classes and configuration as the file has them",
    "verified": "outputs compared",
}
_ORIGINS = {"from_tie": "by a tie", "from_init": "not in the file", "computed": "computed from the file"}
_MOST = 12  # lines of one kind
_WIDTH = 11  # of the words in front


def render(document: Mapping[str, Any]) -> str:
    """The page: one line of what it is, then one fact a line."""
    level = document["level"]
    picked = f" · {safe(document['picked'])}" if document["picked"] else ""
    lines = [f"{safe(document['path'])}{picked}  {level}: {_STEPS[level]}", ""]
    for name, rows in _facts(document):
        for row in rows:
            lines.append(f"  {name:<{_WIDTH}}{row}")
            name = ""
    return "\n".join(lines) + "\n"


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    yield "modules", [_modules(document)]
    yield "layers", _layers(document["modules"])
    yield "loaded", [_loaded(document["loaded"])]
    yield "device", [_device(document)]
    yield "ties", _few([" = ".join(map(safe, group)) for group in document["ties"]])
    for name in ("missing", "unexpected", "mismatched"):
        keys = [safe(key) for key in document[name]]
        yield name, [f"{plural(len(keys), 'key')}: {some(keys)}"] if keys else []
    yield "suggested", [f"--map {safe(each)}" for each in document["suggested"]]
    yield "renamed", _few([f"{safe(old)} -> {safe(new)}" for old, new in document["renamed"].items()])
    yield "not loaded", _few([f"{safe(key)}: {safe(why)}" for key, why in document["unloaded"].items()])
    yield "problems", _few([safe(each) for each in document["problems"]])
    lost = [f"{safe(name)} ({why}): in no state dict" for name, why in document["lost_on_save"].items()]
    yield "lost", _few(lost)
    yield "left out", _few([f"hook {safe(each)}" for each in document["hooks"]] + _odd(document["odd"]))
    yield "unknown", _unknown(document["modules"])
    reasons = document["cannot_run"]
    more = f" ({len(reasons) - 1} more: --format json)" if len(reasons) > 1 else ""
    yield "forward", [f"raises: {safe(reasons[0])}{more}" if reasons else "runs"]


def _few(rows: list[str]) -> list[str]:
    more = len(rows) - _MOST
    return rows if more <= 0 else [*rows[:_MOST], f"and {grouped(more)} more (--format json)"]


def _odd(names: Sequence[str]) -> list[str]:
    return [f"attribute {safe(name)}" for name in names]


def _modules(document: Mapping[str, Any]) -> str:
    name = f", of class {safe(document['class'])}" if document["class"] else ""
    return f"{grouped(len(document['modules']))}{name}"


def _layers(modules: Sequence[Mapping[str, Any]]) -> list[str]:
    counts = Counter((each["layer"], each["confidence"]) for each in modules if each["layer"])
    rows = [
        f"{safe(layer)} ×{count}" + ("" if confidence == "certain" else f"  {confidence}")
        for (layer, confidence), count in counts.items()
    ]
    return _few(rows)


def _loaded(loaded: Mapping[str, Mapping[str, int]]) -> str:
    share = loaded["from_file"]
    told = [f"{plural(share['tensors'], 'tensor')}, {size(share['bytes'])} from the file"]
    for source, words in _ORIGINS.items():
        if loaded[source]["tensors"]:
            told.append(f"{grouped(loaded[source]['tensors'])} {words}")
    return "; ".join(told)


def _device(document: Mapping[str, Any]) -> str:
    (device,) = document["devices"]
    tags = [f"{grouped(count)} tagged {safe(tag)}" for tag, count in document["moved"].items()]
    return f"{device} ({', '.join(tags)} in the file)" if tags else str(device)


def _unknown(modules: Sequence[Mapping[str, Any]]) -> list[str]:
    rows: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for each in modules:
        if each["unknown"]:
            rows.setdefault((each["layer"] or "", tuple(each["unknown"])), []).append(
                safe(each["path"] or "(model)")
            )
    return _few(
        [f"{', '.join(unknown)} of {layer} {some(paths, 3)}" for (layer, unknown), paths in rows.items()]
    )
