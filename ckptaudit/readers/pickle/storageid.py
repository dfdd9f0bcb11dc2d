"""Persistent ids of storages, taken apart.

One is ('storage', type, key, device, number of elements), and in the legacy format a sixth part: None, or
(view key, offset, size) of a view into that storage.
"""

from __future__ import annotations

from typing import NamedTuple

from ckptaudit.readers.pickle.leaves import as_bytes
from ckptaudit.readers.pickle.symbols import Global
from ckptaudit.readers.pickle.tensors import TensorError

# torch/storage.py: the class that stood for each dtype before storages became untyped.
STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "BFloat16Storage": "bfloat16",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QInt32Storage": "qint32",
    "QUInt8Storage": "quint8",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
_MAX_NUMEL = 2**60
_new = tuple.__new__  # makes a named tuple without its Python-level constructor: there are 20,000


class StorageId(NamedTuple):
    """A persistent id, taken apart. `view` is (key, offset in elements, elements) or None."""

    dtype: str
    key: str
    device: str
    numel: int
    view: tuple[str, int, int] | None


def storage_id(pid: object) -> StorageId:
    """Take a persistent id apart. Raises TensorError where it is none of a storage."""
    if type(pid) is not tuple or len(pid) not in (5, 6):
        raise TensorError("a persistent id that names no storage")
    tag, kind, key, device, numel = pid[:5]
    if tag != "storage" and _text(tag) != "storage":
        raise TensorError("a persistent id that names no storage")
    dtype = STORAGE_DTYPES.get(kind.name) if type(kind) is Global else None
    if dtype is None:
        raise TensorError("a storage of a type that torch does not have")
    if type(numel) is not int or not 0 <= numel <= _MAX_NUMEL:
        raise TensorError("a storage whose size is no sensible number")
    if type(key) is not str or type(device) is not str:
        key, device = _text(key), _text(device)
    view = _view(pid[5]) if len(pid) == 6 and pid[5] is not None else None
    return _new(StorageId, (dtype, key, device, numel, view))


def _text(value: object) -> str:
    if type(value) is str:
        return value
    if type(value) is int and value.bit_length() <= 64:
        return str(value)
    raw = as_bytes(value)
    if raw is None:
        raise TensorError("a persistent id whose parts are no text")
    return raw.decode("latin-1")


def _view(value: object) -> tuple[str, int, int]:
    if type(value) is tuple and len(value) == 3:
        key, offset, numel = value
        if (
            type(offset) is int
            and type(numel) is int
            and 0 <= offset <= _MAX_NUMEL
            and 0 <= numel <= _MAX_NUMEL
        ):
            return _text(key), offset, numel
    raise TensorError("a view into a storage that is none")
