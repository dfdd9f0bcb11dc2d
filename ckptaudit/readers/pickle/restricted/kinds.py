"""The rebuild functions of tensors that are not dense: meta, sparse, nested, quantized, and wrappers.

Source: torch/_utils.py of torch 2.13; what its C++ half checks was found by trying it.
"""

from __future__ import annotations

from typing import Any, Final

from ckptaudit.readers.pickle.restricted.plain import unpacked
from ckptaudit.readers.pickle.restricted.rebuild import Args, dtype_in, set_grad, takes, tensor_in
from ckptaudit.readers.pickle.restricted.values import (
    COMPLEX,
    FLOATING,
    MOST_BYTES,
    QUANTIZED,
    Budget,
    Foreign,
    Layout,
    Made,
    Memory,
    Named,
    Tensor,
    Typed,
    is_int,
    kind_of,
    need,
)
from ckptaudit.readers.pickle.restricted.views import count, fresh, numbers, place, reached, sizes, width

_AFFINE: Final = "torch.per_tensor_affine"
_BY_CHANNEL: Final = ("torch.per_channel_affine", "torch.per_channel_affine_float_qparams")
_COMPRESSED: Final = ("sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
# Dtypes that torch keeps bits in, and does not compute with.
_NO_NUMBERS: Final = QUANTIZED | {f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)} | {
    "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2", "float4_e2m1fn_x2",
}  # fmt: skip


def meta_tensor(args: Args, budget: Budget) -> Tensor:
    """_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad)."""
    takes("_rebuild_meta_tensor_no_storage", args, 4, 4)
    tensor = Tensor(dtype_in(args[0]), sizes(args[1], "a shape"), Memory(0, grows=True))
    tensor.stride, tensor.device = sizes(args[2], "a stride"), "meta"
    need(tensor.dtype not in QUANTIZED, f"a meta tensor of {tensor.dtype}")
    need(min(tensor.shape, default=0) >= 0, "a negative size")
    need(len(tensor.stride) == len(tensor.shape), "a shape and a stride of different lengths")
    count(tensor.shape)
    if args[3] is not None:
        set_grad(tensor, args[3])
    return tensor


def device_tensor(args: Args, budget: Budget) -> Tensor:
    """_rebuild_device_tensor_from_cpu_tensor(data, dtype, device, requires_grad)."""
    takes("_rebuild_device_tensor_from_cpu_tensor", args, 4, 4)
    data = tensor_in(args[0], "the data of a tensor")
    made = data.like()
    made.dtype = data.dtype if args[1] is None else dtype_in(args[1])
    if made.dtype != data.dtype:
        need(not _NO_NUMBERS & {made.dtype, data.dtype}, f"a tensor of {data.dtype} as one of {made.dtype}")
    set_grad(made, args[3])
    return made


def numpy_tensor(args: Args, budget: Budget) -> Tensor:
    """_rebuild_device_tensor_from_numpy(data, dtype, device, requires_grad)."""
    takes("_rebuild_device_tensor_from_numpy", args, 4, 4)
    need(type(args[0]) is Made, f"{kind_of(args[0])} as a numpy array")
    made = fresh(dtype_in(args[1]), (0,))
    set_grad(made, args[3])
    return made


def wrapper_subclass(args: Args, budget: Budget) -> Tensor:
    """_rebuild_wrapper_subclass(cls, dtype, size, stride, offset, layout, device, requires_grad)."""
    takes("_rebuild_wrapper_subclass", args, 8, 8)
    need(type(args[0]) in (Foreign, Made), f"a wrapper of {kind_of(args[0])}")
    made = Tensor(dtype_in(args[1]), sizes(args[2], "a shape"))
    made.cls = args[0].name if type(args[0]) is Foreign else ""
    need(type(args[5]) is Layout or args[5] is None, f"{kind_of(args[5])} as a layout")
    return made


def sparse_tensor(args: Args, budget: Budget) -> Tensor:
    """_rebuild_sparse_tensor(layout, data)."""
    takes("_rebuild_sparse_tensor", args, 2, 2)
    layout = args[0].name if type(args[0]) is Layout else ""
    data = unpacked(args[1], budget)
    if layout == "sparse_coo":
        need(len(data) in (3, 4), f"{len(data)} parts of a sparse tensor")
        need(len(data) == 3 or data[3] is None or type(data[3]) is bool, "is_coalesced that is no flag")
        return coo_tensor(tensor_in(data[0], "indices"), tensor_in(data[1], "values"), data[2])
    need(layout in _COMPRESSED and len(data) == 4, f"a sparse tensor of layout {layout or kind_of(args[0])}")
    parts = [tensor_in(part, "a part of a sparse tensor") for part in data[:3]]
    made = Tensor(parts[2].dtype, sizes(data[3], "a shape"))
    count(made.shape)
    need(min(made.shape, default=0) >= 0, "a negative size")
    made.layout = layout
    return made


