"""What is written of each module: a call, a container of calls, or a class of its own."""

from __future__ import annotations

from ckptaudit.rebuild.emit.constructor import constructed, is_layer, tensors_of
from ckptaudit.rebuild.emit.made import is_buffer
from ckptaudit.rebuild.emit.names import can_add
from ckptaudit.rebuild.emit.sane import is_affordable, is_sane
from ckptaudit.rebuild.emit.tensors import is_floating
from ckptaudit.rebuild.emit.text import UnwritableError
from ckptaudit.rebuild.emit.tree import Form, Node

_LISTS = frozenset({"Sequential", "ModuleList"})
_PARAMETERS = frozenset({"ParameterList", "ParameterDict"})


def settle(root: Node) -> None:
    """Give every node of a tree its form."""
    for node in root.below():
        node.form = _form(node)
    if root.form in ("list", "dict") and root.part.layer is None:
        root.form = "class"  # the model itself gets its name


def _form(node: Node) -> Form:
    if is_layer(node) and _can_be_called(node):
        return "layer"
    is_plain = not (node.tensors or node.unsaved or node.has_state or node.part.settings)
    if node.part.layer in _PARAMETERS and _are_listed(node):
        return "parameters"
    if node.part.cls is not None and node.part.layer is None:
        return "class"
    if node.part.layer is None and is_plain and not node.inside and node.above is not None:
        return "unknown"
    layer = node.part.layer
    if layer in _LISTS or layer is None:
        numbered = list(node.inside) == [str(place) for place in range(len(node.inside))]
        if is_plain and numbered and (node.inside or layer is not None):
            return "list"
    if layer == "ModuleDict" and is_plain and all(map(can_add, node.inside)):
        return "dict"
    return "class"


def _can_be_called(node: Node) -> bool:
    """Whether a call can make it, and its tensors can be put right where they differ from those it makes."""
    if not is_sane(node):
        return False
    try:
        constructed(node, "")
    except UnwritableError:
        return False
    names = [*node.tensors, *node.unsaved]
    if not all(map(can_add, names)) or _holds_alias(node):
        return False
    made = tensors_of(node)
    if made is None:
        return True
    if not is_affordable(node, made):
        return False
    owned = dict(node.owned())
    if node.part.cls is None and any(
        not is_floating(owned[name].dtype) for name in made if name in owned and not is_buffer(name)
    ):
        return False  # it was guessed by shapes; a layer does not compute with such weights
    # What hangs deeper than in the module itself is not to be put right from outside.
    deep = {name for name in {*made, *owned} if "." in name}
    return all(name in made and name in owned for name in deep)


def _holds_alias(node: Node) -> bool:
    return any(inner.alias is not None for each in node.below() for inner in each.inside.values())


def _are_listed(node: Node) -> bool:
    if node.inside or node.unsaved or node.has_state:
        return False
    numbered = list(node.tensors) == [str(place) for place in range(len(node.tensors))]
    return numbered if node.part.layer == "ParameterList" else all(map(can_add, node.tensors))
