"""`Checkpoint.weights_only` against torch.load(weights_only=True) itself, on files made here."""

from __future__ import annotations

import argparse
import collections
import enum
import io
import pathlib
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is the oracle")
np = pytest.importorskip("numpy", reason="numpy values are saved too")

from ckptaudit import readers  # noqa: E402  (after the skip)
from tests.hostile import assemble as a  # noqa: E402
from tests.hostile.containers import (  # noqa: E402
    legacy_bytes,
    legacy_storage,
    tar_bytes,
    torch_zip_bytes,
)


class _Colour(enum.Enum):
    RED = 1


def _linear() -> Any:
    return torch.nn.Linear(3, 2)


def _optimized() -> Any:
    model = _linear()
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adam.step()
    return {"model": model.state_dict(), "optimizer": adam.state_dict(), "epoch": 3}


def _attributed() -> Any:
    made = collections.OrderedDict(a=torch.ones(2))
    made.note = "kept"  # type: ignore[attr-defined]
    return made


def _cycle() -> Any:
    made: list[Any] = []
    made.append(made)
    return made


def _subscripted() -> Any:
    tensor = torch.ones(2)
    tensor.note = "kept"
    return tensor


_SAVED: dict[str, Callable[[], Any]] = {
    "tensor": lambda: torch.ones(3),
    "list": lambda: [torch.ones(3), torch.zeros(2)],
    "state dict": lambda: _linear().state_dict(),
    "training checkpoint": _optimized,
    "parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "buffer": lambda: torch.nn.Buffer(torch.ones(3)),
    "every sort of number": lambda: {"a": 1, "b": 2.5, "c": True, "d": None, "e": 2**70, "f": -1,
        "g": 1 + 2j, "h": "é"},
    "containers": lambda: {"a": (1, (2, 3)), "b": [4, [5]], "c": {6, 7}, "d": {"e": {}}},
    "frozenset": lambda: frozenset({1}),
    "bytes": lambda: b"abc",
    "bytearray": lambda: bytearray(b"abc"),
    "range": lambda: range(3),
    "slice": lambda: slice(1),
    "Counter": lambda: collections.Counter("aab"),
    "defaultdict": lambda: collections.defaultdict(list),
    "deque": lambda: collections.deque([1]),
    "OrderedDict with an attribute": _attributed,
    "tensor with an attribute": _subscripted,
    "Namespace": lambda: argparse.Namespace(lr=0.1),
    "enum": lambda: _Colour.RED,
    "path": lambda: pathlib.PurePosixPath("a/b"),
    "numpy scalar": lambda: np.float64(1.5),
    "numpy array": lambda: np.ones(3),
    "dtype and device": lambda: (torch.float16, torch.device("cpu"), torch.Size([1, 2])),
    "layout": lambda: torch.strided,
    "generator": lambda: torch.Generator(),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse csr": lambda: torch.eye(3).to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 2, torch.qint8),
    "quantized by channel": lambda: torch.quantize_per_channel(
        torch.ones(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 0]), 0, torch.quint8),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "uint16": lambda: torch.ones(3, dtype=torch.uint16),
    "bool": lambda: torch.ones(3, dtype=torch.bool),
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "meta": lambda: torch.ones(3, device="meta"),
    "storage": lambda: torch.ones(3).untyped_storage(),
    "typed storage": lambda: torch.ones(3).storage(),
    "full module": _linear,
    "lazy module": lambda: torch.nn.LazyLinear(3),
    "lazy state dict": lambda: torch.nn.LazyLinear(3).state_dict(),
    "lazy buffers": lambda: torch.nn.LazyBatchNorm1d().state_dict(),
    "function": lambda: torch.nn.functional.relu,
    "class": lambda: torch.nn.Linear,
    "views": lambda: (lambda t: [t, t[2:], t.t() if t.dim() > 1 else t])(torch.ones(6)),
    "empty": lambda: torch.ones(0),
    "key that is a tuple": lambda: {("a", 1): torch.ones(1)},
    "cycle": _cycle,
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _accepted_by_torch(path: Path) -> bool:
    try:
        torch.load(path, weights_only=True)
    except Exception:
        return False
    return True


