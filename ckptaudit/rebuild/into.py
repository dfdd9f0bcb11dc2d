"""Loads tensors into a module that exists already: what load_state_dict does, without a second copy of them.

A parameter keeps its identity, and everything that shares its memory sees the new values, as with the `copy_`
of load_state_dict. Where nothing else shares it, the memory is exchanged for that of the mapped file and
nothing is copied; elsewhere the file is read straight into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.place import Placer, Unplaced


class Loading:
    """One module being loaded.

    `loaded` are the keys of the module that have their values from the file, `converted` those of them that
    were put into another dtype, `computed` those that the model's own loading code makes of others, `left`
    those that could not be had. `missing` and `unexpected` are what that code says itself; None where none of
    it was asked.
    """

    def __init__(self, module: Any, placer: Placer) -> None:
        import torch

        self._torch: Any = torch
        self._module = module
        self._placer = placer
        self.loaded: set[str] = set()
        self.converted: set[str] = set()
        self.computed: set[str] = set()
        self.left: list[Unplaced] = []
        self.missing: tuple[str, ...] | None = None
        self.unexpected: tuple[str, ...] | None = None

    def load(
        self, rows: Mapping[str, TensorMeta], spare: Mapping[str, TensorMeta], ties: Iterable[tuple[str, ...]]
    ) -> None:
        """Load the tensors of `rows`, by the keys of the module; `ties` are those of the module.

        `spare` are tensors of the file under keys that the module does not have: code of its own may take
        them.
        """
        there = self._module.state_dict(keep_vars=True)
        if _has_own_loading(self._module):
            self._load_by_its_own_code(rows, spare, there, ties)
            return
        empty: dict[str, Any] = {}
        for key, row in self._to_load(rows, there):  # in torch's order: of a tie, the last one counts
            self._count(key, row, there[key])
            if self._is_empty(there[key]):
                empty[key] = self._placer.tensor(row)
            else:
                self._fill(there[key], row)
        if empty:
            self._assign(empty, there, ties)

    def _load_by_its_own_code(
        self,
        rows: Mapping[str, TensorMeta],
        spare: Mapping[str, TensorMeta],
        there: Mapping[str, Any],
        ties: Iterable[tuple[str, ...]],
    ) -> None:
        tensors = {key: self._placer.tensor(row) for key, row in self._to_load(rows, rows)}
        others = {key: self._placer.tensor(row) for key, row in self._to_load(spare, spare)}
        try:
            given = self._handed_over({**tensors, **others}, there, ties)
            tensors |= others
        except RuntimeError:  # of another shape, after all
            tensors |= {key: tensor for key, tensor in others.items() if key not in there}
            given = self._handed_over(tensors, there, ties)
        # What has no values, lazy or on the meta device, was not handed over, and is not missing.
        missing = [key for key in given.missing_keys if key not in rows]
        self.missing, self.unexpected = tuple(missing), tuple(given.unexpected_keys)
        for key, target in there.items():
            if key in tensors:
                self._count(key, rows.get(key) or spare[key], target)
            elif key not in given.missing_keys:
                self.computed.add(key)

    def _handed_over(
        self, tensors: Mapping[str, Any], there: Mapping[str, Any], ties: Iterable[tuple[str, ...]]
    ) -> Any:
        tensor = self._torch.Tensor
        if any(isinstance(each, tensor) and self._is_empty(each) for each in there.values()):
            return self._assign(tensors, there, ties)
        return self._module.load_state_dict(tensors, strict=False)

    def _to_load(
        self, rows: Mapping[str, TensorMeta], order: Iterable[str]
    ) -> Iterator[tuple[str, TensorMeta]]:
        """Those of `rows` that have values, in `order`; notes those whose values cannot be had."""
        for key in order:
            if key not in rows:
                continue
            reason = self._placer.refusal(rows[key])
            if reason:
                self.left.append(Unplaced(key, reason))
            elif self._placer.has_values(rows[key]):
                yield key, rows[key]

    def _count(self, key: str, row: TensorMeta, target: Any) -> None:
        self.loaded.add(key)
        if self._differs(target, row):
            self.converted.add(key)

    def _is_empty(self, target: Any) -> bool:
        """Whether there is no memory to load into: a lazy parameter, or one on the meta device."""
        return bool(self._torch.nn.parameter.is_lazy(target)) or target.device.type == "meta"

    def _differs(self, target: Any, row: TensorMeta) -> bool:
        # What a model has for extra state may be anything.
        return isinstance(target, self._torch.Tensor) and str(target.dtype) != f"torch.{row.dtype}"

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

    def _assign(
        self, tensors: Mapping[str, Any], there: Mapping[str, Any], ties: Iterable[tuple[str, ...]]
    ) -> Any:
        """Load through load_state_dict, where tensors without memory take over what they are given."""
        state = {key: self._as_dtype_of(there.get(key), tensor) for key, tensor in tensors.items()}
        given = self._module.load_state_dict(state, strict=False, assign=True)
        for group in ties:
            # Each name has got a tensor of its own. As with one memory that is filled twice, the last counts.
            last = next((key for key in reversed(group) if key in tensors), None)
            if last is not None:
                _tie(self._module, group, last)
        return given

    def _as_dtype_of(self, target: Any, tensor: Any) -> Any:
        if not isinstance(target, self._torch.Tensor):
            return tensor
        lazy = self._torch.nn.parameter.is_lazy(target)
        return tensor if lazy or tensor.dtype == target.dtype else tensor.to(target.dtype)


_LOADING = ("_load_from_state_dict", "load_state_dict", "set_extra_state")


def _has_own_loading(module: Any) -> bool:
    """Whether there is code for loading beside that of the layers themselves: then it is asked, always."""
    for each in module.modules():
        methods = [getattr(type(each), name) for name in _LOADING]
        if any(not (method.__module__ or "").startswith("torch.nn.") for method in methods):
            return True
        if any(name in vars(each) for name in _LOADING):
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
