"""Writes the state dict of a rebuilt model again: ties kept, bytes equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ckptaudit.output import OutputError, replacing
from ckptaudit.rebuild.result import Rebuilt


def save(rebuilt: Rebuilt, path: str) -> None:
    """Write `rebuilt` as safetensors where `path` ends so, as torch.save does elsewhere; in one step.

    safetensors has no ties: the second name of one goes to the metadata, where `safetensors.torch.load_model`
    and ckptaudit find it. Raises OutputError where it cannot be written, or the format has no word for a
    tensor.
    """
    with replacing(path) as draft:
        save_as(rebuilt, draft, path)


def save_as(rebuilt: Rebuilt, draft: str, path: str) -> None:
    """Write to `draft` what is to be at `path` in the end."""
    import torch

    state = _on_cpu(torch, _in_order(torch, rebuilt))
    try:
        if path.endswith(".safetensors"):
            _write_safetensors(path, state, draft)
        else:
            with open(draft, "wb") as file:
                torch.save(state, file)
    except RuntimeError as error:  # torch's word for a full disk
        raise OutputError(path, f"could not be written: {str(error).splitlines()[0]}") from None


def _in_order(torch: Any, rebuilt: Rebuilt) -> Any:
    """The state dict in the order of the file; of what is no tensor, only numbers are kept as they were."""
    state = rebuilt.module.state_dict()
    if rebuilt.plan is None:
        return state
    plain = (bool, int, float, type(None))
    for key in [*rebuilt.plan.extra, *rebuilt.plan.tensors]:
        if isinstance(state[key], torch.Tensor) or type(state[key]) in plain:
            state.move_to_end(key)
        else:
            del state[key]
    return state


def _on_cpu(torch: Any, state: Any) -> Any:
    """The state dict with every tensor on the CPU; what shares memory still does."""
    there: dict[int, Any] = {}
    for key, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.device.type in ("cpu", "meta"):
            continue
        storage = tensor.untyped_storage()
        here = there.setdefault(storage._cdata, storage.cpu())
        view = torch.empty(0, dtype=tensor.dtype)
        view.set_(here, tensor.storage_offset(), tensor.shape, tensor.stride())
        view = view.conj() if tensor.is_conj() else view
        state[key] = torch._neg_view(view) if tensor.is_neg() else view
    return state


def _write_safetensors(path: str, state: Mapping[str, Any], draft: str) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    kept: dict[str, Any] = {}
    first: dict[object, str] = {}
    metadata = {"format": "pt"}
    for key, tensor in state.items():
        reason = _unsayable(torch, tensor)
        if reason:
            told = f"{key} is {reason}, for which safetensors has no word"
            raise OutputError(path, told, remedy="write a .pt")
        flags = (tensor.is_conj(), tensor.is_neg())
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), flags)
        if tensor.numel() and first.setdefault(place, key) != key:
            metadata[key] = first[place]
        else:
            kept[key] = tensor.resolve_conj().resolve_neg().contiguous()
    try:
        save_file(_apart(kept), draft, metadata)
    except (SafetensorError, KeyError) as error:  # a KeyError where it has no word for a dtype
        raise OutputError(path, f"could not be written as safetensors: {error}") from None


def _unsayable(torch: Any, tensor: Any) -> str:
    if not isinstance(tensor, torch.Tensor):
        return "no tensor"
    if torch.nn.parameter.is_lazy(tensor):
        return "a lazy parameter"
    if tensor.device.type == "meta":
        return "without values"
    return "" if tensor.layout == torch.strided else f"of layout {tensor.layout}"


def _apart(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors that share memory without being one are copied: safetensors refuses them."""
    seen: set[int] = set()
    apart = {}
    for key, tensor in tensors.items():
        storage = tensor.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes
        seen.add(storage.data_ptr())
        apart[key] = tensor.clone() if shared else tensor
    return apart