def _check(path: Path) -> None:
    assert readers.read(path).weights_only is _accepted_by_torch(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", _SAVED)
def test_saved_by_torch(name: str, protocol: int, tmp_path: Path) -> None:
    made = _SAVED[name]()
    torch.save(made, tmp_path / "file.pt", pickle_protocol=protocol)
    _check(tmp_path / "file.pt")


# torch reads its own nested tensors from uninitialised memory there.
@pytest.mark.parametrize("name", sorted(_SAVED.keys() - {"nested"}))
def test_saved_in_the_legacy_format(name: str, tmp_path: Path) -> None:
    made = _SAVED[name]()
    try:
        torch.save(made, tmp_path / "file.pt", _use_new_zipfile_serialization=False)
    except Exception as error:
        pytest.skip(f"torch cannot save it so: {error}")
    _check(tmp_path / "file.pt")


def _replaced(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> None:
    """Rewrite the torch zip at `path`, each member changed or dropped."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            kept = change(name, data)
            if kept is not None:
                archive.writestr(*kept)


_DAMAGES: dict[str, Callable[[str, bytes], tuple[str, bytes] | None]] = {
    "no storage": lambda name, data: None if name.endswith("data/0") else (name, data),
    "storage too short": lambda name, data: (name, data[:4] if name.endswith("data/0") else data),
    "storage too long": lambda name, data: (name, data + bytes(64) if name.endswith("data/0") else data),
    "no version": lambda name, data: None if name.endswith("/version") else (name, data),
    "other version": lambda name, data: (name, b"99\n" if name.endswith("/version") else data),
    "no byte order": lambda name, data: None if name.endswith("byteorder") else (name, data),
    "other byte order": lambda name, data: (name, b"big" if name.endswith("byteorder") else data),
    "no byte order at all": lambda name, data: (name, b"middle" if name.endswith("byteorder") else data),
    "pickle cut": lambda name, data: (name, data[:-3] if name.endswith("data.pkl") else data),
    "bytes after STOP": lambda name, data: (name, data + b"junk" if name.endswith("data.pkl") else data),
    "upper case": lambda name, data: (name.upper() if name.endswith("data.pkl") else name, data),
    "no serialization id": lambda name, data: None if name.endswith("serialization_id") else (name, data),
}


@pytest.mark.parametrize("damage", _DAMAGES)
def test_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"w": torch.ones(100)}, path)
    _replaced(path, _DAMAGES[damage])
    _check(path)


_SYSTEM_NAME = a.name("posix", "system")
_ORDERED = a.name("collections", "OrderedDict")
_WRITTEN: dict[str, bytes] = {
    "as torch writes": a.tensor(),
    "view past its storage": a.tensor(shape=(5,)),
    "offset past its storage": a.tensor(offset=4),
    "negative stride": a.tensor(stride=(-1,)),
    "missing record": a.tensor(a.storage("7")),
    "one key with two types": a.row(a.tensor(), a.tensor(a.storage(kind="IntStorage"))),
    "one key with two sizes": a.row(a.tensor(), a.tensor(a.storage(numel=2))),
    "storage on no device": a.tensor(a.storage(device="nowhere")),
    "import that is never called": a.row(_SYSTEM_NAME, a.NONE),
    "import that is popped": _SYSTEM_NAME + a.POP + a.NONE,
    "Python 2 name": a.name("__builtin__", "set") + a.row(a.EMPTY_LIST) + a.REDUCE,
    "Python 2 OrderedDict": a.call(_ORDERED, a.row(a.row(a.text("a"), a.NONE))),
    "DUP": a.NONE + a.DUP + a.TUPLE2,
    "POP": a.NONE + a.NONE + a.POP,
    "empty set by opcode": a.EMPTY_SET,
    "set members by opcode": a.EMPTY_SET + a.MARK + a.NONE + a.ADDITEMS,
    "INT": b"I7\n",
    "LONG1": a.number(2**40),
    "LONG4": b"\x8b\x01\x00\x00\x00\x05",
    "BINBYTES": b"C\x01a",
    "Python 2 string": b"U\x01a",
    "Python 2 string that is not UTF-8": b"U\x01\xff",
    "SETITEMS on an OrderedDict": a.call(_ORDERED) + a.MARK + a.text("a") + a.NONE + a.SETITEMS,
    "SETITEMS on a list": b"]Na(K\x00K\x07u",
    "SETITEMS on a set": a.call(a.name("builtins", "set"), a.EMPTY_LIST)
    + a.MARK
    + a.text("a")
    + a.NONE
    + a.SETITEMS,
    "SETITEMS on a Counter": a.call(a.name("collections", "Counter"), a.EMPTY_DICT)
    + b"(X\x01\x00\x00\x00aK\x01u",
    "APPENDS on an OrderedDict": a.call(_ORDERED) + a.MARK + a.NONE + a.APPENDS,
    "APPENDS of nothing on None": a.NONE + a.MARK + a.APPENDS,
    "BUILD of an OrderedDict": a.call(_ORDERED) + a.items(a.text("x"), a.NONE) + a.BUILD,
    "BUILD of an OrderedDict with None": a.call(_ORDERED) + a.NONE + a.BUILD,
    "BUILD of a dict": a.EMPTY_DICT + a.EMPTY_DICT + a.BUILD,
    "BUILD of a class": _ORDERED + a.EMPTY_DICT + a.BUILD,
    "NEWOBJ of an OrderedDict": _ORDERED + a.EMPTY_TUPLE + a.NEWOBJ,
    "NEWOBJ of a Size": a.name("torch", "Size") + a.row(a.row(a.number(1))) + a.NEWOBJ,
    "REDUCE of a dtype": a.name("torch", "float32") + a.EMPTY_TUPLE + a.REDUCE,
    "persistent id that is no storage": a.row(a.text("module"), a.NONE) + a.PERSID,
    "persistent id that is text": a.text("x") + a.PERSID,
    "unhashable key": b"}]Ns",
    "encode": a.call(a.name("_codecs", "encode"), a.text("é"), a.text("latin1")),
    "odd number of items": b"}(Nu",
    "a type of tensor": a.name("torch", "FloatTensor"),
    "module of a blocked name": a.name("sys", "path"),
}


@pytest.mark.parametrize("name", _WRITTEN)
def test_written_by_hand(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(torch_zip_bytes(a.whole(_WRITTEN[name])))
    _check(path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_protocol_number(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(torch_zip_bytes(b"\x80" + bytes([protocol]) + a.tensor() + a.STOP))
    _check(path)


@pytest.mark.parametrize("name", ["as torch writes", "import that is never called", "view past its storage"])
def test_written_in_the_legacy_format(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    body = _WRITTEN[name].replace(a.storage(), a.storage()[:-2] + a.NONE + a.TUPLE + a.PERSID)
    path.write_bytes(legacy_bytes(a.whole(body), legacy_storage()))
    _check(path)


def test_tar(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(tar_bytes(a.whole(a.NONE)))
    _check(path)


def test_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(_linear()), out)
    path.write_bytes(out.getvalue())
    _check(path)


def test_distributed_tensor(tmp_path: Path) -> None:
    # torch allows these names once torch.distributed.tensor is imported: a fresh process has not.
    path = tmp_path / "file.pt"
    path.write_bytes(torch_zip_bytes(a.whole(a.name("torch.distributed.tensor", "DTensor"))))
    load = f"import torch; torch.load({str(path)!r}, weights_only=True)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", load], capture_output=True)
    assert readers.read(path).weights_only is (done.returncode == 0)
