"""The containers that pickles travel in, written by hand so that they can lie."""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Any

from tests.hostile.case import raw

FOUR_FLOATS = bytes(16)


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a zip; each field but the first two defaults to the truth."""

    name: str
    data: bytes
    method: int = 0
    flags: int = 0
    crc: int | None = None
    nbytes: int | None = None
    packed: int | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    local_flags: int | None = None
    header: int | None = None
    extra: bytes = b""


def zipped(entries: Sequence[Entry], *, count: int | None = None, directory_at: int | None = None) -> bytes:
    """A zip archive of `entries`, as honest as they are."""
    body, directory = b"", b""
    for entry in entries:
        local, central = _headers(entry, len(body))
        body += local
        directory += central
    total = len(entries) if count is None else count
    start = len(body) if directory_at is None else directory_at
    return body + directory + pack("<4s4H2LH", b"PK\5\6", 0, 0, total, total, len(directory), start, 0)


def _headers(entry: Entry, at: int) -> tuple[bytes, bytes]:
    name = entry.name.encode("utf-8", "surrogateescape")
    stored = entry.data if entry.method != 8 else _deflated(entry.data)
    crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
    nbytes = len(entry.data) if entry.nbytes is None else entry.nbytes
    packed = len(stored) if entry.packed is None else entry.packed
    shown = name if entry.local_name is None else entry.local_name
    method = entry.method if entry.local_method is None else entry.local_method
    flags = entry.flags if entry.local_flags is None else entry.local_flags
    local = pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 0, crc, packed, nbytes, len(shown), 0)
    central = pack(
        "<4s6H3L5H2L", b"PK\1\2", 20, 20, entry.flags, entry.method, 0, 0, crc, packed, nbytes, len(name),
        len(entry.extra), 0, 0, 0, 0, at if entry.header is None else entry.header,
    )  # fmt: skip
    return local + shown + stored, central + name + entry.extra


def _deflated(data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush()


def torch_zip_bytes(pickled: bytes, *more: Entry, **lies: Any) -> bytes:
    """What torch.save writes: `pickled` as data.pkl and one storage of four floats."""
    entries = [
        Entry("a/data.pkl", pickled, **lies),
        Entry("a/byteorder", b"little"),
        Entry("a/data/0", FOUR_FLOATS),
        Entry("a/version", b"3\n"),
        *more,
    ]
    return zipped(entries)


def torch_zip(pickled: bytes | Callable[[], bytes], *more: Entry, **lies: Any) -> Callable[[Path], Path]:
    """A builder of a torch zip around `pickled`."""
    return raw(lambda: torch_zip_bytes(pickled() if callable(pickled) else pickled, *more, **lies))


def legacy_bytes(pickled: bytes, storages: bytes = b"") -> bytes:
    """What torch.save wrote before 1.6: magic, protocol, system info, the object, storage keys, storages."""
    heads = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
    keys: list[str] = ["0"] if storages else []
    front = b"".join(pickle.dumps(part, 2) for part in heads)
    return front + pickled + pickle.dumps(keys, 2) + storages


def legacy_storage() -> bytes:
    """The four floats behind a legacy pickle."""
    return pack("<q", 4) + FOUR_FLOATS


def tar_bytes(pickled: bytes) -> bytes:
    """What torch 0.1 saved: a tar of sys_info, pickle, tensors and storages."""
    out = io.BytesIO()
    none = pickle.dumps(0, 2)
    members = {"sys_info": pickle.dumps({"little_endian": True}, 2), "pickle": pickled}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {**members, "tensors": none, "storages": none}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def safetensors_bytes(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file around this header."""
    return len(header).to_bytes(8, "little") + header + data
