"""Honest files that other scanners shout at."""

from __future__ import annotations

import json
from struct import pack

from tests.hostile import assemble as a
from tests.hostile.case import Case, raw
from tests.hostile.containers import Entry, legacy_bytes, safetensors_bytes, torch_zip, zipped

_PICKLE = a.whole(a.call(a.name("posix", "system"), a.text("true")))


def _saved(pickled: bytes, data: bytes = bytes(16), crc: int | None = None) -> bytes:
    names = {"a/data.pkl": pickled, "a/byteorder": b"little", "a/data/0": data, "a/version": b"3\n"}
    return zipped([Entry(name, member, crc=crc) for name, member in names.items()])


def _bytes_tensor(data: bytes) -> bytes:
    memory = a.storage(numel=len(data), kind="ByteStorage")
    return a.whole(a.items(a.text("rng_state"), a.tensor(memory, shape=(len(data),))))


def _safe(tensors: dict[str, bytes], padded: int = 0) -> bytes:
    header, at = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    return safetensors_bytes(text.ljust(max(padded, -(-len(text) // 8) * 8)), b"".join(tensors.values()))


_SCARY = ("os.system", "eval", "__reduce__", "exec.weight", "builtins.getattr", "subprocess", "posix\nsystem")
_STATE = a.whole(a.items(*(a.text(key) + a.tensor() for key in _SCARY)))
_UNKNOWN = a.name("unknown.layers", "Linear") + a.EMPTY_TUPLE + a.NEWOBJ
_MODULE = a.items(
    a.text("training"), b"\x88",
    a.text("_modules"), a.call(a.name("collections", "OrderedDict")),
    a.text("_buffers"), a.call(a.name("collections", "OrderedDict")),
    a.text("_parameters"), a.items(a.text("weight"), a.tensor()),
)  # fmt: skip

CASES = (
    Case("a tensor of bytes that are a pickle", "honest", raw(_saved(_bytes_tensor(_PICKLE), _PICKLE))),
    Case("a tensor of bytes that are a zip", "honest", raw(_saved(_bytes_tensor(_saved(_PICKLE)),
    _saved(_PICKLE)))),
    Case("a storage of bytes that are a pickle", "honest",
         raw(_saved(a.whole(a.storage(numel=len(_PICKLE), kind="ByteStorage")), _PICKLE))),
    Case("legacy tensor of bytes that are a pickle", "honest",
         raw(legacy_bytes(_bytes_tensor(_PICKLE), pack("<q", len(_PICKLE)) + _PICKLE))),
    Case("saved with CRC off", "honest", raw(_saved(_STATE, crc=0))),
    Case("scary key names", "honest", torch_zip(_STATE)),
    Case("scary text", "honest", torch_zip(a.whole(a.items(a.text("note"),
    a.text("cos\nsystem\n(S'x'\ntR."))))),
    Case("a package named unknown", "honest", torch_zip(a.whole(_UNKNOWN + _MODULE + a.BUILD))),
    Case("safetensors of pickle bytes", "honest", raw(_safe({"weight": _PICKLE}))),
    Case("safetensors with scary names", "honest", raw(_safe(dict.fromkeys(_SCARY[:-1], b"x")))),
    *(Case(f"safetensors whose header is {size} bytes long", "honest", raw(_safe({"w": b"xy"}, size)))
      for size in (0x80, 0x280, 0x480, 0x580, 0x5D80, 0x128, 0x150, 0x7D8)),
)  # fmt: skip
