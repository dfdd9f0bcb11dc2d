"""What a constructor does not do: tensors that differ from those it makes, settings, what is frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.emit.code import Expression, Statement, call, value
from ckptaudit.rebuild.emit.constructor import tensors_of
from ckptaudit.rebuild.emit.made import Made, is_buffer
from ckptaudit.rebuild.emit.names import can_add, is_attribute
from ckptaudit.rebuild.emit.places import reference
from ckptaudit.rebuild.emit.places import tensor as tensor_at
from ckptaudit.rebuild.emit.states import State
from ckptaudit.rebuild.emit.tensors import empty, is_floating, is_frozen, is_parameter, parameter
from ckptaudit.rebuild.emit.text import literal, quoted, told, writable
from ckptaudit.rebuild.emit.tree import Node
from ckptaudit.text import some

LOST = "in no state dict: not loaded"
# Attributes that layers keep themselves, or that cannot be set.
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "ParameterList": ("_size",),
    "ParameterDict": ("_keys",),
    **dict.fromkeys(("RNNBase", "RNN", "GRU", "LSTM"), ("all_weights",)),
}
_LONG = 2_000  # characters of a setting that is written


def owned(node: Node, owner: str, state: State, names: list[str]) -> Iterator[Statement]:
    """The registration of tensors that `node` owns itself."""
    for name in names:
        tensor = node.tensors[name]
        yield _registered(owner, name, tensor, state, is_parameter(name, tensor), taken=name in node.inside)


def unsaved(node: Node, owner: str, state: State) -> Iterator[Statement]:
    """Placeholders for tensors that no state dict has."""
    computed = {parameter for _, parameter in node.part.wrappers}
    for name, tensor in node.unsaved.items():
        if node.form == "layer" and name in computed:
            continue
        if name in node.inside or not can_add(name):
            yield Statement("", "", f"not made: {told(name)}, {LOST}")
        elif tensor.kind == "buffer" and tensor.shape is not None:
            made = empty(tensor, "size", state.dtype is not None)
            code = call(f"{owner}.register_buffer", quoted(name), made, persistent="False")
            yield Statement("", code, LOST)
        else:
            yield _set(owner, name, _value(name, tensor, state), LOST)

    if node.lost:
        names = some([told(name) for name in node.lost], 4)
        yield Statement("", "", f"not made, as no module holds them: {names}; {LOST}")


def _value(name: str, tensor: TensorMeta, state: State) -> Expression:
    is_one = tensor.kind in ("parameter", "lazy")
    return parameter(name, tensor, False, state.frozen) if is_one else empty(tensor, "size")


def settings(node: Node, owner: str) -> Iterator[Statement]:
    """Attributes that hold plain values."""
    for name, thing in node.part.settings.items():
        if name in node.tensors or name in node.inside or name in node.unsaved:
            continue
        if name in _OWN.get(node.part.layer or "", ()):
            continue
        if can_add(name) and writable(thing) and len(literal(thing)) <= _LONG:
            yield _set(owner, name, value(thing, name))
        elif name != "training":
            yield Statement("", "", f"not set: {told(name)}")


def _set(owner: str, name: str, code: Expression, note: str = "") -> Statement:
    if is_attribute(name):
        return Statement(f"{owner}.{name} = ", code, note)
    return Statement("", call("setattr", owner, quoted(name), code), note)


def of_layer(node: Node, scope: Node, state: State) -> Iterator[Statement]:
    """The tensors of a layer made to be as in the file; nothing where they are already."""
    made = tensors_of(node)
    there: set[str] = set()
    for inner in node.below():
        above = "".join(f"{name}." for name in inner.path[len(node.path) :])
        for name, tensor in inner.tensors.items():
            there.add(above + name)
            is_made = made is None or (above + name in made and made[above + name] == tensor.shape)
            owner = reference(scope, inner)
            if not (is_made and _has_its_dtype(name, tensor, state)):
                is_one = _is_parameter_of(node, above + name, tensor, made)
                yield _registered(owner, name, tensor, state, is_one, taken=name in inner.inside)
            elif is_frozen(tensor) and not state.frozen:
                yield Statement("", f"{tensor_at(owner, name)}.requires_grad_(False)")
    for name in [name for name in made or {} if name not in there]:
        what = "buffer" if is_buffer(name) else "parameter"
        yield Statement("", call(f"{reference(scope, node)}.register_{what}", quoted(name), "None"))


def _is_parameter_of(node: Node, name: str, tensor: TensorMeta, made: Made | None) -> bool:
    if tensor.kind == "tensor" and made is not None and name in made:
        return node.part.layer != "FrozenBatchNorm2d" and not is_buffer(name)
    return is_parameter(name.rpartition(".")[2], tensor)


def _has_its_dtype(name: str, tensor: TensorMeta, state: State) -> bool:
    if tensor.layout != "strided":
        return False
    if name == "num_batches_tracked":
        return tensor.dtype == "int64"
    return tensor.dtype == (state.dtype or "float32")


def _registered(
    owner: str, name: str, tensor: TensorMeta, state: State, is_one: bool, taken: bool
) -> Statement:
    """`taken` says that a module bears the same name, which only torch's own tables can tell apart."""
    cast = state.dtype is not None
    note = "" if tensor.subclass is None else f"a {told(tensor.subclass)} in the file"
    if is_one:
        code = parameter(name, tensor, cast, state.frozen)
        if taken or not can_add(name):
            return Statement(f"{owner}._parameters[{quoted(name)}] = ", code, note)
        if is_attribute(name):
            return Statement(f"{owner}.{name} = ", code, note)
        return Statement("", call(f"{owner}.register_parameter", quoted(name), code), note)
    code = empty(tensor, "size", cast and is_floating(tensor.dtype))
    if taken or not can_add(name):
        return Statement(f"{owner}._buffers[{quoted(name)}] = ", code, note)
    return Statement("", call(f"{owner}.register_buffer", quoted(name), code), note)


def mode(node: Node, owner: str, state: State) -> Iterator[Statement]:
    """The flag of a module that is in evaluation mode among others that are not."""
    if node.part.training is False and not state.evaluated:
        yield Statement(f"{owner}.training = ", "False")


def extra(node: Node, owner: str) -> Iterator[Statement]:
    """What `get_extra_state` returns, where that is a tensor."""
    if node.state is not None and node.state.shape is not None:
        yield Statement(f"{owner}.extra_state = ", empty(node.state, "size"))
