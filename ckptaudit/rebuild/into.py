"""Loads tensors into a module that exists already: what load_state_dict does, without a second copy of them.

A parameter keeps its identity, and everything that shares its memory sees the new values, as with the `copy_`
of load_state_dict. Where nothing else shares it, the memory is exchanged for that of the mapped file and
nothing is copied; elsewhere the file is read straight into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.place import Placer, Unplaced


class Loading:
    """One module being loaded: `loaded` are the keys that have the values of the file, `converted` those of
    them that were put into another dtype, `left` those that could not be had."""

    def __init__(self, module: Any, placer: Placer) -> None:
        import torch

        self._torch: Any = torch
        self._module = module
        self._placer = placer
        self.loaded: set[str] = set()
        self.converted: set[str] = set()
        self.left: list[Unplaced] = []

    def load(self, rows: Mapping[str, TensorMeta], ties: Iterable[tuple[str, ...]]) -> None:
        """Load the tensors of `rows`, by the keys of the module; `ties` are those of the module."""
        there = self._module.state_dict(keep_vars=True)
        handed_over: dict[str, Any] = {}
        by_its_own_code = _has_own_loading(self._torch, self._module)
        for key in there:  # in torch's order: of a tie, the last one counts
            row = rows.get(key)
            if row is None:
                continue
            reason = self._placer.refusal(row)
            if reason:
                self.left.append(Unplaced(key, reason))
            elif self._placer.has_values(row):
                self.loaded.add(key)
                target = there[key]
                if self._differs(target, row):
                    self.converted.add(key)
                if by_its_own_code or self._is_empty(target):
                    handed_over[key] = self._placer.tensor(row)
                else:
                    self._fill(target, row)
        if handed_over:
            self._hand_over(handed_over, there, ties)

    def _is_empty(self, target: Any) -> bool:
        """Whether there is no memory to load into: a lazy parameter, or one on the meta device."""
        return bool(self._torch.nn.parameter.is_lazy(target)) or target.device.type == "meta"

    def _differs(self, target: Any, row: TensorMeta) -> bool:
        return str(target.dtype) != f"torch.{row.dtype}"

    def _fill(self, target: Any, row: TensorMeta) -> None:
        known = type(target) in (self._torch.Tensor, self._torch.nn.Parameter)
        plain = known and not self._differs(target, row)
        if plain and self._placer.is_mapped(row, target) and self._is_alone(target):
            target.data = self._placer.tensor(row)
        elif not (plain and self._placer.read_into(row, target)):
            with self._torch.no_grad():
                target.copy_(self._placer.tensor(row))

    def _is_alone(self, target: Any) -> bool:
        """Whether no other tensor looks at this memory."""
        count = getattr(self._torch._C, "_storage_Use_Count", None)
        if count is None or target.device.type != "cpu":
            return False
        single = self._torch.empty(1)
        alone: bool = count(target.untyped_storage()._cdata) == count(single.untyped_storage()._cdata)
        return alone

    def _hand_over(
        self, state: Mapping[str, Any], there: Mapping[str, Any], ties: Iterable[tuple[str, ...]]
    ) -> None:
        """Load through load_state_dict itself; tensors without memory take over what they are given."""
        bare = {key: tensor for key, tensor in state.items() if self._is_empty(there[key])}
        empty = {key: self._as_dtype_of(there[key], tensor) for key, tensor in bare.items()}
        rest = {key: tensor for key, tensor in state.items() if key not in empty}
        if rest:
            self._module.load_state_dict(rest, strict=False)
        if empty:
            self._module.load_state_dict(empty, strict=False, assign=True)
        for group in ties:
            # Each name has got a tensor of its own. As with one memory that is filled twice, the last counts.
            last = next((key for key in reversed(group) if key in empty), None)
            if last is not None:
                _tie(self._module, group, last)

    def _as_dtype_of(self, target: Any, tensor: Any) -> Any:
        lazy = self._torch.nn.parameter.is_lazy(target)
        return tensor if lazy or tensor.dtype == target.dtype else tensor.to(target.dtype)


def _has_own_loading(torch: Any, module: Any) -> bool:
    """Whether code beside torch's has a say in how state dicts are loaded: then it is asked, always."""
    for each in module.modules():
        own = (type(each)._load_from_state_dict, type(each).load_state_dict)
        if any(not (method.__module__ or "").startswith("torch.") for method in own):
            return True
        if each._load_state_dict_pre_hooks or each._load_state_dict_post_hooks:
            return True
    return False


def _tie(module: Any, group: tuple[str, ...], last: str) -> None:
    owner, _, name = last.rpartition(".")
    tensor = getattr(module.get_submodule(owner), name)
    for key in group:
        owner, _, name = key.rpartition(".")
        setattr(module.get_submodule(owner), name, tensor)
