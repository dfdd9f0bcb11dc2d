"""Bad and good files for the rules on integrity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ckptaudit.limits import Limits
from tests.hostile import assemble as a
from tests.hostile.case import raw
from tests.hostile.containers import (
    Entry,
    legacy_bytes,
    legacy_storage,
    safetensors_bytes,
    torch_zip,
    torch_zip_bytes,
    zipped,
)
from tests.rules.case import Case, bad, fixture, good

_GOOD = a.whole(a.items(a.text("weight"), a.tensor()))
_ZIP = torch_zip_bytes(_GOOD)
_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 12345\n"
_ROW = '"%s":{"dtype":"F32","shape":[4],"data_offsets":[%d,%d]}'


def _pt(body: bytes) -> Callable[[Path], Path]:
    return torch_zip(a.whole(body))


def _safe(header: str, nbytes: int) -> bytes:
    return safetensors_bytes(header.encode(), bytes(nbytes))


def _one(name: str = "w") -> bytes:
    return _safe("{" + _ROW % (name, 0, 16) + "}", 16)


def _absent(folder: Path) -> Path:
    return folder / "not there.pt"


def _sharded(
    weight_map: dict[str, str], total: int | None = 32, files: dict[str, bytes] | None = None
) -> Callable[[Path], Path]:
    shards = {"m-00001-of-00002.safetensors": _one("a"), "m-00002-of-00002.safetensors": _one("b")}

    def build(folder: Path) -> Path:
        for name, data in {**shards, **(files or {})}.items():
            (folder / name).write_bytes(data)
        index: dict[str, Any] = {"weight_map": weight_map}
        if total is not None:
            index["metadata"] = {"total_size": total}
        path = folder / "m.safetensors.index.json"
        path.write_text(json.dumps(index))
        return path

    return build


_MAP = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}
_FLIPPED = _ZIP.replace(b"little", b"litt1e")

CASES: tuple[Case, ...] = (
    bad("unreadable-file", "error", "no such file", _absent, "No such file"),
    bad("unreadable-file", "error", "an empty folder", lambda folder: folder, "no checkpoint"),
    good("unreadable-file", "a file", raw(_ZIP)),
    bad("unsupported-format", "error", "GGUF", raw(b"GGUF" + bytes(60)), "GGUF"),
    good("unsupported-format", "safetensors under another suffix", raw(_one(), "x.gguf")),
    bad("not-fetched", "error", "a git-LFS pointer", raw(_LFS), "git-LFS", "12,345 bytes"),
    bad(
        "not-fetched",
        "error",
        "a shard that is one",
        _sharded(_MAP, files={"m-00002-of-00002.safetensors": _LFS}),
        "1 shard not fetched",
    ),
    good("not-fetched", "a member that is one", raw(torch_zip_bytes(_GOOD, Entry("a/extra/x", _LFS)))),
    bad("malformed-file", "error", "empty", raw(b""), "empty"),
    bad("malformed-file", "error", "no format at all", raw(bytes(range(200, 240))), "not a format"),
    bad("unsupported-format", "error", "a web page", raw(b"<!DOCTYPE html><html>404</html>"), "HTML"),
    bad(
        "malformed-file",
        "error",
        "bytes of two tensors",
        raw(_safe("{" + _ROW % ("v", 0, 16) + "," + _ROW % ("w", 8, 24) + "}", 24)),
        "another tensor",
    ),
    good("malformed-file", "legacy", raw(legacy_bytes(_GOOD, legacy_storage()))),
    bad(
        "limit-reached",
        "error",
        "more objects than allowed",
        _pt(a.row(*[a.text("x")] * 2000)),
        "--limit objects",
        limits=Limits(objects=1000),
    ),
    good("limit-reached", "a checkpoint", fixture("tiny_gpt.pt")),
    bad(
        "missing-record",
        "error",
        "a storage without its record",
        _pt(a.items(a.text("w"), a.tensor(a.storage("7")))),
        "data/7",
    ),
    good("missing-record", "every storage is there", raw(_ZIP)),
    bad(
        "storage-size-mismatch",
        "error",
        "a record of another size",
        _pt(a.items(a.text("w"), a.tensor(a.storage(numel=5), shape=(5,)))),
        "20 bytes",
        "has 16",
    ),
    bad(
        "storage-size-mismatch",
        "error",
        "offsets of another size",
        raw(_safe('{"w":{"dtype":"F16","shape":[4],"data_offsets":[0,16]}}', 16)),
        "takes 8",
    ),
    good("storage-size-mismatch", "all sizes agree", raw(_one())),
    bad(
        "storage-type-mismatch",
        "error",
        "one key, two types",
        _pt(a.items(a.text("v"), a.tensor(), a.text("w"), a.tensor(a.storage(kind="IntStorage")))),
        "int32",
    ),
    good("storage-type-mismatch", "one key, two views", fixture("views.pt")),
    bad(
        "tensor-outside-storage",
        "error",
        "a view past the end",
        _pt(a.items(a.text("w"), a.tensor(shape=(3,), stride=(2,)))),
        "needs 20 bytes",
    ),
    good(
        "tensor-outside-storage",
        "a view to the very end",
        _pt(a.items(a.text("w"), a.tensor(shape=(2,), stride=(3,)))),
    ),
    bad(
        "duplicate-name",
        "error",
        "twice in a header",
        raw(_safe("{" + _ROW % ("w", 0, 16) + "," + _ROW % ("w", 0, 16) + "}", 16)),
        "twice",
    ),
    bad(
        "duplicate-name",
        "error",
        "in two shards",
        _sharded(
            _MAP | {"a": "m-00001-of-00002.safetensors"},
            None,
            {
                "m-00002-of-00002.safetensors": _safe(
                    "{" + _ROW % ("a", 0, 16) + "," + _ROW % ("b", 16, 32) + "}", 32
                )
            },
        ),
        "more than one shard",
    ),
    good("duplicate-name", "each once", fixture("sharded_safetensors/model.safetensors.index.json")),
    bad(
        "index-mismatch",
        "error",
        "a shard that is not there",
        _sharded(_MAP | {"c": "m-00003.safetensors"}, None),
        "not there",
    ),
    bad(
        "index-mismatch",
        "error",
        "a path out of the folder",
        _sharded(_MAP | {"c": "../c.safetensors"}, None),
        "out of its folder",
    ),
    bad(
        "index-mismatch",
        "error",
        "in another shard",
        _sharded({"a": _MAP["b"], "b": _MAP["a"]}),
        "another shard",
    ),
    bad("index-mismatch", "error", "in no shard", _sharded({**_MAP, "c": _MAP["b"]}), "in no shard"),
    bad(
        "index-mismatch",
        "error",
        "not in the index",
        _sharded({"a": _MAP["a"], "c": _MAP["b"]}, None),
        "not in the index",
    ),
    bad("index-mismatch", "warning", "another total size", _sharded(_MAP, 31), "31 bytes"),
    bad(
        "index-mismatch",
        "warning",
        "a shard left over",
        _sharded(_MAP, files={"m-00003-of-00003.safetensors": _one("c")}),
        "does not name",
    ),
    good("index-mismatch", "both agree", _sharded(_MAP)),
    good("index-mismatch", "other files beside it", _sharded(_MAP, files={"other.safetensors": _one("c")})),
    bad("checksum-mismatch", "error", "a flipped bit", raw(_FLIPPED), "a/byteorder", "1 of 4", deep=True),
    bad(
        "checksum-mismatch",
        "note",
        "saved with checksums off",
        raw(
            zipped(
                [
                    Entry("a/data.pkl", _GOOD, crc=0),
                    Entry("a/data/0", bytes(16), crc=0),
                    Entry("a/version", b"3\n", crc=0),
                ]
            )
        ),
        "without checksums",
        deep=True,
    ),
    good("checksum-mismatch", "all as saved", raw(_ZIP), deep=True),
    good("checksum-mismatch", "deflated", raw(torch_zip_bytes(_GOOD, method=8)), deep=True),
)
