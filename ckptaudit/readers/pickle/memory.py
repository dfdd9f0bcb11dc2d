"""The storages that a pickle refers to by persistent ids, made into Storage objects, each once.

The first mention of a key decides its type, size and device, as torch caches the storage it made for it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ckptaudit.model import DTYPE_BITS, Span, Storage, TensorMeta
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.storageid import StorageId, storage_id
from ckptaudit.readers.pickle.symbols import Call, Persistent
from ckptaudit.readers.pickle.tensors import TensorError, View
from ckptaudit.readers.wording import few

_MOST = 2**63
PACKED = {"quint4x2": 2, "quint2x4": 4}
_new = tuple.__new__  # makes a named tuple without its Python-level constructor: there are 20,000


def bytes_reached(tensor: TensorMeta) -> int:
    """One past the last byte of its storage that a strided tensor touches; 0 for one without elements."""
    shape = tensor.shape
    if shape is None or 0 in shape:
        return 0
    last = tensor.offset + sum((size - 1) * step for size, step in zip(shape, tensor.stride, strict=True))
    # A quantized tensor keeps several of the smallest numbers in the byte that counts as one of its storage.
    return -((last + 1) * DTYPE_BITS[tensor.dtype] // -(8 * PACKED.get(tensor.dtype, 1)))


class Stored:
    """The storages of one pickle. `locate` says where so many bytes of a key lie, None where not plainly.

    It raises TensorError where there are no bytes for the key.
    """

    def __init__(self, draft: Draft, locate: Callable[[str, int], Span | None]) -> None:
        self._draft = draft
        self._storages = draft.storages
        self._locate = locate
        self._conflicts: set[str] = set()
        self.views: dict[int, View | None] = {}
        self.depth = 0
        self.countable = True  # no tensor has more elements than torch can count
        self._unbacked: set[str] = set()
        self._embedded: dict[int, Storage] = {}

    def stored(self, reference: Persistent) -> Storage:
        """The storage behind a persistent id."""
        found = storage_id(reference.pid)
        dtype, key, device, numel, view = found
        nbytes = numel * DTYPE_BITS[dtype] // 8
        storage = self._storages.get(key)
        if storage is None:
            try:
                span = self._locate(key, nbytes)
            except TensorError as error:
                span = None
                detail = f"{error}, of storage {few([key])}"
                self._draft.problem("missing-record", detail, incomplete=True, keys=(key,))
            storage = self._storages[key] = _new(Storage, (key, dtype, device, nbytes, span))
        elif (dtype, device, nbytes) != storage[1:4]:
            storage = self._conflict(storage, found, nbytes)
        return storage if view is None else self._part(found, view, storage)

    def embedded(self, call: Call) -> Storage:
        """The storage that `_load_from_bytes` would make; each call of it once."""
        from ckptaudit.readers.pickle.embedded import is_embedded, read_embedded

        if not is_embedded(call):
            raise TensorError("no storage where one belongs")
        if id(call) not in self._embedded:
            storage = read_embedded(self._draft, call, len(self._embedded))
            self._embedded[id(call)] = self._draft.storages[storage.id] = storage
        return self._embedded[id(call)]

    def apart(self, what: str, dtype: str | None, device: str, nbytes: int) -> Storage:
        """A storage for a tensor that has none in the file."""
        storage = Storage(f"{what}:{len(self._unbacked)}", dtype, device, nbytes, None)
        if storage.id in self._draft.storages:
            raise TensorError(f"a storage called {few([storage.id])}, as ours are")
        self._draft.storages[storage.id] = storage
        self._unbacked.add(storage.id)
        return storage

    def check_bounds(self) -> None:
        """Note every tensor that views more memory than its storage has."""
        storages = self._draft.storages
        reaches: dict[object, int] = {}
        for tensor in self._draft.tensors.values():
            _, _, dtype, shape, stride, offset, name, _, _, layout, _ = tensor
            if layout != "strided":
                continue
            look = (shape, stride, offset, dtype)
            reach = reaches.get(look)
            if reach is None:
                reach = reaches[look] = bytes_reached(tensor)
                self.countable = self.countable and prod(size or 1 for size in shape or ()) < _MOST
            if reach > storages[name].nbytes and name not in self._unbacked:
                self._outside(tensor, storages[name], reach)

    def _outside(self, tensor: TensorMeta, storage: Storage, reach: int) -> None:
        self._draft.problem(
            "tensor-outside-storage",
            f"{few([tensor.key])} {list(tensor.shape or ())} needs {reach:,} bytes of storage "
            f"{few([storage.id])}, which has {storage.nbytes:,}",
            storage.span,
            keys=(tensor.key,),
        )

    def _conflict(self, first: Storage, found: StorageId, nbytes: int) -> Storage:
        if found.key in self._unbacked:
            raise TensorError(f"a storage called {few([found.key])}, as ours are")
        if first.nbytes == 0:
            # torch does not keep an empty storage: each mention of its key makes a new one.
            again = Storage(f"{found.key} as {found.dtype}", found.dtype, found.device, nbytes, None)
            return self._draft.storages.setdefault(again.id, again)
        if found.key not in self._conflicts:
            self._conflicts.add(found.key)
            self._draft.problem(
                "storage-type-mismatch",
                f"storage {few([found.key])} is {first.nbytes:,} bytes of {first.dtype} on {first.device} at "
                f"first, then {nbytes:,} bytes of {found.dtype} on {found.device}: torch keeps the first",
            )
        return first

    def _part(self, found: StorageId, view: tuple[str, int, int], root: Storage) -> Storage:
        key, offset, numel = view
        if key in self._draft.storages:
            return self._draft.storages[key]
        width = DTYPE_BITS[found.dtype] // 8
        start, nbytes = offset * width, numel * width
        if start + nbytes > root.nbytes:
            raise TensorError(
                f"a view of bytes {start} to {start + nbytes} of a storage of {root.nbytes:,} bytes"
            )
        span = None if root.span is None else Span(root.span.file, root.span.start + start, nbytes)
        storage = Storage(key, found.dtype, root.device, nbytes, span)
        self._draft.storages[key] = storage
        return storage
