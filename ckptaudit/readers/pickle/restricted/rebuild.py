"""torch's rebuild functions and constructors of tensors: which arguments do they take?

Source: torch/_utils.py, torch/_tensor.py, torch/nn/parameter.py and torch/storage.py of torch 2.13; what
their C++ halves check was found by trying them.
"""

from __future__ import annotations

from typing import Any, Final

from ckptaudit.readers.pickle.restricted.plain import items_of, truth, unpacked
from ckptaudit.readers.pickle.restricted.values import (
    COMPLEX,
    FLOATING,
    Budget,
    Device,
    Made,
    Memory,
    Named,
    Size,
    Tensor,
    Typed,
    kind_of,
    need,
    words,
)
from ckptaudit.readers.pickle.restricted.views import fresh, place, set_

Args = tuple[Any, ...]
_PARAMETER: Final = "torch.nn.parameter.Parameter"
_READ_ONLY: Final = words(
    "shape dtype device layout is_leaf grad_fn ndim itemsize nbytes is_sparse is_cuda is_cpu T H mT mH"
)


def takes(name: str, args: Args, least: int, most: int) -> None:
    """Refuse a call with too few or too many arguments."""
    need(least <= len(args) <= most, f"{name} with {len(args)} arguments")


def set_grad(tensor: Tensor, value: Any) -> None:
    """`tensor.requires_grad = value`."""
    need(type(value) is bool, f"requires_grad that is {kind_of(value)}")
    need(not value or tensor.dtype in FLOATING, f"a tensor of {tensor.dtype} that requires a gradient")
    tensor.grad = value


def storage_in(value: Any) -> Typed:
    """A storage among arguments."""
    if type(value) is Made:
        return Typed(Memory(0, grows=True), "float32")
    need(type(value) is Typed, f"{kind_of(value)} as a storage")
    return value  # type: ignore[no-any-return]


def typed(value: Any) -> Typed:
    """A storage that knows its dtype."""
    found = storage_in(value)
    need(found.dtype, "a storage without a dtype")
    return found


def tensor_in(value: Any, what: str) -> Tensor:
    """A tensor among arguments."""
    if type(value) is Made:
        return fresh("float32", (0,))
    need(type(value) is Tensor, f"{kind_of(value)} as {what}")
    return value  # type: ignore[no-any-return]


def dtype_in(value: Any) -> str:
    """A dtype among arguments; None is the default one."""
    if value is None:
        return "float32"
    need(type(value) is Named and value.kind == "value" and value.dtype, f"{kind_of(value)} as a dtype")
    return value.dtype  # type: ignore[no-any-return]


def rebuild_tensor(args: Args, budget: Budget) -> Tensor:
    """_rebuild_tensor(storage, offset, size, stride)."""
    takes("_rebuild_tensor", args, 4, 4)
    storage = typed(args[0])
    tensor = Tensor(storage.dtype or "", (0,))
    place(tensor, storage.memory, args[1], args[2], args[3])
    return tensor


def rebuild_tensor_v2(args: Args, budget: Budget) -> Tensor:
    """_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)."""
    takes("_rebuild_tensor_v2", args, 6, 7)
    tensor = rebuild_tensor(args[:4], budget)
    set_grad(tensor, args[4])
    if len(args) > 6:
        set_metadata(tensor, args[6], budget)
    return tensor


def rebuild_tensor_v3(args: Args, budget: Budget) -> Tensor:
    """_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)."""
    takes("_rebuild_tensor_v3", args, 7, 8)
    tensor = Tensor(dtype_in(args[6]), (0,))
    need(args[4] is False or args[4] is None, "requires_grad, which keeps torch from setting such a tensor")
    place(tensor, storage_in(args[0]).memory, args[1], args[2], args[3])
    if len(args) > 7:
        set_metadata(tensor, args[7], budget)
    return tensor


def set_metadata(tensor: Tensor, metadata: Any, budget: Budget) -> None:
    """The bits for views that are conjugated or negated."""
    if not truth(metadata):
        return
    need(isinstance(metadata, dict), f"{kind_of(metadata)} as the metadata of a tensor")
    for key, value in items_of(metadata, budget):
        flag = isinstance(value, int | float | complex | None)
        need(type(key) in (str, bytes) and flag, "metadata of a tensor that are no flags")
        if key in ("conj", b"conj"):
            need(tensor.dtype in COMPLEX, f"a conjugated tensor of {tensor.dtype}")


def make_parameter(args: Args, budget: Budget) -> Tensor:
    """Parameter(data, requires_grad)."""
    takes("Parameter", args, 0, 2)
    data = args[0] if args else None
    grad = args[1] if len(args) > 1 else True
    if data is None:
        data = fresh("float32", (0,))
    data = tensor_in(data, "the data of a Parameter")
    need(type(grad) is bool, f"requires_grad that is {kind_of(grad)}")
    made = data.like()
    made.cls = _PARAMETER if data.cls in ("torch.Tensor", _PARAMETER) else data.cls
    set_grad(made, grad)
    return made


def rebuild_parameter(args: Args, budget: Budget) -> Tensor:
    """_rebuild_parameter(data, requires_grad, hooks)."""
    takes("_rebuild_parameter", args, 3, 3)
    return make_parameter(args[:2], budget)


def rebuild_parameter_with_state(args: Args, budget: Budget) -> Tensor:
    """_rebuild_parameter_with_state(data, requires_grad, hooks, state)."""
    takes("_rebuild_parameter_with_state", args, 4, 4)
    made = make_parameter(args[:2], budget)
    set_state(made, args[3], budget)
    return made


def set_state(inst: Any, state: Any, budget: Budget) -> None:
    """torch._utils._set_obj_state(inst, state)."""
    slots = None
    if isinstance(state, tuple):
        need(len(state) == 2, f"a state of {len(state)} parts")
        state, slots = state
    for part in (state, slots):
        if truth(part):
            for name, value in items_of(part, budget):
                _set_attribute(inst, name, value)


def _set_attribute(inst: Any, name: Any, value: Any) -> None:
    need(type(name) is str, "an attribute whose name is no text")
    if type(inst) is not Tensor:
        need(
            type(inst) not in (set, bytearray, complex, Size, Device, tuple, list, dict),
            "no attributes to set",
        )
        return
    need(name not in _READ_ONLY, f"the attribute {name!r} of a tensor, which cannot be set")
    if name == "requires_grad":
        set_grad(inst, value)
    elif name in ("data", "grad"):
        need(type(value) is Tensor or (name == "grad" and value is None), f"{kind_of(value)} as {name}")


def parameter_state(inst: Tensor, state: Any, budget: Budget) -> None:
    """Parameter.__setstate__(state): the forms of torch 0.1 to 0.4."""
    need(type(state) is not Named and state is not None, "the state of a Parameter is None")
    values = unpacked(state, budget)
    if len(values) == 4:
        set_(inst, values)
        return
    if len(values) == 5:
        data = tensor_in(values[0], "the data of a Parameter")
        inst.dtype, inst.shape, inst.memory = data.dtype, data.shape, data.memory
        values = (values[3], values[4], values[2])
    need(len(values) == 3, f"a state of {len(values)} parts")
    set_grad(inst, values[0])
