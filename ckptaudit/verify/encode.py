"""Observations as JSON values, and back. Tensors are told by their digests: they lie beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ckptaudit.verify.facts import Checks, Event, Load, Module, Observation, Weight
from ckptaudit.verify.leaves import PLAIN, Leaf


def encode(found: Observation) -> dict[str, Any]:
    """All of it but tensors and the samples of events."""
    return {
        "environment": dict(found.environment),
        "settings": dict(found.settings),
        "weights": {name: list(weight) for name, weight in found.weights.items()},
        "ties": [list(group) for group in found.ties],
        "modules": {
            path: [*module[:2], dict(module.config), *module[3:]] for path, module in found.modules.items()
        },
        "load": None if found.load is None else asdict(found.load),
        "inputs": [[_leaf(leaf) for leaf in case] for case in found.inputs],
        "outputs": [[_leaf(leaf) for leaf in case] for case in found.outputs],
        "trace": [[_event(event) for event in case] for case in found.trace],
        "checks": asdict(found.checks),
        "cannot": found.cannot,
    }


def _leaf(leaf: Leaf) -> list[Any]:
    return [
        leaf.name,
        leaf.dtype,
        list(leaf.shape),
        leaf.digest,
        None if leaf.is_tensor else _plain(leaf.value),
    ]


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _event(event: Event) -> list[Any]:
    return [
        event.kind,
        event.module,
        event.digest,
        list(event.reads),
        [len(numbers) for _, numbers in event.sample],
    ]


def decode(data: Mapping[str, Any], samples: list[list[float]] | None = None) -> Observation:
    """The observation that `encode` told of; `samples` are the numbers of each case's events, in a row.

    Raises KeyError, TypeError or ValueError where it is none.
    """
    load = data["load"]
    return Observation(
        environment=dict(data["environment"]),
        settings=dict(data["settings"]),
        weights={
            name: Weight(row[0], row[1], tuple(row[2]), *row[3:]) for name, row in data["weights"].items()
        },
        ties=tuple(map(tuple, data["ties"])),
        modules={path: Module(*row) for path, row in data["modules"].items()},
        load=None if load is None else Load(**_fields(Load, load)),
        inputs=tuple(tuple(map(_to_leaf, case)) for case in data["inputs"]),
        outputs=tuple(tuple(map(_to_leaf, case)) for case in data["outputs"]),
        trace=tuple(
            _to_events(case, samples[place] if samples else None) for place, case in enumerate(data["trace"])
        ),
        checks=Checks(**_fields(Checks, data["checks"])),
        cannot=str(data["cannot"]),
    )


def _fields(kind: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    return {
        name: tuple(value) if isinstance(value, list | tuple) else value
        for name, value in data.items()
        if name in known
    }


def _to_leaf(row: list[Any]) -> Leaf:
    name, dtype, shape, digest, value = row
    return Leaf(str(name), str(dtype), tuple(map(int, shape)), str(digest), value if dtype == PLAIN else None)


def _to_events(rows: list[list[Any]], numbers: list[float] | None) -> tuple[Event, ...]:
    found = []
    at = 0
    for kind, module, digest, reads, sizes in rows:
        sample = []
        for size in sizes if numbers else ():
            sample.append((numbers[at], tuple(numbers[at + 1 : at + 1 + size])))  # type: ignore[index]
            at += 1 + size
        found.append(Event(kind, module, digest, tuple(reads), tuple(sample)))
    return tuple(found)


def samples_of(events: tuple[Event, ...]) -> list[float]:
    """The numbers of all events in a row, each sample after its largest magnitude."""
    return [number for event in events for largest, sample in event.sample for number in (largest, *sample)]