def coo_tensor(indices: Tensor, values: Tensor, size: Any) -> Tensor:
    """torch.sparse_coo_tensor(indices, values, size), without a look at the numbers in it."""
    shape = sizes(size, "a shape")
    need(len(indices.shape) == 2, "indices of a sparse tensor that are no matrix")
    need((values.shape or (1,))[0] == indices.shape[1], "as many values as indices")
    count(shape)
    need(min(shape, default=0) >= 0, "a negative size")
    dense = (values.shape or (1,))[1:]
    need(len(shape) == indices.shape[0] + len(dense), "a shape that does not fit the indices")
    need(shape[indices.shape[0] :] == dense, "a shape that does not fit the values")
    made = Tensor(values.dtype, shape)
    made.layout = "sparse_coo"
    return made


def nested_tensor(args: Args, budget: Budget) -> Tensor:
    """_rebuild_nested_tensor(buffer, sizes, strides, offsets)."""
    takes("_rebuild_nested_tensor", args, 4, 4)
    buffer, *parts = (tensor_in(part, "a part of a nested tensor") for part in args)
    need(len(buffer.shape) == 1, "the buffer of a nested tensor that is no row")
    need(all(part.dtype == "int64" for part in parts), "sizes of a nested tensor that are no int64")
    shapes, strides, offsets = parts
    rows = shapes.shape[:1]
    need(len(shapes.shape) == 2 and strides.shape == shapes.shape, "sizes and strides that do not fit")
    need(offsets.shape == rows, "sizes and offsets that do not fit")
    wide = shapes.shape[1]
    steps, sides = numbers(strides), numbers(shapes)
    memory = buffer.memory or Memory(0)
    for row, offset in enumerate(numbers(offsets)):
        part = slice(row * wide, (row + 1) * wide)
        nbytes = reached(tuple(sides[part]), tuple(steps[part]), offset, width(buffer.dtype))
        need(nbytes <= memory.nbytes, "a part of a nested tensor that lies outside its buffer")
    made = Tensor(buffer.dtype, ())
    made.layout = "nested"
    return made


def quantized_tensor(args: Args, budget: Budget) -> Tensor:
    """_rebuild_qtensor(storage, offset, size, stride, parameters, requires_grad, hooks)."""
    takes("_rebuild_qtensor", args, 7, 7)
    storage, parameters = args[0], args[4]
    need(type(parameters) in (tuple, list) and parameters, f"{kind_of(parameters)} as quantizer parameters")
    scheme = parameters[0].name if type(parameters[0]) is Named else ""
    need(type(storage) is Typed and storage.dtype in QUANTIZED, "a quantized tensor of no quantized storage")
    shape = sizes(args[2], "a shape")
    need(min(shape, default=0) >= 0, "a negative size")
    if scheme == _AFFINE:
        need(len(parameters) == 3, f"{len(parameters)} quantizer parameters")
        need(isinstance(parameters[1], int | float), f"{kind_of(parameters[1])} as a scale")
        need(is_int(parameters[2]), f"{kind_of(parameters[2])} as a zero point")
    else:
        need(scheme in _BY_CHANNEL, f"a quantized tensor by {scheme or kind_of(parameters[0])}")
        _check_channels(shape, parameters)
    need(count(shape) < MOST_BYTES, "more bytes than any machine has")
    tensor = Tensor(storage.dtype or "", (0,))
    place(tensor, storage.memory, args[1], args[2], args[3], packed=True)
    set_grad(tensor, args[5])
    return tensor


def _check_channels(shape: tuple[int, ...], parameters: Any) -> None:
    need(len(parameters) == 4, f"{len(parameters)} quantizer parameters")
    _, scales, zeros, axis = parameters
    need(is_int(axis) and 0 <= axis < len(shape), "a quantized tensor along an axis that it does not have")
    for part in (scales, zeros):
        if type(part) is list:
            need(len(part) == shape[axis], "as many scales and zero points as channels")
            need(all(isinstance(item, int | float) for item in part), "scales that are no numbers")
        else:
            tensor = tensor_in(part, "scales or zero points")
            need(tensor.numel == shape[axis], "as many scales and zero points as channels")
            need(len(tensor.shape) == 1, "scales in more than one dimension")
            need(tensor.dtype not in _NO_NUMBERS, f"scales or zero points of {tensor.dtype}")
    need(type(scales) is type(zeros), "scales and zero points of different sorts")
    if type(scales) is Tensor:
        need(scales.dtype in FLOATING - COMPLEX, f"scales of {scales.dtype}")
