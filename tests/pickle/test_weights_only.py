"""`Checkpoint.weights_only` against torch.load(weights_only=True) itself, on files made here."""

from __future__ import annotations

import argparse
import collections
import enum
import importlib
import io
import pathlib
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is the oracle")
np = pytest.importorskip("numpy", reason="numpy values are saved too")

from ckptaudit import readers  # noqa: E402  (after the skip)
from ckptaudit.errors import CkptAuditError  # noqa: E402
from ckptaudit.model import Checkpoint  # noqa: E402
from tests.hostile import assemble as a  # noqa: E402
from tests.hostile.containers import (  # noqa: E402
    legacy_bytes,
    legacy_storage,
    safetensors_bytes,
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
    "two numbers in a byte": lambda: torch.quantize_per_channel(
        torch.ones(2, 4), torch.tensor([0.1, 0.2]), torch.tensor([0.0, 0.0]), 0, torch.quint4x2),
    "float8 that requires a gradient": lambda: torch.ones(3).to(torch.float8_e5m2).requires_grad_(),
    "uint64 without elements": lambda: torch.ones(0, dtype=torch.uint64),
    "hybrid": lambda: torch.sparse_coo_tensor([[0, 1]], torch.ones(2, 3), (4, 3)),
    "blocks": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "parameter of whole numbers": lambda: torch.nn.Parameter(torch.ones(2, dtype=torch.int32), False),
    "defaultdict with items": lambda: collections.defaultdict(list, {1: [2]}),
    "numpy generator": lambda: np.random.default_rng(0),
    "numpy text": lambda: np.array(["a"]),
    "named tuple of torch": lambda: torch.max(torch.ones(2, 2), 0),
    "objects of many sorts": lambda: {"epoch": np.int64(3), "args": argparse.Namespace(a=_Colour.RED),
        "model": _linear().state_dict(), "path": pathlib.PurePosixPath("a")},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _accepted_by_torch(path: Path) -> bool:
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        return False
    return True


def _check(path: Path) -> Checkpoint:
    checkpoint = readers.read(path)
    assert checkpoint.weights_only is _accepted_by_torch(path)
    # A refusal names what is missing, or says why nothing helps.
    assert checkpoint.weights_only or checkpoint.to_allow or checkpoint.refusals
    return checkpoint


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


def _tensor(**changed: bytes) -> bytes:
    """A tensor of four floats, with other arguments where they are given, and any more behind them."""
    parts = {"memory": a.storage(), "offset": a.number(0), "shape": _sizes(4), "stride": _sizes(1),
        "grad": b"\x89", "hooks": a.NONE, **changed}  # fmt: skip
    return a.call(a.name("torch._utils", "_rebuild_tensor_v2"), *parts.values())


def _sizes(*sizes: int) -> bytes:
    return a.row(*map(a.number, sizes))


def _storage(**changed: bytes) -> bytes:
    """The persistent id of four floats, with other parts where they are given, and any more behind them."""
    parts = {"tag": a.text("storage"), "kind": a.name("torch", "FloatStorage"), "key": a.text("0"),
        "device": a.text("cpu"), "numel": a.number(4), **changed}  # fmt: skip
    return a.row(*parts.values()) + a.PERSID


def _made(name: str, *args: bytes) -> bytes:
    module, _, last = name.rpartition(".")
    return a.call(a.name(module, last), *args)


_FLOAT = b"G" + bytes(8)
_METADATA = a.text("conj")
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
    "SETITEMS of nothing on a list": a.EMPTY_LIST + a.MARK + a.SETITEMS,
    **{f"tensor: {name}": _tensor(**changed) for name, changed in {
        "offset True": {"offset": b"\x88"}, "offset of 2**62": {"offset": a.number(2**62)},
        "offset -1 and no elements": {"offset": a.number(-1), "shape": _sizes(0)},
        "offset far out and no elements": {"offset": a.number(99), "shape": _sizes(0)},
        "shape in a list": {"shape": b"](K\x04e"}, "shape of a flag": {"shape": a.row(b"\x88")},
        "shape -1": {"shape": _sizes(-1)}, "shape -1 and 0": {"shape": _sizes(-1, 0), "stride": _sizes(1, 1)},
        "too many elements, then none": {"shape": _sizes(2**62, 2**62, 0), "stride": _sizes(1, 1, 1)},
        "too many elements of one": {"shape": _sizes(2**40, 2**40), "stride": _sizes(0, 0)},
        "many dimensions": {"shape": _sizes(*[1] * 200), "stride": _sizes(*[1] * 200)},
        "stride None": {"stride": a.NONE},
        "stride -1 of one element": {"shape": _sizes(1), "stride": _sizes(-1)},
        "stride shorter": {"shape": _sizes(2, 2)}, "stride that wraps": {"stride": _sizes(2**62)},
        "requires_grad 1": {"grad": a.number(1)}, "requires_grad None": {"grad": a.NONE},
        "gradient of whole numbers": {"memory": a.storage(kind="IntStorage"), "grad": b"\x88"},
        "hooks of a number": {"hooks": a.number(1)}, "metadata that is a number": {"more": a.number(1)},
        "metadata 0": {"more": a.number(0)}, "conjugated floats": {"more": a.items(_METADATA, b"\x88")},
        "other metadata": {"more": a.items(a.text("x"), b"\x88")}, "two more": {"more": b"}", "most": b"}"},
        "storage None": {"memory": a.NONE},
    }.items()},
    **{f"storage: {name}": _storage(**changed) for name, changed in {
        "key 0": {"key": a.number(0)}, "key None": {"key": a.NONE}, "key with a NUL": {"key": a.text("0\0x")},
        "key of half a pair": {"key": a.text("\ud800")}, "device None": {"device": a.NONE},
        "numel True": {"numel": b"\x88"}, "numel 4.0": {"numel": _FLOAT}, "numel -1": {"numel": a.number(-1)},
        "numel 3": {"numel": a.number(3)}, "numel 2**62": {"numel": a.number(2**62)},
        "type float32": {"kind": a.name("torch", "float32")},
        "type FloatTensor": {"kind": a.name("torch", "FloatTensor")},
        "type that is a tensor": {"kind": a.tensor()}, "six parts": {"more": a.NONE},
        "tag in bytes": {"tag": _made("_codecs.encode", a.text("storage"), a.text("latin1"))},
    }.items()},
    **{f"call: {name} {number}": _made(name, *args) for name, calls in {
        "torch.device": [
            (), (a.text("cuda"), a.number(0)), (a.text("cuda:01"),), (a.text("moon"),), (a.number(0),)],
        "torch.Size": [(), (_sizes(1),), (a.row(_FLOAT),), (a.number(2),)],
        "torch.Tensor": [
            (), (a.number(2),), (a.tensor(),), (a.text("x"),), (b"](K\x01K\x02e",), (a.number(-1),)],
        "torch.FloatTensor": [(a.storage(),), (a.storage(kind="IntStorage"),)],
        "torch.cuda.FloatTensor": [()],
        "torch.nn.parameter.Parameter": [(), (a.tensor(), a.number(1)), (a.number(1),)],
        "torch.serialization._get_layout": [(a.text("torch.jagged"),), (a.text("x"),)],
        "_codecs.encode": [(a.text("a"),), (a.text("€"), a.text("latin1")), (a.text("a"), a.text("nothing"))],
        "builtins.bytearray": [(a.number(3),), (a.text("a"),), (b"](M\x00\x01e",)],
        "builtins.complex": [(a.text("1+2j"),), (a.text("a"),), (a.number(1), a.NONE)],
        "builtins.set": [(a.row(a.EMPTY_LIST),), (a.text("ab"),), (a.number(1),)],
        "collections.Counter": [(a.text("ab"),), (a.number(1),), (a.NONE,)],
        "collections.OrderedDict": [(a.text("ab"),), (a.row(a.text("ab")),), (a.NONE,)],
        "torch.storage.UntypedStorage": [(a.number(8),), (a.text("a"),)],
        "torch._utils._rebuild_parameter": [
            (a.tensor(), b"\x88", a.NONE), (a.tensor(), a.NONE, a.NONE), (a.NONE,) * 3],
        "torch._utils._rebuild_meta_tensor_no_storage": [
            (a.name("torch", "float32"), _sizes(2), _sizes(-1), a.NONE),
            (a.name("torch", "qint8"), _sizes(2), _sizes(1), b"\x89"),
            (a.NONE, _sizes(2), _sizes(1), b"\x89"),
            (a.name("torch", "int8"), _sizes(2), _sizes(1), b"\x88")],
        "torch._tensor._rebuild_from_type_v2": [
            (a.name("torch.nn.parameter", "Parameter"), a.name("torch", "Tensor"), a.row(a.tensor()), a.NONE),
            (a.name("torch", "Tensor"), a.name("torch", "float32"), a.EMPTY_TUPLE, a.NONE),
            (_ORDERED, _ORDERED, a.EMPTY_TUPLE, a.NONE)],
    }.items() for number, args in enumerate(calls)},
    **{f"arguments in {name}": _ORDERED + args + a.REDUCE for name, args in {
        "a list": a.EMPTY_LIST, "a text": a.text(""), "None": a.NONE, "a set": a.EMPTY_SET}.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", _WRITTEN)
def test_written_by_hand(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(torch_zip_bytes(a.whole(_WRITTEN[name])))
    _check(path)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5, 6, 255])
def test_protocol_number(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(torch_zip_bytes(b"\x80" + bytes([protocol]) + a.tensor() + a.STOP))
    _check(path)


def test_a_legacy_file_of_a_protocol_that_python_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(legacy_bytes(a.whole(a.NONE)).replace(b"\x80\x02", b"\x80\x09"))
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


# torch allows these names once more of it is imported than `import torch` does: a fresh process has not.
@pytest.mark.parametrize("name", ["torch.distributed.tensor.DTensor", "torch._dynamo.decorators._DimRange"])
def test_names_that_torch_allows_once_they_are_imported(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    module, _, last = name.rpartition(".")
    path.write_bytes(torch_zip_bytes(a.whole(a.name(module, last))))
    load = f"import torch; torch.load({str(path)!r}, weights_only=True)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", load], capture_output=True)
    checkpoint = readers.read(path)
    assert checkpoint.weights_only is (done.returncode == 0)
    assert checkpoint.to_allow == (name,)


_TENSOR_HEADER = b'"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
_HEADERS = {
    "one tensor": b"{%s}" % _TENSOR_HEADER,
    "white space in front": b" {%s}" % _TENSOR_HEADER,
    "one name twice": b"{%s,%s}" % (_TENSOR_HEADER, _TENSOR_HEADER),
    "one field twice": b"{%s}" % _TENSOR_HEADER.replace(b'"dtype"', b'"dtype":"F32","dtype"'),
    "a dtype that torch lacks": b'{"a":{"dtype":"F6_E2M3","shape":[8],"data_offsets":[0,6]}}',
    "a hole": b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}',
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("name", _HEADERS)
def test_safetensors(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(safetensors_bytes(_HEADERS[name], bytes(6 if b"F6" in _HEADERS[name] else 16)))
    _check(path)


def test_a_torch_file_called_safetensors(tmp_path: Path) -> None:
    torch.save(torch.ones(3), tmp_path / "file.safetensors")
    _check(tmp_path / "file.safetensors")


_END64 = b"PK\x06\x06"
_ARCHIVES: dict[str, Callable[[bytes], bytes]] = {
    "zip64 end of another disk": lambda data: _set(data, data.rindex(_END64) + 16, 1),
    "zip64 end with another place": lambda data: _set(data, data.rindex(_END64) + 48, 1),
    "end with another place": lambda data: _set(data, data.rindex(b"PK\5\6") + 16, 1),
    "member of another disk": lambda data: _set(data, data.index(b"PK\1\2") + 34, 1),
    "encrypted member": lambda data: _set(data, data.index(b"PK\1\2") + 8, 1),
    "member by another method": lambda data: _set(data, data.index(b"PK\1\2") + 10, 3),
    "name that is not UTF-8": lambda data: _set(data, data.rindex(b"/version") + 1, 0xFF),
    "id that is not UTF-8": lambda data: _set(data, data.index(b"PK\x07\x08", data.index(b"_id")) - 4, 0xFF),
}  # fmt: skip


def _set(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize("name", _ARCHIVES)
def test_damaged_archives(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save(torch.ones(3), path)
    path.write_bytes(_ARCHIVES[name](path.read_bytes()))
    _check_if_read(path)


def _check_if_read(path: Path) -> None:
    try:
        verdict = readers.read(path).weights_only
    except CkptAuditError:
        verdict = False
    assert verdict is _accepted_by_torch(path)


_OPCODES = b"cR\x81bae su(t\x85\x86\x87N\x89\x88)]}\x8fJKMGXUQhjqr\x8a\x80.02"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "name", ["training checkpoint", "sparse", "quantized by channel", "meta", "Counter", "parameter"]
)
def test_mutations_of_a_pickle(name: str, legacy: bool, tmp_path: Path) -> None:
    path, out, random = tmp_path / "file.pt", io.BytesIO(), Random(0)
    torch.save(_SAVED[name](), out, _use_new_zipfile_serialization=not legacy)
    whole = out.getvalue()
    reach = min(1200, len(whole)) if legacy else whole.index(b"PK\x07\x08")
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(random.choice((1, 1, 2))):
            data[random.randrange(64, reach)] = random.choice((*_OPCODES, random.randrange(256)))
        path.write_bytes(data)
        _check_if_read(path)


# What to allow


class _Plain:
    def __init__(self) -> None:
        self.kept = 1


class _WithState(_Plain):
    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)


class _Tensor(torch.Tensor):  # type: ignore[misc]
    pass


_PACKED = collections.namedtuple("_PACKED", "a b")
_ALLOWABLE = {
    "full module", "lazy module", "Namespace", "enum", "path", "numpy scalar", "numpy array", "numpy text",
    "numpy generator", "generator", "frozenset", "range", "slice", "defaultdict", "function", "class",
    "named tuple of torch", "objects of many sorts",
}  # fmt: skip
_OURS: dict[str, Callable[[], Any]] = {
    "plain object": _Plain,
    "object with __setstate__": _WithState,
    "subclass": lambda: torch.ones(2).as_subclass(_Tensor),
    "named tuple": lambda: _PACKED(1, _Plain()),
}


def _resolved(name: str) -> tuple[Any, str]:
    """A name to allow, as add_safe_globals takes one whose place is not where it was defined."""
    full = name if "." in name else f"builtins.{name}"
    module, _, last = full.rpartition(".")
    return getattr(importlib.import_module(module), last), full


# A legacy file keeps the source code of modules, which torch's restricted unpickler does not take, and fills
# storages too late for a generator.
_SOURCES = {"class", "full module", "lazy module", "generator"}


@pytest.mark.parametrize(
    ("name", "legacy"),
    [(name, False) for name in (*sorted(_ALLOWABLE), *_OURS)]
    + [(name, True) for name in (*sorted(_ALLOWABLE - _SOURCES), *_OURS)],
)
def test_what_to_allow_is_enough(name: str, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({**_SAVED, **_OURS}[name](), path, _use_new_zipfile_serialization=not legacy)
    checkpoint = _check(path)
    assert checkpoint.to_allow
    assert not checkpoint.refusals
    for fewer in range(len(checkpoint.to_allow) + 1):
        allowed = checkpoint.to_allow[: len(checkpoint.to_allow) - fewer]
        with torch.serialization.safe_globals([_resolved(each) for each in allowed]):
            assert _accepted_by_torch(path) is (fewer == 0)


def test_what_to_allow_is_called_as_torch_calls_it(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    names = (
        ("__builtin__", "list"),
        ("somewhere", "Thing"),
        ("somewhere", "Thing"),
        ("collections", "deque"),
    )
    path.write_bytes(torch_zip_bytes(a.whole(a.row(*(a.name(*name) for name in names)))))
    checkpoint = _check(path)
    assert checkpoint.to_allow == ("list", "somewhere.Thing", "collections.deque")
    with pytest.raises(Exception, match=r"add_safe_globals\(\[list\]\)"):
        torch.load(path, weights_only=True)


_INCURABLE: dict[str, tuple[bytes, str]] = {
    "blocked module": (a.name("os", "getcwd"), "os"),
    "opcode that torch lacks": (a.NONE + a.DUP + a.TUPLE2, "0x32"),
    "items of a defaultdict": (
        _made("collections.defaultdict", a.name("builtins", "list")) + b"(X\0\0\0\0Nu", "sets items"),
    "members of a deque": (_made("collections.deque") + a.NONE + a.APPEND, "appends"),
    "call of what a call gave": (_made("somewhere.Thing") + a.EMPTY_TUPLE + a.REDUCE, "is called"),
    "state of a set": (_made("builtins.set") + a.items(a.text("x"), a.NONE) + a.BUILD, "attributes"),
    "storage that is too short": (a.tensor(a.storage(numel=9)), "should have 36 bytes"),
    "view outside its storage": (a.tensor(shape=(5,)), "20 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", _INCURABLE)
def test_what_no_allowing_cures_is_said(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    body, word = _INCURABLE[name]
    path.write_bytes(torch_zip_bytes(a.whole(a.row(body, a.name("later", "Name")))))
    checkpoint = _check(path)
    assert any(word in refusal for refusal in checkpoint.refusals)
    assert checkpoint.to_allow[-1] == "later.Name"
