"""A checkpoint as a loaded module, ready to be observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ckptaudit.errors import CkptAuditError
from ckptaudit.model import Checkpoint
from ckptaudit.verify.facts import Load, Weight
from ckptaudit.verify.fromfile import unlike_file
from ckptaudit.verify.held import tensors_of, weigh
from ckptaudit.verify.lib import library

_ALIGNED = 64  # bytes at which torch's own memory starts


class Loaded(NamedTuple):
    """`weights` are as the file has them, before any change of dtype; `cannot` says why it does not run."""

    module: Any
    load: Load
    weights: Mapping[str, Weight]
    cannot: str


def load(
    checkpoint: Checkpoint,
    build: Callable[[], Any] | None,
    maps: Sequence[str],
    device: str,
    dtype: str | None,
) -> Loaded:
    """Rebuild `checkpoint` on the device, in `dtype` where that is given.

    Raises CkptAuditError where that fails, and whatever `build`, the caller's code, raises.
    """
    from ckptaudit.rebuild import rebuild

    rebuilt = rebuild(checkpoint, model=build, maps=tuple(maps), device=device)
    module = rebuilt.module
    align(module)
    sources = {key: origin.source for key, origin in rebuilt.origins.items()}
    tensors = tensors_of(module)
    weights = weigh(tensors, lambda name: sources.get(name, ""))
    lost = unlike_file(checkpoint, rebuilt.renamed, tensors, weights)  # before any change of dtype
    if dtype:
        module.to(_floating(checkpoint.path, dtype))
    load = Load(
        missing=tuple(rebuilt.missing),
        unexpected=tuple(rebuilt.unexpected),
        mismatched=tuple(rebuilt.mismatched),
        renamed=dict(rebuilt.renamed),
        lost_on_save=tuple(rebuilt.lost_on_save),
        unloaded=tuple(rebuilt.unloaded),
        lost=lost,
        hooks=tuple(rebuilt.hooks),
        odd=tuple(rebuilt.odd),
        suggested=tuple(rebuilt.suggested),
        level=str(rebuilt.level),
    )
    return Loaded(module, load, weights, "; ".join(rebuilt.cannot_run))


def _floating(path: str, name: str) -> Any:
    torch = library()
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise CkptAuditError(path, f"{name!r} is no floating dtype", remedy="write float16, bfloat16, ...")
    return dtype


def align(module: Any) -> None:
    """Move what lies at odd addresses, as in a mapped file, to where torch would have put it.

    Kernels of the CPU may add in another order there, and then equal weights give other bits. Ties stay.
    """
    torch = library()
    moved: dict[int, Any] = {}
    for _, tensor in tensors_of(module).values():
        if (
            torch.nn.parameter.is_lazy(tensor)
            or tensor.layout != torch.strided
            or tensor.device.type != "cpu"
        ):
            continue
        storage = tensor.untyped_storage()
        if not storage.data_ptr() % _ALIGNED:
            continue
        fresh = moved.setdefault(storage._cdata, None) or storage.clone()
        moved[storage._cdata] = fresh
        with torch.no_grad():
            view = torch.empty(0, dtype=tensor.dtype)
            tensor.data = view.set_(fresh, tensor.storage_offset(), tensor.shape, tensor.stride())
