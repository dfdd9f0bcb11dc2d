"""The call that makes one layer of torch.nn, what was put around it, and the tensors that it then has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Final

from ckptaudit.layers import ModuleLike, TensorLike
from ckptaudit.layers.registry import fitting
from ckptaudit.rebuild.emit.code import Expression, Group, Item, Number, call, value
from ckptaudit.rebuild.emit.made import Made, Shape, made
from ckptaudit.rebuild.emit.names import is_attribute
from ckptaudit.rebuild.emit.text import UnwritableError, quoted
from ckptaudit.rebuild.emit.tree import Node
from ckptaudit.rebuild.known import FUNCTIONS, ROWS, is_needed

CONTAINERS: Final = frozenset({"Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})
# Layers that torch.nn does not have, but many files do: they are written into the source.
OUR_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "Conv1D": ("nf", "nx"),
    "FrozenBatchNorm2d": ("num_features",),
}
_CLASS = re.compile(r"[A-Z][A-Za-z0-9]{0,60}")
_TOLD = re.compile(r"\b(n_power_iterations|eps)=(\d{1,9}(?:\.\d{1,20})?(?:e-?\d{1,3})?)(?![\w.])")
_KERNELS = frozenset({"kernel_size", "stride", "padding", "dilation", "output_padding"})
_ACTIVATIONS = frozenset(FUNCTIONS.values())
_NEEDED = {"TransformerEncoder": ("encoder_layer",), "TransformerDecoder": ("decoder_layer",)}
# Arguments that are modules, and where the module holds them.
_PARTS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "TransformerEncoder": (("encoder_layer", "layers", "0"), ("norm", "norm")),
    "TransformerDecoder": (("decoder_layer", "layers", "0"), ("norm", "norm")),
    "Transformer": (("custom_encoder", "encoder"), ("custom_decoder", "decoder")),
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerDecoderLayer"), (("activation", "activation"),)),
    "TripletMarginWithDistanceLoss": (("distance_function", "distance_function"),),
}
_ELSEWHERE = {"NonDynamicallyQuantizableLinear": "nn.modules.linear"}
# How wrappers are written; a layer in one that is not here cannot be.
_WRAPPERS: Final = {
    "weight_norm": "nn.utils.weight_norm",
    "spectral_norm": "nn.utils.spectral_norm",
    "prune": "prune.identity",
    "parametrizations.weight_norm": "nn.utils.parametrizations.weight_norm",
    "parametrizations.spectral_norm": "nn.utils.parametrizations.spectral_norm",
    "parametrizations.orthogonal": "nn.utils.parametrizations.orthogonal",
}


def is_layer(node: Node) -> bool:
    """Whether the plan names a layer that a call can make: no container, and no class of anything else."""
    name = node.part.layer
    return (
        name is not None
        and name not in CONTAINERS
        and (name in ROWS or name in OUR_OWN)
        and all(_kind(wrapper) in _WRAPPERS for wrapper, _ in node.part.wrappers)
    )


def constructed(node: Node, name: str) -> Group:
    """`nn.Linear(20, 256)`, in its wrappers. Raises UnwritableError where an argument is no plain value."""
    code = _call(name, node.part.layer or "", {**filled(node), **node.part.arguments, **_of_parts(node)})
    for wrapper, parameter in node.part.wrappers:
        named = _wrapper_arguments(node, wrapper, parameter)
        code = call(_WRAPPERS[_kind(wrapper)], code, quoted(parameter), **named)
        if parameter == "weight" and wrapper != "prune":
            code = code._replace(items=(code.items[0], *code.items[2:]))
    return code


def class_of(layer: str) -> str:
    """`nn.Linear`; a few classes are not in torch.nn itself."""
    return f"{_ELSEWHERE.get(layer, 'nn')}.{layer}"


def _of_parts(node: Node) -> Mapping[str, object]:
    """Arguments that are modules, which the module then holds: calls that make them."""
    found: dict[str, object] = {}
    for argument, *path in _PARTS.get(node.part.layer or "", ()):
        part = part_of(node, *path)
        if argument in node.part.arguments or part is None or part.part.layer is None:
            continue
        # As torch makes them itself, they have a norm.
        if not argument.startswith("custom") or "norm" not in part.inside:
            found[argument] = constructed(part, class_of(part.part.layer))
    return found


def part_of(node: Node, *path: str) -> Node | None:
    """The module that hangs there in `node`."""
    part: Node | None = node
    for name in path:
        part = part and part.inside.get(name)
    return part


def filled(node: Node) -> Mapping[str, object]:
    """Arguments that torch wants, the plan has not, and shapes of tensors tell."""
    row = ROWS.get(node.part.layer or "", {})
    lacking = [
        name for name, default in row.items() if is_needed(default) and name not in node.part.arguments
    ]
    shapes = {name: tensor.shape for name, tensor in node.tensors.items() if tensor.shape is not None}
    if not lacking or len(shapes) != len(node.tensors) or not shapes:
        return {}
    for layer, arguments in fitting(shapes):
        if layer.name == node.part.layer:
            return {name: arguments[name] for name in lacking if name in arguments}
    return {}


def _call(function: str, layer: str, arguments: Mapping[str, object]) -> Group:
    row = ROWS.get(layer, {})
    first = [name for name, default in row.items() if is_needed(default)] or list(OUR_OWN.get(layer, ()))
    first = [*_NEEDED.get(layer, ()), *first]
    if not arguments.keys() >= set(first):
        raise UnwritableError(layer)
    items = [Item(_written(arguments[name], name, layer)) for name in first]
    for name, given in arguments.items():
        is_default = name in row and type(row[name]) is type(given) and row[name] == given
        if name in first or is_default:
            continue
        if not is_attribute(name):
            raise UnwritableError(name)
        items.append(Item(_written(given, name, layer), f"{name}="))
    return Group(f"{function}(", tuple(items))


def _written(given: object, name: str, layer: str) -> Expression:
    if isinstance(given, Group):
        return given
    if isinstance(given, TensorLike):
        return call("torch.empty", *(tuple([Number(size, name) for size in given.shape]) or ("()",)))
    if isinstance(given, ModuleLike):
        if not _CLASS.fullmatch(given.layer):
            raise UnwritableError(given.layer)
        return _call(class_of(given.layer), given.layer, given.arguments)
    if name == "activation" and type(given) is str and given not in ("relu", "gelu"):
        if given not in _ACTIVATIONS:
            raise UnwritableError(given)
        return given.removeprefix("torch.") if given.startswith("torch.nn.") else given
    return value(_short(given, name, layer), name)


def _short(given: object, name: str, layer: str) -> object:
    """(3, 3) is 3 for a Conv2d, and (8,) is 8 for a LayerNorm."""
    if not isinstance(given, tuple | list) or not given or any(size != given[0] for size in given):
        return given
    dims = layer[-2:-1] if name in _KERNELS and "Conv" in layer else ""
    whole = 1 if name == "normalized_shape" else int(dims) if dims.isdecimal() else 0
    return given[0] if len(given) == whole else given


def tensors_of(node: Node) -> Made | None:
    """Names and shapes of the tensors that `constructed` makes; None where that is not known."""
    found = made(node.part.layer or "", {**filled(node), **node.part.arguments})
    if found is None:
        return None
    for wrapper, parameter in node.part.wrappers:
        if parameter not in found:
            return None
        inner = _wrapped(node, wrapper, parameter, found.pop(parameter))
        if inner is None:
            return None
        found |= inner
    return found


def _wrapped(node: Node, wrapper: str, parameter: str, shape: Shape) -> Made | None:
    """What a wrapper makes of a parameter."""
    wrapper = _kind(wrapper)
    stem = f"parametrizations.{parameter}."
    if shape is None or not shape:
        return None
    if wrapper.endswith("weight_norm"):
        dim = _dim(node, wrapper, parameter)
        norms = () if dim is None else tuple([size if at == dim else 1 for at, size in enumerate(shape)])
        names: tuple[str, ...] = (f"{stem}original0", f"{stem}original1")
        names = names if "." in wrapper else (f"{parameter}_g", f"{parameter}_v")
        return {names[0]: norms, names[1]: shape}
    if wrapper == "prune":
        return {f"{parameter}_orig": shape, f"{parameter}_mask": shape}
    if wrapper.endswith("spectral_norm"):
        names = _spectral_names(wrapper, parameter)
        dim = _spectral_dim(node, names[1], shape)
        return {names[0]: shape, names[1]: (shape[dim],), names[2]: (prod(shape) // (shape[dim] or 1),)}
    return {f"{stem}original": shape, f"{stem}0.base": shape} if wrapper.endswith("orthogonal") else None


def _wrapper_arguments(node: Node, wrapper: str, parameter: str) -> dict[str, Expression]:
    if wrapper.endswith("weight_norm"):
        dim = _dim(node, wrapper, parameter)
        return {} if dim == 0 else {"dim": repr(dim)}
    # `spectral_norm(n_power_iterations=3)`: text of a plan, of which nothing but numbers is taken.
    told = _TOLD.findall(wrapper.partition("(")[2])
    named: dict[str, Expression] = {
        name: repr(int(number) if name == "n_power_iterations" else float(number))
        for name, number in told
        if name == "eps" or number.isdecimal()
    }
    if _kind(wrapper).endswith("spectral_norm"):
        whole, vector, _ = _spectral_names(wrapper, parameter)
        tensor = dict(node.owned()).get(whole)
        if tensor is not None and tensor.shape:
            dim = _spectral_dim(node, vector, tensor.shape)
            if dim != _usual(node):
                named["dim"] = repr(dim)
    return named


def _spectral_names(wrapper: str, parameter: str) -> tuple[str, str, str]:
    """Of the parameter as it is kept, and of its singular vectors, left and right."""
    if "." in _kind(wrapper):
        inner = f"parametrizations.{parameter}."
        return f"{inner}original", f"{inner}0._u", f"{inner}0._v"
    return f"{parameter}_orig", f"{parameter}_u", f"{parameter}_v"


def _usual(node: Node) -> int:
    return 1 if (node.part.layer or "").startswith("ConvTranspose") else 0


def _spectral_dim(node: Node, vector: str, shape: tuple[int, ...]) -> int:
    """The dimension whose size the left singular vector has."""
    tensor = dict(node.owned()).get(vector)
    usual = min(_usual(node), len(shape) - 1)
    if tensor is None or not tensor.shape or tensor.shape[0] == shape[usual]:
        return usual
    return next((at for at, size in enumerate(shape) if size == tensor.shape[0]), usual)


def _kind(wrapper: str) -> str:
    return wrapper.partition("(")[0]


def _dim(node: Node, wrapper: str, parameter: str) -> int | None:
    """The dimension along which weight norm keeps norms: the one in which they have more than one, or all."""
    name = f"parametrizations.{parameter}.original0" if "." in wrapper else f"{parameter}_g"
    tensor = dict(node.owned()).get(name)
    shape = () if tensor is None or tensor.shape is None else tensor.shape
    if not shape:
        return None
    return next((at for at, size in enumerate(shape) if size != 1), 0)
