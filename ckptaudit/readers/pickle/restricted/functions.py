"""All that torch's restricted unpickler may call, by name; and the one function that calls others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ckptaudit.readers.pickle.restricted import construct, kinds, plain, rebuild
from ckptaudit.readers.pickle.restricted.plain import unpacked
from ckptaudit.readers.pickle.restricted.rebuild import Args, set_state, takes
from ckptaudit.readers.pickle.restricted.values import (
    Budget,
    Foreign,
    Made,
    Named,
    RefusedError,
    Tensor,
    UnsureError,
    kind_of,
    need,
)

Function = Callable[[Args, Budget], Any]
_PARAMETER: Final = "torch.nn.parameter.Parameter"
_MOST_DEEP: Final = 100
_MODULES: Final = {"OrderedDict": "collections", "Counter": "collections", "Size": "torch", "Device": "torch"}


def function(value: Any) -> Function:
    """What is called where a pickle calls a value that torch allows."""
    if type(value) is Named:
        found = FUNCTIONS.get(value.name)
        if found is not None:
            return found
        if value.kind == "tensor type":
            return construct.tensor_type(value)
    raise RefusedError(f"{kind_of(value)} is called, which is no allowed function")


def from_type(args: Args, budget: Budget) -> Any:
    """_rebuild_from_type_v2(func, cls, args, state): a tensor of some class, with attributes."""
    takes("_rebuild_from_type_v2", args, 4, 4)
    func, cls, inner, state = args
    name = cls.name if type(cls) in (Named, Foreign) else ""
    if type(func) in (Foreign, Made):
        return Made(name)
    budget.depth += 1
    if budget.depth > _MOST_DEEP:
        raise UnsureError
    made = function(func)(unpacked(inner, budget), budget)
    budget.depth -= 1
    if type(made) is Made:
        return Made(name)
    if type(made) is Tensor and made.cls != name:
        need(type(cls) is Foreign or name in ("torch.Tensor", _PARAMETER), f"a tensor of {kind_of(cls)}")
        # As a subclass it is a view of what was made, and no leaf if that requires a gradient.
        view = made.like()
        view.cls, view.grad, view.leaf = name, made.grad, not made.grad
        made = view
    elif type(made) is not Tensor:
        need(_class_of(made) == name, f"{kind_of(made)} as a tensor of {kind_of(cls)}")
    set_state(made, state, budget)
    return made


def _class_of(value: Any) -> str:
    name = type(value).__name__
    return f"{_MODULES.get(name, 'builtins')}.{name.lower() if name == 'Device' else name}"


FUNCTIONS: Final[dict[str, Function]] = {
    **plain.PLAIN_CALLS,
    "torch._utils._rebuild_tensor": rebuild.rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild.rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": rebuild.rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": rebuild.rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild.rebuild_parameter_with_state,
    "torch._utils._rebuild_qtensor": kinds.quantized_tensor,
    "torch._utils._rebuild_sparse_tensor": kinds.sparse_tensor,
    "torch._utils._rebuild_meta_tensor_no_storage": kinds.meta_tensor,
    "torch._utils._rebuild_nested_tensor": kinds.nested_tensor,
    "torch._utils._rebuild_wrapper_subclass": kinds.wrapper_subclass,
    "torch._utils._rebuild_device_tensor_from_numpy": kinds.numpy_tensor,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": kinds.device_tensor,
    "torch._tensor._rebuild_from_type_v2": from_type,
    "torch.nn.parameter.Parameter": rebuild.make_parameter,
    "torch.Tensor": construct.make_tensor("float32"),
    "torch.storage.UntypedStorage": construct.make_untyped,
    "torch.storage.TypedStorage": construct.make_typed,
}
