"""What lies beside the weights: pickles and archives under any name, with payloads and without."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from struct import pack

from tests.hostile import assemble as a
from tests.hostile.callables import at_marker, shell
from tests.hostile.case import Case, raw
from tests.hostile.containers import (
    Entry,
    legacy_bytes,
    legacy_storage,
    torch_zip,
    torch_zip_bytes,
    zipped,
)

_HONEST = a.whole(a.items(a.text("weight"), a.tensor()))
_SYSTEM = a.whole(a.call(a.name("posix", "system"), a.text("true")))


def npy(pickled: bytes) -> bytes:
    """A NumPy array of one object, which is this pickle."""
    return _npy("|O", "(1,)") + pickled


def _npy(dtype: str, shape: str) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + pack("<H", len(text)) + text


def _zip(name: str, data: bytes, method: int = 0) -> bytes:
    return zipped([Entry("readme.txt", b"hello"), Entry(name, data, method=method)])


def _deep(data: bytes, depth: int) -> bytes:
    for _ in range(depth):
        data = _zip("inner", data)
    return data


def _bytes_tensor(data: bytes) -> bytes:
    memory = a.storage(numel=len(data), kind="ByteStorage")
    return a.whole(a.items(a.text("rng"), a.tensor(memory, shape=(len(data),))))


def _with_bytes(data: bytes) -> bytes:
    return zipped([Entry("a/data.pkl", _bytes_tensor(data)), Entry("a/data/0", data),
                   Entry("a/version", b"3\n")])  # fmt: skip


_HIDDEN: dict[str, Callable[[bytes], bytes]] = {
    "a pickle": lambda data: data,
    "a pickle of protocol 0": lambda data: data.removeprefix(a.PROTO2),
    "a pickle that breaks off": lambda data: data[:-1],
    "a second pickle": lambda data: a.whole(a.NONE) + data,
    "an archive": lambda data: _zip("x.txt", data),
    "an archive of archives": lambda data: _deep(data, 3),
    "a deflated archive": lambda data: _zip("x", _zip("x", data, 8), 8),
    "a checkpoint": torch_zip_bytes,
    "a checkpoint in an archive": lambda data: _zip("model.pt", torch_zip_bytes(data)),
    "a legacy checkpoint": lambda data: legacy_bytes(data, legacy_storage()),
    "an array of objects": npy,
    "arrays": lambda data: zipped([Entry("arr_0.npy", _npy("<f4", "(0,)")), Entry("arr_1.npy", npy(data))]),
}


def _beside(make: Callable[[bytes], bytes], method: int) -> Callable[[bytes], bytes]:
    return lambda body: torch_zip_bytes(_HONEST, Entry("a/extra/x.bin", make(a.whole(body)), method=method))


def _call(marker: str) -> bytes:
    return a.call(a.name("posix", "system"), shell(marker))


_PAYLOADS = tuple(
    Case(
        f"hidden beside the weights{', deflated' * (method > 0)}: {what}",
        "payload",
        at_marker(_call, _beside(make, method)),
        ("posix.system",),
        ("posix.system",),
        ("extra/x.bin", "posix.system"),
    )
    for what, make in _HIDDEN.items()
    for method in (0, 8)
)


def _arrays() -> bytes:
    return zipped([Entry("arr_0.npy", _npy("<f4", "(2,)") + bytes(8))])


_EXTRAS: dict[str, bytes] = {
    "a text": b"code\nof the model\n(see the paper)\n",
    "a table": b"c,a,b\n1,2,3\n",
    "JSON": b'{"a": [1, 2]}',
    "Python": b"class A:\n    pass\n",
    "an archive of texts": _zip("notes", b"weights of a model\n"),
    "an archive without its end": _zip("notes", b"weights of a model\n")[:-30],
    "a checkpoint": torch_zip_bytes(_HONEST),
    "a checkpoint in an archive": _zip("model.pt", torch_zip_bytes(_HONEST)),
    "a checkpoint with a tensor of bytes that are a pickle": _with_bytes(_SYSTEM),
    "a checkpoint with a tensor of bytes that are an archive": _with_bytes(_zip("x", _SYSTEM)),
    "a pickle of numbers": pickle.dumps({"epoch": 1, "loss": [0.1]}),
    "an array": _npy("<f4", "(2,)") + bytes(8),
    "arrays": _arrays(),
    "an array whose bytes are a pickle": _npy("|u1", f"({len(_SYSTEM)},)") + _SYSTEM,
}
_CALM = tuple(
    Case(f"beside the weights{', deflated' * (method > 0)}: {what}", "honest",
         torch_zip(_HONEST, Entry("a/extra/x.bin", data, method=method)))
    for what, data in _EXTRAS.items() for method in (0, 8)
)  # fmt: skip


def _listed_often(data: bytes, times: int) -> bytes:
    # Every entry of the directory but the first few leads to the same bytes.
    at = zipped([Entry("a/data.pkl", _HONEST), Entry("a/version", b"3\n")]).index(b"PK\1\2")
    more = [Entry("a/x", data if not i else b"", packed=len(data), nbytes=len(data), header=at)
            for i in range(times)]  # fmt: skip
    return zipped([Entry("a/data.pkl", _HONEST), Entry("a/version", b"3\n"), *more])


_BOMBS: dict[str, Callable[[], bytes]] = {
    "an archive listed 20,000 times": lambda: _listed_often(_zip("x", _SYSTEM * 2000), 20_000),
    "a pickle listed 20,000 times": lambda: _listed_often(_SYSTEM * 20_000, 20_000),
    "archives of deflated pickles": lambda: torch_zip_bytes(
        _HONEST, *(Entry(f"a/{i}", _zip("x", a.PROTO2 + b"N0" * 12_000_000, 8)) for i in range(20))
    ),
    "an archive in an archive, 500 times": lambda: torch_zip_bytes(
        _HONEST, Entry("a/x", _deep(_SYSTEM, 500))
    ),
}

CASES = (
    *_PAYLOADS,
    *_CALM,
    *(Case(f"beside the weights: {what}", "exhaustion", raw(build)) for what, build in _BOMBS.items()),
)
