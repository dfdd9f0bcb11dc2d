"""torch's rebuild functions, read instead of called: which tensor would each give?

Sources: torch/_utils.py, torch/_tensor.py and torch/nn/parameter.py of torch 2.13, and the older forms
that torch still loads (`_rebuild_tensor`, a Parameter or Variable called on its data).
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple, Protocol

from ckptaudit.model import DTYPE_BITS, Kind, Storage
from ckptaudit.readers.pickle.leaves import device_name
from ckptaudit.readers.pickle.policy import DTYPE_NAMES
from ckptaudit.readers.pickle.symbols import Call, Global, Persistent

_MAX_INT64 = 2**63 - 1
_MAX_DIMS = 64  # torch's own cap
_MAX_NESTING = 20
_ARGUMENTS = {"_rebuild_tensor": (4, 4), "_rebuild_tensor_v2": (6, 7), "_rebuild_tensor_v3": (7, 8)}
_new = tuple.__new__


class View(NamedTuple):
    """A tensor without its name: what it looks at, and how."""

    dtype: str
    shape: tuple[int, ...] | None
    stride: tuple[int, ...]
    offset: int
    storage: Storage
    kind: Kind = "tensor"
    requires_grad: bool | None = None
    layout: str = "strided"
    subclass: str | None = None


class TensorError(Exception):
    """The arguments of a rebuild function describe no tensor."""


class Memory(Protocol):
    """Where storages come from; one for each container format.

    `views` are the tensors found so far, by the identity of their calls; `depth` how many tensors, each made
    of the next, are being looked at.
    """

    views: dict[int, View | None]
    depth: int

    def stored(self, reference: Persistent) -> Storage:
        """The storage behind a persistent id; TensorError where there is none."""
        ...

    def embedded(self, call: Call) -> Storage:
        """The storage that a call makes of its own bytes; TensorError where it makes none."""
        ...

    def apart(self, what: str, dtype: str | None, device: str, nbytes: int) -> Storage:
        """A storage of its own, for a tensor that shares none: `what` names its sort."""
        ...


def tensor_of(call: Call, memory: Memory) -> View | None:
    """The tensor that `call` would give; None where it gives something else.

    Raises TensorError where it is meant to be one, and its arguments make none.
    """
    func = call.func
    if type(func) is not Global:
        return None
    rebuild = _BY_MODULE.get(func.module, _NONE).get(func.name)
    if rebuild is None:
        return None
    args = call.args
    if type(args) is not tuple:
        raise TensorError(f"{func.name} without a plain tuple of arguments")
    try:
        return rebuild(args, memory, call)
    except (IndexError, KeyError, ValueError, TypeError, AttributeError):
        raise TensorError(f"{func.name} with {len(args)} arguments that do not fit it") from None


def nested_tensor(value: Any, memory: Memory) -> View:
    """The tensor that `value` must be, found once; TensorError where it is none."""
    if type(value) is not Call:
        raise TensorError("something else where a tensor belongs")
    if id(value) not in memory.views:
        memory.views[id(value)] = _inner(value, memory)
    view = memory.views[id(value)]
    if view is None:
        raise TensorError("something else where a tensor belongs")
    return view


def _inner(call: Call, memory: Memory) -> View | None:
    """The tensor of a call inside that of another; TensorError where these are nested without end."""
    if memory.depth >= _MAX_NESTING:
        raise TensorError(f"a tensor made of others, more than {_MAX_NESTING} deep")
    memory.depth += 1
    try:
        return tensor_of(call, memory)
    finally:
        memory.depth -= 1


def _dense(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    least, most = _ARGUMENTS.get(call.func.name, (4, 8))
    if not least <= len(args) <= most:
        raise TensorError(f"{call.func.name} with {len(args)} arguments")
    reference, offset, shape, stride = args[:4]
    storage = memory.stored(reference) if type(reference) is Persistent else _storage(reference, memory)
    if call.how != "dense":
        offset, shape, stride = _size(offset), _sizes(shape), _sizes(stride)
    if len(shape) != len(stride):
        raise TensorError(f"{len(shape)} sizes and {len(stride)} strides")
    grad = args[4] if len(args) > 4 and type(args[4]) is bool else None
    bits = None if len(args) == 6 else _bits(args[6:])
    view = (storage.dtype or "uint8", shape, stride, offset, storage, "tensor", grad, "strided", bits)
    return _new(View, view)  # without the Python-level constructor: there are 20,000


def _bits(further: tuple[Any, ...]) -> str | None:
    """The flag of a tensor whose values are to be conjugated or negated when they are read."""
    # torch._utils.set_tensor_metadata: {"conj": True} or {"neg": True}, the last argument.
    flags = further[-1] if further and type(further[-1]) is dict else {}
    set_ = "+".join(name for name in ("conj", "neg") if flags.get(name) is True)
    return f"torch.{set_}" if set_ else None


def _dense_v3(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    return _dense(args, memory, call)._replace(dtype=_dtype(args[6]))


def _parameter(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    grad = args[1] if len(args) > 1 else _old_requires_grad(call)
    return nested_tensor(args[0], memory)._replace(
        kind="parameter", requires_grad=grad if type(grad) is bool else None
    )


def _old_requires_grad(call: Call) -> object:
    # torch 0.2 and 0.3 wrote Parameter(data) with the state (requires_grad, volatile, hooks).
    state = call.state[-1] if call.state else None
    return state[0] if type(state) is tuple and state else True


def _variable(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    return _parameter(args, memory, call)._replace(kind="tensor")


def _buffer(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    return nested_tensor(args[0], memory)._replace(kind="buffer")


def _from_type(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    func, cls, inner, state = args
    view = _inner(Call(func, inner, call.position), memory)
    if view is None or type(cls) is not Global:
        raise TensorError("a subclass of no tensor")
    local = _attribute(state, "_local_tensor")
    if local is not None and view.storage.span is None:
        view = view._replace(storage=nested_tensor(local, memory).storage)
    if (cls.module, cls.name) == ("torch.nn.parameter", "Parameter"):
        return view._replace(kind="parameter")
    if _attribute(state, "_is_param") is True:  # a Parameter of a tensor subclass keeps its class
        view = view._replace(kind="parameter")
    if (cls.module, cls.name) == ("torch.nn.parameter", "Buffer"):
        return view._replace(kind="buffer")
    return view._replace(subclass=_class_name(cls))


def _attribute(state: Any, name: str) -> object:
    state = state[0] if type(state) is tuple and state else state
    return state.get(name) if type(state) is dict else None


def _class_name(cls: Global) -> str | None:
    return None if (cls.module, cls.name) == ("torch", "Tensor") else f"{cls.module}.{cls.name}"


def _quantized(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    for part in args[4] if type(args[4]) is tuple else ():
        if type(part) is Call:  # scales and zero points of each channel
            nested_tensor(part, memory)
    grad = args[5] if type(args[5]) is bool else None
    return _dense(args[:4], memory, call)._replace(requires_grad=grad)


def _sparse(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    layout, data = _layout(args[0]), args[1]
    if layout == "sparse_coo":
        parts, size = data[:2], data[2]
    else:
        parts, size = data[:3], data[3]
    values = [nested_tensor(part, memory) for part in parts][-1]
    return View(values.dtype, _sizes(size), (), 0, values.storage, "tensor", values.requires_grad, layout)


def _nested(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    buffer, *parts = (nested_tensor(part, memory) for part in args[:4])
    return buffer._replace(subclass="torch.nested") if parts else buffer


def _jagged(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    # torch/nested/_internal/nested_tensor.py: the rows one after the other, and where each begins.
    nested_tensor(args[0]["offsets"], memory)
    return nested_tensor(args[0]["values"], memory)


def _meta(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    dtype, grad = _dtype(args[0]), args[3] if type(args[3]) is bool else None
    storage = memory.apart("meta", dtype, "meta", 0)
    return View(dtype, _sizes(args[1]), _sizes(args[2]), 0, storage, "tensor", grad)


def _wrapper(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    cls, dtype, size, stride, offset, layout, device, grad = args
    storage = memory.apart("wrapper", _dtype(dtype), _device(device), 0)
    return View(
        dtype=_dtype(dtype),
        shape=_sizes(size),
        stride=_sizes(stride),
        offset=_size(offset),
        storage=storage,
        requires_grad=grad if type(grad) is bool else None,
        layout=_layout(layout),
        subclass=_class_name(cls) if type(cls) is Global else None,
    )


def _from_numpy(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    # numpy.core.multiarray._reconstruct, with the state (version, shape, dtype, fortran order, bytes).
    state = args[0].state[-1]
    return _on_device(_sizes(state[1]), args, memory)


def _from_cpu(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    shape = nested_tensor(args[0], memory).shape
    return _on_device(shape or (), args, memory)


def _on_device(shape: tuple[int, ...], args: tuple[Any, ...], memory: Memory) -> View:
    dtype, device, grad = _dtype(args[1]), _device(args[2]), args[3]
    storage = memory.apart("device", dtype, device, prod(shape) * DTYPE_BITS[dtype] // 8)
    return View(dtype, shape, contiguous(shape), 0, storage, "tensor", grad if type(grad) is bool else None)


def _lazy(args: tuple[Any, ...], memory: Memory, call: Call) -> View:
    # UninitializedParameter(requires_grad), and (device, dtype) behind it where they were saved.
    device = _device(args[1]) if len(args) > 1 else "cpu"
    dtype = _dtype(args[2]) if len(args) > 2 else "float32"
    grad = args[0] if args and type(args[0]) is bool else None
    return View(dtype, None, (), 0, memory.apart("lazy", dtype, device, 0), "lazy", grad)


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides that torch gives a new tensor of this shape, in elements."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _storage(value: Any, memory: Memory) -> Storage:
    if type(value) is Call:
        return memory.embedded(value)
    raise TensorError("no storage where one belongs")


def _sizes(value: Any) -> tuple[int, ...]:
    if type(value) is not tuple:
        value = _as_tuple(value)
    if len(value) > _MAX_DIMS:
        raise TensorError(f"a shape or stride of {len(value):,} dimensions")
    for size in value:
        if type(size) is not int or size < 0 or size > _MAX_INT64:
            raise TensorError("a shape or stride of something else than sizes from 0 to 2**63-1")
    return value  # type: ignore[no-any-return]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if type(value) is Call and type(value.args) is tuple and len(value.args) == 1:
        value = value.args[0]  # torch.Size((...))
    if type(value) is list:
        value = tuple(value)
    if type(value) is not tuple:
        raise TensorError("a shape or stride that is no tuple")
    return value


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_INT64:
        raise TensorError("an offset that is no number from 0 to 2**63-1")
    return value


def _dtype(value: Any) -> str:
    if type(value) is Global and value.module == "torch" and value.name in DTYPE_NAMES:
        return value.name
    raise TensorError("a dtype that torch does not have")


def _layout(value: Any) -> str:
    # torch.serialization._get_layout("torch.sparse_coo")
    if type(value) is Call and type(value.args) is tuple and value.args and type(value.args[0]) is str:
        return value.args[0].removeprefix("torch.")
    return "strided"


def _device(value: Any) -> str:
    # torch.device("cuda", 0), or its name
    if type(value) is Call and type(value.args) is tuple:
        return device_name(value.args)
    return value if type(value) is str else "cpu"


_Rebuild = Callable[[tuple[Any, ...], Memory, Call], View]
_REBUILD: dict[tuple[str, str], _Rebuild] = {
    ("torch._utils", "_rebuild_tensor"): _dense,
    ("torch._utils", "_rebuild_tensor_v2"): _dense,
    ("torch._utils", "_rebuild_tensor_v3"): _dense_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._utils", "_rebuild_qtensor"): _quantized,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _sparse,
    ("torch._utils", "_rebuild_nested_tensor"): _nested,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): _jagged,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta,
    ("torch._utils", "_rebuild_wrapper_subclass"): _wrapper,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _from_numpy,
    ("torch._utils", "_rebuild_xla_tensor"): _from_numpy,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _from_cpu,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch.nn.parameter", "Buffer"): _buffer,
    ("torch.autograd.variable", "Variable"): _variable,
    ("torch.nn.parameter", "UninitializedParameter"): _lazy,
    ("torch.nn.parameter", "UninitializedBuffer"): _lazy,
}
# Looked up once for every call in the file: two lookups of strings cost less than making a pair.
_NONE: dict[str, _Rebuild] = {}
_BY_MODULE: dict[str, dict[str, _Rebuild]] = {
    module: {name: rebuild for (owner, name), rebuild in _REBUILD.items() if owner == module}
    for module, _ in _REBUILD
}
