"""Brings the bytes of tensors into place: mapped from the file, on the device that is asked for.

On the CPU a storage is a part of the mapped file, private to this process: nothing is copied until somebody
writes to it, as `torch.load(mmap=True)` does (torch/serialization.py). Bytes that do not lie at a multiple of
64 are copied once into memory of our own, because kernels that add up in vectors may give other last bits
there than on memory that torch allocates. Tied tensors share one storage here as they do in the file.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptaudit.errors import CkptAuditError
from ckptaudit.model import DTYPE_BITS, Checkpoint, Span, Storage, TensorMeta
from ckptaudit.source import LocalFile

if TYPE_CHECKING:
    import torch

_ALIGNED = 64


class PlaceError(CkptAuditError):
    """A device that is not there, or a file that changes while it is read."""


class Unplaced(NamedTuple):
    """A tensor whose values could not be had, and why not."""

    key: str
    reason: str


@dataclass(slots=True)
class _Files:
    """The files that are mapped, each once."""

    torch: Any
    mapped: dict[str, Any] = field(default_factory=dict)

    def whole(self, path: str) -> Any:
        if path not in self.mapped:
            size = os.path.getsize(path)
            self.mapped[path] = self.torch.UntypedStorage.from_file(path, shared=False, nbytes=size)
        return self.mapped[path]


def place(
    checkpoint: Checkpoint, rows: Mapping[str, TensorMeta], device: str = "cpu"
) -> tuple[dict[str, torch.Tensor], tuple[Unplaced, ...]]:
    """The tensors of `rows` by their names on `device`, a name of `device_named`, and those not to be had.

    Lazy tensors and those on the meta device hold no values, and are left out of both. Raises CkptAuditError
    where a file has gone.
    """
    placer = Placer(checkpoint, device)
    placed: dict[str, torch.Tensor] = {}
    left: list[Unplaced] = []
    for name, row in rows.items():
        reason = placer.refusal(row)
        if reason:
            left.append(Unplaced(name, reason))
        elif placer.has_values(row):
            placed[name] = placer.tensor(row)
    return placed, tuple(left)


class Placer:
    """The tensors of one checkpoint on one device; each storage is brought there once."""

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        import torch

        self._torch: Any = torch
        self._checkpoint = checkpoint
        self._storages = _Storages(checkpoint, torch, device)

    def has_values(self, row: TensorMeta) -> bool:
        """Whether the file holds values for the tensor: none for a lazy one, or one on the meta device."""
        storage = self._checkpoint.storages.get(row.storage)
        return row.shape is not None and storage is not None and storage.device != "meta"

    def refusal(self, row: TensorMeta) -> str:
        """Why a tensor that should have values cannot be had; empty where it can."""
        return "" if row.shape is None else _unfit(self._checkpoint, row)

    def tensor(self, row: TensorMeta) -> torch.Tensor:
        """The tensor: on the CPU mapped where the file allows it, and never written to the file."""
        storage = self._storages.get(self._checkpoint.storages[row.storage])
        tensor: torch.Tensor = _view(self._torch, storage, row)
        return tensor

    def is_mapped(self, row: TensorMeta, target: torch.Tensor) -> bool:
        """Whether the tensor, laid out as `target` is, could stand in for it without memory of its own."""
        span = self._checkpoint.storages[row.storage].span
        start = row.offset * DTYPE_BITS[row.dtype] // 8 + (0 if span is None else span.start)
        aligned = start % _ALIGNED == 0
        return aligned and row.stride == target.stride() and row.subclass is None

    def read_into(self, row: TensorMeta, target: torch.Tensor) -> bool:
        """Read the elements straight into `target`, of the same dtype and shape; False where they lie
        otherwise.

        Both must be contiguous, and `target` on the CPU.
        """
        span = self._checkpoint.storages[row.storage].span
        plain = row.subclass is None and span is not None and target.device.type == "cpu"
        if not (plain and target.is_contiguous() and _is_contiguous(row)):
            return False
        assert span is not None
        flat = target.detach().reshape(-1).view(self._torch.uint8)
        start = span.start + row.offset * DTYPE_BITS[row.dtype] // 8
        _read(span._replace(start=start, nbytes=row.nbytes), flat)
        return True


def _is_contiguous(row: TensorMeta) -> bool:
    step = 1
    for size, stride in zip(reversed(row.shape or ()), reversed(row.stride), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _unfit(checkpoint: Checkpoint, row: TensorMeta) -> str:
    """Why a tensor cannot be brought into place; empty where it can."""
    storage = checkpoint.storages.get(row.storage)
    if row.layout != "strided":
        return f"a tensor of layout {row.layout}"
    if row.dtype.startswith(("q", "bits")) or row.dtype not in DTYPE_BITS:
        return f"a tensor of type {row.dtype}"
    if row.subclass == "torch.nested":
        return "a nested tensor"
    if storage is None:
        return "its storage is not in the file"
    if storage.device == "meta" or (not storage.nbytes and not row.numel):
        return ""
    if storage.span is None:
        return "its bytes do not lie in the file as they are"
    if storage.nbytes > storage.span.nbytes:
        return "its storage has fewer bytes in the file than it says"
    if _reach(row) > storage.nbytes:
        return "it looks at bytes beyond the end of its storage"
    return "a byte order that is not little" if checkpoint.metadata.get("byteorder") == "big" else ""


def _reach(row: TensorMeta) -> int:
    """One past the last byte of its storage that a strided tensor touches."""
    if not row.numel:
        return 0
    sizes = zip(row.shape or (), row.stride, strict=True)
    last = row.offset + sum((size - 1) * step for size, step in sizes)
    return (last + 1) * DTYPE_BITS[row.dtype] // 8


class _Storages:
    """The storages of one checkpoint on one device, each brought there once."""

    def __init__(self, checkpoint: Checkpoint, torch: Any, device: str) -> None:
        self._torch = torch
        self._device = device
        self._files = _Files(torch)
        self._there: dict[str, Any] = {}

    def get(self, storage: Storage) -> Any:
        """The bytes of `storage` as a torch.UntypedStorage."""
        if storage.id not in self._there:
            here = self._here(storage)
            self._there[storage.id] = here if self._device == "cpu" else self._sent(here)
        return self._there[storage.id]

    def _sent(self, here: Any) -> Any:
        torch = self._torch
        return torch.empty(0, dtype=torch.uint8).set_(here).to(self._device).untyped_storage()

    def _here(self, storage: Storage) -> Any:
        span = storage.span
        if span is None or not storage.nbytes:
            return self._torch.UntypedStorage(0)
        if span.start % _ALIGNED == 0 or self._device != "cpu":
            return self._files.whole(span.file)[span.start : span.start + storage.nbytes]
        return _copied(self._torch, storage)


def _copied(torch: Any, storage: Storage) -> Any:
    """The bytes of a storage in memory of our own."""
    assert storage.span is not None
    made = torch.empty(storage.nbytes, dtype=torch.uint8)
    _read(storage.span._replace(nbytes=storage.nbytes), made)
    return made.untyped_storage()


def _read(span: Span, into: Any) -> None:
    """Read the bytes of `span` into a contiguous tensor of so many uint8 on the CPU."""
    memory = (ctypes.c_ubyte * span.nbytes).from_address(into.data_ptr())
    with LocalFile(span.file) as file:
        if file.read_into(span.start, memoryview(memory).cast("B")) < span.nbytes:
            raise PlaceError(span.file, "the file has shrunk while it was read", remedy="read it again")


def _view(torch: Any, storage: Any, row: TensorMeta) -> Any:
    tensor = torch.empty(0, dtype=getattr(torch, row.dtype), device=storage.device)
    tensor.set_(storage, row.offset, row.shape, row.stride)
    flags = (row.subclass or "").removeprefix("torch.").split("+")
    tensor = tensor.conj() if "conj" in flags else tensor
    return torch._neg_view(tensor) if "neg" in flags else tensor


def device_named(name: str) -> str:
    """The device that `cpu`, `cuda`, `cuda:1` or `auto` means here; `auto` is a GPU where there is one.

    Raises PlaceError where there is no such device; it lists those that are there.
    """
    import torch

    there = devices_here(torch)
    if name == "auto":
        return next((each for each in there if each != "cpu"), "cpu")
    wanted = f"{name}:0" if name != "cpu" and ":" not in name else name
    wanted = "mps" if wanted == "mps:0" else wanted
    if wanted not in there:
        raise PlaceError(
            name, "there is no such device here", remedy=f"there is: {', '.join(there)}; or use --device auto"
        )
    return wanted


def devices_here(torch: Any) -> tuple[str, ...]:
    """The devices that torch can use on this machine, the CPU first."""
    gpus = tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    mps: Callable[[], bool] = torch.backends.mps.is_available
    return ("cpu", *gpus, *(("mps",) if mps() else ()))


def moved(checkpoint: Checkpoint, rows: Iterable[TensorMeta], device: str) -> dict[str, int]:
    """How many tensors the file tags with another device than `device`, by that tag."""
    counts: dict[str, int] = {}
    for row in rows:
        storage = checkpoint.storages.get(row.storage)
        if storage is not None and storage.device != device:
            counts[storage.device] = counts.get(storage.device, 0) + 1
    return counts
