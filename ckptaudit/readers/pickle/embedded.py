"""A storage that was pickled by itself: `torch.storage._load_from_bytes` on the bytes of a whole file.

So does pickle.dump, where torch.save was meant. The bytes are a file of torch's legacy format, and are
read as one: with the names in it, which loading it would import, noted like those of any other pickle.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from ckptaudit.errors import CkptAuditError, UnreadableError
from ckptaudit.model import GlobalRef, Span, Storage
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.leaves import as_bytes
from ckptaudit.readers.pickle.legacy import MAGIC, read_legacy
from ckptaudit.readers.pickle.storageid import storage_id
from ckptaudit.readers.pickle.stream import PickleStream
from ckptaudit.readers.pickle.symbols import Call, Global, Persistent
from ckptaudit.readers.pickle.tensors import TensorError
from ckptaudit.source import Bytes

_MARK = "!pickled storage "
_DEEPEST = 4


def is_embedded(value: object) -> bool:
    """Whether `value` is such a storage."""
    func = value.func if type(value) is Call else None
    return type(func) is Global and (func.module, func.name) == ("torch.storage", "_load_from_bytes")


def read_embedded(draft: Draft, call: Call, number: int) -> Storage:
    """The storage in the bytes; what else is in them is told by `follow`. TensorError where there is none."""
    raw = _raw(call)
    if raw is None:
        raise TensorError("a pickled storage without its bytes")
    path = f"{draft.source.path}{_MARK}{number}"
    inner = Draft(Bytes(path, raw), draft.format, draft.limits)
    legacy = read_legacy(inner, PickleStream(inner, inner.source))
    value = legacy.pickled.value
    if legacy.pickles[0].value != MAGIC or type(value) is not Persistent:
        raise TensorError("bytes for torch.load that are no file of its legacy format")
    found = storage_id(value.pid)
    nbytes = legacy.places[found.key].nbytes if found.key in legacy.places else 0
    return Storage(f"pickled:{number}", found.dtype, found.device, nbytes, None)


def follow(draft: Draft, calls: Iterable[Call]) -> None:
    """Note what every such call among `calls` would load and import, whatever becomes of its result.

    Where that cannot be told, torch.load itself stands among the names that the pickle calls.
    """
    for number, call in enumerate(call for call in calls if is_embedded(call)):
        raw = _raw(call)
        path = f"{draft.source.path}{_MARK}{number}"
        try:
            if raw is None or call.how != "reduce" or path.count(_MARK) > _DEEPEST:
                raise UnreadableError(path, "what it would load is not in plain sight")
            inner = import_module("ckptaudit.readers").read_source(Bytes(path, raw), draft.limits)
        except CkptAuditError as error:
            place = Span(path, 0, len(raw or b""))
            draft.globals.append(GlobalRef("torch", "load", called=True, span=place))
            draft.problem(
                "hidden-pickle", f"torch.storage._load_from_bytes: {error.reason}", place, incomplete=True
            )
        else:
            draft.globals += inner.globals
            draft.problems += inner.problems


def _raw(call: Call) -> bytes | None:
    args = call.args
    return as_bytes(args[0]) if type(args) is tuple and len(args) == 1 else None
