"""A storage that was pickled by itself: `torch.storage._load_from_bytes` on the bytes of a whole file.

So does pickle.dump, where torch.save was meant. The bytes are a file of torch's legacy format, and are
read as one: with the names in it, which loading it would import, noted like those of any other pickle.
"""

from __future__ import annotations

from ckptaudit.model import Storage
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.leaves import as_bytes
from ckptaudit.readers.pickle.legacy import MAGIC, read_legacy
from ckptaudit.readers.pickle.memory import storage_id
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.readers.pickle.symbols import Call, Global, Persistent
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.source import Bytes


def is_embedded(value: object) -> bool:
    """Whether `value` is such a storage."""
    func = value.func if type(value) is Call else None
    return type(func) is Global and (func.module, func.name) == ("torch.storage", "_load_from_bytes")


def read_embedded(draft: Draft, call: Call, number: int) -> Storage:
    """The storage in the bytes. Raises TensorError where there is none."""
    raw = as_bytes(call.args[0]) if type(call.args) is tuple and call.args else None
    if raw is None:
        raise TensorError("a pickled storage without its bytes")
    inner = Draft(Bytes(f"{draft.source.path}!storage {number}", raw), draft.format, draft.limits)
    legacy = read_legacy(inner, PickleStream(inner, inner.source))
    draft.globals += inner.globals
    draft.problems += inner.problems
    value = legacy.pickled.value
    if legacy.pickles[0].value != MAGIC or type(value) is not Persistent:
        raise TensorError("a pickled storage that is no file of torch's legacy format")
    found = storage_id(value.pid)
    nbytes = legacy.places[found.key].nbytes if found.key in legacy.places else 0
    storage = Storage(f"pickled:{number}", found.dtype, found.device, nbytes, None)
    draft.storages[storage.id] = storage
    return storage
