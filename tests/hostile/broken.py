"""Files that are damaged, are something else, or contradict themselves; and lies about tensors."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from tests.hostile import assemble as a
from tests.hostile.case import Case, Kind, raw
from tests.hostile.containers import (
    Entry,
    legacy_bytes,
    legacy_storage,
    safetensors_bytes,
    tar_bytes,
    torch_zip,
    torch_zip_bytes,
    zipped,
)

GOOD = a.whole(a.items(a.text("weight"), a.tensor()))
_ZIP = torch_zip_bytes(GOOD)
_LEGACY = legacy_bytes(GOOD, legacy_storage())
_TAR = tar_bytes(GOOD)
_SAFE_HEADER = b'{"weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
_SAFE = safetensors_bytes(_SAFE_HEADER, bytes(16))
_END = _ZIP.index(b"PK\5\6")
_DIRECTORY = _ZIP.index(b"PK\1\2")


def _case(name: str, data: bytes | Callable[[], bytes], *says: str, kind: Kind = "broken") -> Case:
    return Case(name, kind, raw(data), says=says)


def _changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


_NOT_CHECKPOINTS = (
    _case("empty file", b"", "empty"),
    _case("one byte", b"\x80"),
    _case("HTML page saved as .pt", b"<!DOCTYPE html>\n<html><body>404: Not Found</body></html>", "HTML"),
    _case("JSON error saved as .pt", b'{"error": "Repository not found"}'),
    _case("zeros", bytes(4096)),
    _case("text", b"This model was moved.\n"),
    _case("an empty zip", zipped([]), "zip"),
    _case("a zip of text", zipped([Entry("a/readme.txt", b"hello")])),
)
_TRUNCATED = (
    _case("zip: first header only", _ZIP[:30], "zip"),
    _case("zip: within data.pkl", _ZIP[:60], "zip"),
    _case("zip: without directory", _ZIP[:_DIRECTORY], "zip"),
    _case("zip: within its directory", _ZIP[: _DIRECTORY + 60], "zip"),
    _case("zip: within its end", _ZIP[:-5], "zip"),
    _case("legacy: within its magic", _LEGACY[:9]),
    _case("legacy: within the object", _LEGACY[: _LEGACY.index(b"_rebuild") + 4]),
    _case("legacy: within the storage keys", _LEGACY[: _LEGACY.rindex(b"]") + 1]),
    _case("legacy: within a storage", _LEGACY[:-3]),
    _case("tar: within its pickle", _TAR[:2100]),
    _case("tar: its first header", _TAR[:512]),
    _case("raw pickle: within", GOOD[:-9], "STOP"),
    _case("safetensors: within its header", _SAFE[:30]),
    _case("safetensors: within its data", _SAFE[:-1]),
    _case("safetensors: its length", _SAFE[:8]),
)
_CONTRADICTIONS = (
    _case(
        "zip: local header with another name",
        zipped(
            [
                Entry("a/data.pkl", GOOD, local_name=b"a/date.pkl"),
                Entry("a/data/0", bytes(16)),
                Entry("a/version", b"3\n"),
            ]
        ),
        "data.pkl",
        "name",
    ),
    _case("zip: encrypted flag", torch_zip_bytes(GOOD, flags=1), "data.pkl", "encrypted"),
    _case("zip: flag in the local header only", torch_zip_bytes(GOOD, local_flags=1), "data.pkl"),
    _case("zip: method differs", torch_zip_bytes(GOOD, local_method=8), "data.pkl"),
    _case("zip: unknown method", torch_zip_bytes(GOOD, method=99), "data.pkl", "99"),
    _case(
        "zip: duplicate data.pkl",
        torch_zip_bytes(GOOD, Entry("a/data.pkl", a.whole(a.NONE))),
        "data.pkl",
        "twice",
    ),
    _case(
        "zip: case-colliding storage", torch_zip_bytes(GOOD, Entry("a/DATA/0", bytes(16))), "DATA/0", "twice"
    ),
    _case(
        "zip: absolute name",
        torch_zip_bytes(GOOD, Entry("/etc/cron.d/job", b"x")),
        "/etc/cron.d/job",
        "outside",
    ),
    _case("zip: name with ..", torch_zip_bytes(GOOD, Entry("a/../../x", b"x")), "../../x", "outside"),
    _case("zip: name of a drive", torch_zip_bytes(GOOD, Entry("C:\\x", b"x")), "outside"),
    _case("zip: name with a NUL", torch_zip_bytes(GOOD, Entry("a/data.pkl\0.txt", b"x"))),
    _case("zip: stored, but larger inflated", torch_zip_bytes(GOOD, nbytes=len(GOOD) + 40), "data.pkl"),
    _case(
        "zip: member past the end",
        torch_zip_bytes(GOOD, packed=10**6, nbytes=10**6),
        "data.pkl",
        "not in the file",
    ),
    _case("zip: header past the end", torch_zip_bytes(GOOD, header=10**6), "data.pkl", "not in the file"),
    _case(
        "zip: header inside another member", torch_zip_bytes(GOOD, header=7), "data.pkl", "not in the file"
    ),
    _case(
        "zip: more members told", zipped([Entry("a/data.pkl", GOOD), Entry("a/version", b"3")], count=9), "9"
    ),
    _case(
        "zip: directory elsewhere",
        zipped([Entry("a/data.pkl", GOOD), Entry("a/version", b"3")], directory_at=10**8),
        "directory",
    ),
    _case("zip: zip64 without its record", _changed(_ZIP, _END + 16, b"\xff" * 4), "zip64"),
    _case(
        "zip: zip64 sizes past the end",
        torch_zip_bytes(GOOD, packed=0xFFFFFFFF, nbytes=0xFFFFFFFF, extra=pack("<2H2Q", 1, 16, 2**62, 2**62)),
        "data.pkl",
    ),
    _case(
        "zip: zip64 field cut short",
        torch_zip_bytes(GOOD, packed=0xFFFFFFFF, nbytes=0xFFFFFFFF, extra=pack("<2H", 1, 16)),
        "data.pkl",
    ),
    _case("zip: trailing junk", _ZIP + b"<script>alert(1)</script>", "after the end"),
    _case("zip: junk in front", b"\0junk" + _ZIP),
    _case("zip: no version", zipped([Entry("a/data.pkl", GOOD), Entry("a/data/0", bytes(16))]), "version"),
    _case(
        "zip: deflate broken",
        zipped([Entry("a/data.pkl", GOOD, method=8, packed=20), Entry("a/version", b"3")]),
        "data.pkl",
        "inflate",
    ),
    _case("pickle: bytes after STOP", torch_zip_bytes(GOOD + b"junk"), "after the end", "data.pkl"),
    _case("pickle: unknown opcode", torch_zip_bytes(GOOD[:-1] + b"\xff."), "0xff", "data.pkl"),
    _case("pickle: protocol 6", torch_zip_bytes(b"\x80\x06N."), "protocol 6"),
    _case("pickle: frame too long", torch_zip_bytes(b"\x80\x04\x95" + pack("<Q", 10**9) + b"N."), "frame"),
    _case("pickle: memo entry never stored", torch_zip_bytes(a.whole(b"h\x07")), "memo", "7"),
    _case("pickle: STOP with nothing to give", torch_zip_bytes(b"\x80\x02."), "underflow"),
    _case("pickle: unhashable key", torch_zip_bytes(a.whole(b"}]Ns")), "unhashable"),
    _case("legacy: trailing junk", _LEGACY + b"junk"),
    _case("legacy: storage told longer", _changed(_LEGACY, len(_LEGACY) - 24, pack("<q", 10**12))),
    _case("legacy: storage of negative size", _changed(_LEGACY, len(_LEGACY) - 24, pack("<q", -1))),
)


def _lie(name: str, tensor: bytes, *says: str) -> Case:
    pickled = a.whole(a.items(a.text("weight"), tensor))
    return Case(f"tensor: {name}", "lies", torch_zip(pickled), says=says)


def _safe(name: str, header: bytes, *says: str, data: bytes = bytes(16)) -> Case:
    return Case(f"safetensors: {name}", "lies", raw(safetensors_bytes(header, data)), says=says)


def _polyglot() -> bytes:
    # A pickle begins with the header's length: 0x58 is BINUNICODE, of 25 characters, which end inside the
    # metadata; strings of Python 2 (U, length, text) then lead to the data, which are its last opcodes.
    front, code = '{"__metadata__":{"x":"', a.call(a.name("posix", "system"), a.text("true")) + a.STOP
    back = f'"}},"w":{{"dtype":"U8","shape":[{len(code)}],"data_offsets":[0,{len(code)}]}}}}'
    strings = "".join(f"U{chr(size)}{'a' * size}" for size in (*[126] * 49, 90, 100))
    header = front + strings[: -len(back)] + back  # 0x58 + 25 * 256 bytes
    return safetensors_bytes(header.encode(), code)


_TENSOR_LIES = (
    _lie("view past its storage", a.tensor(shape=(5,)), "weight"),
    _lie("offset past its storage", a.tensor(offset=4), "weight"),
    _lie("stride past its storage", a.tensor(shape=(2,), stride=(9,)), "weight"),
    _lie(
        "stride past its storage behind a zero stride",
        a.tensor(shape=(2**63 - 1, 2), stride=(0, 9)),
        "weight",
    ),
    _lie("overflowing shape", a.tensor(shape=(2**62, 2**62), stride=(2**62, 1)), "weight"),
    _lie("shape over 64 bits", a.tensor(shape=(2**64,)), "weight"),
    _lie("negative shape", a.tensor(shape=(-1,)), "weight"),
    _lie("negative stride", a.tensor(stride=(-1,)), "weight"),
    _lie("negative offset", a.tensor(offset=-1), "weight"),
    _lie("more strides than sizes", a.tensor(stride=(1, 1)), "weight"),
    _lie("too many dimensions", a.tensor(shape=(1,) * 200, stride=(1,) * 200), "weight"),
    _lie("record shorter than told", a.tensor(a.storage(numel=1000), shape=(1000,)), "0"),
    _lie("record longer than told", a.tensor(a.storage(numel=2), shape=(2,)), "0"),
    _lie("negative storage", a.tensor(a.storage(numel=-4)), "weight"),
    _lie("overflowing storage", a.tensor(a.storage(numel=2**70)), "weight"),
    _lie("missing record", a.tensor(a.storage("17")), "17"),
    _lie(
        "storage key that climbs", a.tensor(a.storage("../version", numel=2, kind="ByteStorage"), shape=(2,))
    ),
    _lie("unknown storage type", a.tensor(a.storage(kind="EvilStorage")), "weight"),
    _lie("no storage", a.tensor(a.NONE), "weight"),
    _lie("too few arguments", a.call(a.name("torch._utils", "_rebuild_tensor_v2"), a.storage()), "weight"),
    _lie(
        "a dtype that is none",
        a.call(
            a.name("torch._utils", "_rebuild_tensor_v3"),
            a.storage(kind="UntypedStorage", numel=16),
            a.number(0),
            a.row(a.number(4)),
            a.row(a.number(1)),
            b"\x89",
            a.NONE,
            a.name("torch", "evil"),
        ),
        "weight",
    ),
    Case(
        "tensor: one storage key with two types",
        "lies",
        torch_zip(
            a.whole(a.items(a.text("x"), a.tensor(), a.text("y"), a.tensor(a.storage(kind="DoubleStorage"))))
        ),
        says=("float32", "float64"),
    ),
    _safe(
        "offsets overlap",
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
        b'"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
    ),
    _safe("hole", b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'),
    _safe("offsets past the end", b'{"a":{"dtype":"F32","shape":[40],"data_offsets":[0,160]}}'),
    _safe("shape and offsets differ", b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}', "a"),
    _safe("negative shape", b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}'),
    _safe(
        "overflowing shape", b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}'
    ),
    _safe("unknown dtype", b'{"a":{"dtype":"F33","shape":[4],"data_offsets":[0,16]}}', "F33"),
    _safe("offsets backwards", b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}'),
    _safe(
        "a name twice",
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
        b'"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        "a",
    ),
    _safe("trailing bytes", _SAFE_HEADER, data=bytes(20)),
    _safe("header that is a list", b"[]"),
    _safe("header that is no JSON", b"{not json}"),
    _safe("NaN for a size", b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'),
    _safe(
        "a size of 10,000 digits",
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,16]}}',
    ),
    Case("safetensors: header of 2**63 bytes", "lies", raw(pack("<Q", 2**63) + b"{}" + bytes(100))),
    Case("safetensors: header longer than the file", "lies", raw(pack("<Q", 5000) + b'{"a":1}' + bytes(100))),
    Case("safetensors that is also a pickle", "lies", raw(_polyglot), says=("pickle",)),
)

CASES = (*_NOT_CHECKPOINTS, *_TRUNCATED, *_CONTRADICTIONS, *_TENSOR_LIES)
