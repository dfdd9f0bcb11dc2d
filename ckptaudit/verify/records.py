"""The golden record: one safetensors file with inputs, outputs and all that was observed.

The header holds the observation as JSON under `ckptaudit.record/1`, sealed by a digest; every tensor is told
by its own. A record that was edited or cut is refused, not compared. Reading needs no torch.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

from ckptaudit.errors import CkptAuditError
from ckptaudit.locate import read_at
from ckptaudit.model import Checkpoint, TensorMeta
from ckptaudit.source import LocalFile
from ckptaudit.verify.encode import decode, encode, samples_of
from ckptaudit.verify.facts import Observation
from ckptaudit.verify.leaves import Leaf
from ckptaudit.verify.lib import library
from ckptaudit.verify.pack import WORDS, pack, unpacked

SCHEMA = "ckptaudit.record/1"
_SAMPLES = 2**21  # numbers of events that are kept
# What safetensors has no word for is kept as what it is made of.
_AS = {"complex128": ("float64", (2,)), "complex32": ("float16", (2,))}


class RecordError(CkptAuditError):
    """A file is no golden record, or not the one that was written; or a model cannot be recorded."""


def dump(found: Observation) -> bytes:
    """The file. The same observation gives the same bytes."""
    tensors = {name: _stored(leaf) for name, leaf in _tensors(found)}
    left = _SAMPLES
    events = []
    for place, case in enumerate(found.trace):
        numbers = samples_of(case)
        left -= len(numbers)
        kept = left >= 0 and bool(numbers)
        events.append(kept)
        if kept:
            tensors[f"trace.{place}"] = library().tensor(numbers, dtype=library().float64)
    body = {**encode(found), "samples": events}
    digests = {
        f"trace.{place}": sha256(array("d", samples_of(case)).tobytes()).hexdigest()
        for place, case in enumerate(found.trace)
        if events[place]
    }
    sealed = {"body": body, "trace": digests}
    return pack(tensors, {SCHEMA: json.dumps({"seal": _seal(sealed), **sealed})})


def _seal(sealed: Any) -> str:
    return sha256(json.dumps(sealed, sort_keys=True).encode("ascii")).hexdigest()


def _tensors(found: Observation) -> Iterator[tuple[str, Leaf]]:
    for kind, cases in (("input", found.inputs), ("output", found.outputs)):
        for place, case in enumerate(cases):
            yield from ((f"{kind}.{place}.{leaf.name}", leaf) for leaf in case if leaf.is_tensor)


def _stored(leaf: Leaf) -> Any:
    torch = library()
    if leaf.dtype in _AS:
        return torch.view_as_real(leaf.value).clone()
    if leaf.dtype in WORDS:
        return leaf.value
    return (
        leaf.value.reshape(-1).view(torch.uint8) if leaf.value.numel() else torch.empty(0, dtype=torch.uint8)
    )


def _restored(leaf: Leaf, tensor: Any) -> Any:
    torch = library()
    if leaf.dtype in _AS:
        return torch.view_as_complex(tensor)
    if leaf.dtype in WORDS:
        return tensor
    word = leaf.dtype.partition(" ")[0]
    return tensor.view(getattr(torch, word)).reshape(leaf.shape)


def load(path: str, *, values: bool = False) -> Observation:
    """The observation in a record; its leaves hold their tensors where `values` asks for them (torch).

    Raises RecordError where it is no record, or was changed after it was written; CkptAuditError where the
    file cannot be read.
    """
    checkpoint = read_at(path)
    text = checkpoint.metadata.get(SCHEMA)
    if text is None or checkpoint.format != "safetensors":
        raise RecordError(path, "is no golden record", remedy="make one with ckptaudit record")
    if checkpoint.problems:
        raise RecordError(path, checkpoint.problems[0].detail)
    try:
        data = json.loads(text)
        sealed = {"body": data["body"], "trace": data["trace"]}
        if data["seal"] != _seal(sealed):
            raise RecordError(path, "was edited after it was written", where="header")
        found = decode(data["body"], _samples(checkpoint, data))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise RecordError(path, f"is no golden record ({type(error).__name__}: {error})") from None
    _check(path, checkpoint, found)
    return _valued(checkpoint, found) if values else found


def _samples(checkpoint: Checkpoint, data: Any) -> list[list[float]]:
    found = []
    for place, kept in enumerate(data["body"]["samples"]):
        numbers = array("d")
        if kept:
            raw = _bytes(checkpoint, checkpoint.tensors[(f"trace.{place}",)])
            if sha256(raw).hexdigest() != data["trace"][f"trace.{place}"]:
                raise RecordError(checkpoint.path, "was edited after it was written", where=f"trace.{place}")
            numbers.frombytes(raw)
        found.append(list(numbers))
    return found


def _bytes(checkpoint: Checkpoint, row: TensorMeta) -> bytes:
    span = checkpoint.storages[row.storage].span
    if span is None:
        return b""
    with LocalFile(span.file) as file:
        return file.read(span.start, span.nbytes)


def _check(path: str, checkpoint: Checkpoint, found: Observation) -> None:
    """Every tensor is what the header says of it."""
    if not found.cannot and not found.outputs:
        raise RecordError(path, "holds no outputs")
    for name, leaf in _tensors(found):
        row = checkpoint.tensors.get((name,))
        if row is None:
            raise RecordError(path, "is not in the record", where=name)
        dtype, tail = _AS.get(leaf.dtype, (leaf.dtype, ()))
        expected = (dtype, (*leaf.shape, *tail))
        if leaf.dtype in (*_AS, *WORDS) and (row.dtype, row.shape) != expected:
            raise RecordError(path, "has another dtype or shape than when it was written", where=name)
        if sha256(_bytes(checkpoint, row)).hexdigest() != leaf.digest:
            raise RecordError(path, "was edited after it was written", where=name)


def _valued(checkpoint: Checkpoint, found: Observation) -> Observation:
    def fill(kind: str, cases: tuple[tuple[Leaf, ...], ...]) -> tuple[tuple[Leaf, ...], ...]:
        def value(place: int, leaf: Leaf) -> Any:
            row = checkpoint.tensors[(f"{kind}.{place}.{leaf.name}",)]
            return _restored(leaf, unpacked(_bytes(checkpoint, row), row.dtype, row.shape or ()))

        return tuple(
            tuple(leaf._replace(value=value(place, leaf)) if leaf.is_tensor else leaf for leaf in case)
            for place, case in enumerate(cases)
        )

    return replace(found, inputs=fill("input", found.inputs), outputs=fill("output", found.outputs))
