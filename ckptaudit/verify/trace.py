"""What happens inside one run: every call of a module, in order, and what it read of the model's tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from ckptaudit.verify.facts import Event, Kind
from ckptaudit.verify.held import modules_of
from ckptaudit.verify.leaves import Leaf, NotComparableError, combined, leaves
from ckptaudit.verify.lib import library

_SAMPLE = 64
_MOST = 200_000  # events of one run


class Recorder:
    """Collects events while a model runs. `reads` are the names read since the last event."""

    def __init__(self, names: Mapping[int, tuple[str, ...]]) -> None:
        self.events: list[Event] = []
        self.names = names  # of the tensors in a storage, by its address
        self.all_reads: set[str] = set()
        self._reads: dict[str, None] = {}

    def read(self, tensor: Any) -> None:
        """An operation takes this tensor."""
        with suppress(Exception), _unseen():  # a subclass that has no storage
            for name in self.names.get(tensor.untyped_storage()._cdata, ()):
                self._reads[name] = None
                self.all_reads.add(name)

    def note(self, kind: Any, module: str, thing: Any) -> None:
        """A module is called with `thing`, or returns it."""
        if len(self.events) >= _MOST:
            return
        reads = tuple(self._reads)
        self._reads = {}
        with _unseen():
            try:
                found = leaves(thing)
            except NotComparableError:
                found = ()
            event = Event(kind, module, combined(found), reads, tuple(map(_sample, filter(_is_float, found))))
        self.events.append(event)


def _is_float(leaf: Leaf) -> bool:
    return leaf.is_tensor and (leaf.value.is_floating_point() or leaf.value.is_complex())


def _sample(leaf: Leaf) -> tuple[float, tuple[float, ...]]:
    """The largest magnitude, and some numbers at even distances."""
    torch = library()
    flat = (torch.view_as_real(leaf.value) if leaf.value.is_complex() else leaf.value).reshape(-1)
    flat = flat.to(torch.float64)
    finite = flat[flat.isfinite()]
    step = max(1, -(-flat.numel() // _SAMPLE))
    return float(finite.abs().max()) if finite.numel() else 0.0, tuple(flat[::step].tolist())


@contextmanager
def _unseen() -> Iterator[None]:
    """What is done here is not the model's."""
    with library()._C.DisableTorchFunction():
        yield


@contextmanager
def watched(model: Any, tensors: Mapping[str, tuple[Kind, Any]]) -> Iterator[Recorder]:
    """A Recorder of what the model does meanwhile; its own hooks stay as they are."""
    recorder = Recorder(_by_storage(tensors))
    with ExitStack() as after:
        for path, module in modules_of(model).items():
            for handle in _hooks(module, path, recorder):
                after.callback(handle.remove)
        after.enter_context(_reads(recorder))
        yield recorder


def _by_storage(tensors: Mapping[str, tuple[Kind, Any]]) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for name, (_, tensor) in tensors.items():
        with suppress(Exception):
            found.setdefault(tensor.untyped_storage()._cdata, []).append(name)
    return {place: tuple(names) for place, names in found.items()}


def _hooks(module: Any, path: str, recorder: Recorder) -> Iterator[Any]:
    def before(_: Any, args: Any, kwargs: Any) -> None:
        recorder.note("call", path, (args, kwargs))

    def after(_: Any, args: Any, kwargs: Any, output: Any) -> None:
        recorder.note("return", path, output)

    with suppress(RuntimeError, NotImplementedError):  # TorchScript takes no hooks
        yield module.register_forward_pre_hook(before, with_kwargs=True)
        yield module.register_forward_hook(after, with_kwargs=True)


# What looks at a tensor and not at its numbers.
_LOOKS = frozenset(
    (
        *("size", "dim", "ndimension", "stride", "numel", "nelement", "element_size", "__len__", "__get__"),
        *("is_floating_point", "is_complex", "is_contiguous", "is_signed", "is_inference"),
        *("storage_offset", "data_ptr", "untyped_storage", "get_device"),
    )
)


def _reads(recorder: Recorder) -> Any:
    """A mode in which every function tells which tensors it takes.

    One of Python's functions: watching the dispatcher below them makes it choose other kernels.
    """
    from torch.overrides import TorchFunctionMode
    from torch.utils._pytree import tree_leaves

    tensor = library().Tensor

    class Reads(TorchFunctionMode):  # type: ignore[misc,unused-ignore]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") not in _LOOKS:
                for each in tree_leaves((args, kwargs or {})):
                    if isinstance(each, tensor):
                        recorder.read(each)
            return func(*args, **(kwargs or {}))

    return Reads()
