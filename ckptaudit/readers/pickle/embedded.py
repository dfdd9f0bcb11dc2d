"""A storage that was pickled by itself: `torch.storage._load_from_bytes` on the bytes of a whole file.

So does pickle.dump, where torch.save was meant. The bytes are a file of torch's legacy format, and are
read as one: with the names in it, which loading it would import, noted like those of any other pickle.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptaudit.model import Storage
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.leaves import as_bytes
from ckptaudit.readers.pickle.legacy import MAGIC, read_legacy
from ckptaudit.readers.pickle.memory import storage_id
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
    """The storage in the bytes; what they import, and what is wrong with them, goes to `draft`.

    Raises TensorError where the bytes hold no storage.
    """
    raw = as_bytes(call.args[0]) if type(call.args) is tuple and call.args else None
    if raw is None:
        raise TensorError("a pickled storage without its bytes")
    path = f"{draft.source.path}{_MARK}{number}"
    if path.count(_MARK) > _DEEPEST:
        raise TensorError(f"pickles inside pickles, more than {_DEEPEST} deep")
    inner = Draft(Bytes(path, raw), draft.format, draft.limits)
    legacy = read_legacy(inner, PickleStream(inner, inner.source))
    draft.globals += inner.globals
    draft.problems += inner.problems
    value = legacy.pickled.value
    if legacy.pickles[0].value != MAGIC or type(value) is not Persistent:
        raise TensorError("bytes for torch.load that are no file of its legacy format")
    found = storage_id(value.pid)
    nbytes = legacy.places[found.key].nbytes if found.key in legacy.places else 0
    return Storage(f"pickled:{number}", found.dtype, found.device, nbytes, None)


def follow(draft: Draft, calls: Iterable[Call]) -> None:
    """Note what every such call among `calls` would import, whatever becomes of its result."""
    for number, call in enumerate(call for call in calls if is_embedded(call)):
        try:
            read_embedded(draft, call, number)
        except TensorError as error:
            draft.problem(
                "hidden-pickle", f"torch.storage._load_from_bytes would load {error}", incomplete=True
            )
