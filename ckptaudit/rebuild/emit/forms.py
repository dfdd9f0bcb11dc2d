"""What is written of each module: a call, a container of calls, or a class of its own."""

from __future__ import annotations

from collections.abc import Mapping

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.emit.bounds import COMPOSED, Room
from ckptaudit.rebuild.emit.constructor import constructed, filled, is_layer, tensors_of
from ckptaudit.rebuild.emit.made import Made, is_buffer
from ckptaudit.rebuild.emit.names import can_add
from ckptaudit.rebuild.emit.sane import is_sane
from ckptaudit.rebuild.emit.tensors import EXPANDED, is_floating
from ckptaudit.rebuild.emit.text import UnwritableError
from ckptaudit.rebuild.emit.tree import Form, Node

_LISTS = frozenset({"Sequential", "ModuleList"})
_PARAMETERS = frozenset({"ParameterList", "ParameterDict"})


def settle(root: Node) -> None:
    """Give every node of a tree its form."""
    room = Room(root)
    covered: set[Node] = set()  # what the constructor of a layer around it makes
    for node in root.below():
        if node.above is not None and (node.above in covered or node.above.form == "layer"):
            covered.add(node)
        node.form = _form(node, None if node in covered else room)
    if root.form in ("list", "dict", "parameters") and (root.part.layer is None or root.drops):
        root.form = "class"  # the model itself gets its name, and what it needs for loading


def _form(node: Node, room: Room | None) -> Form:
    if is_layer(node) and _can_be_called(node) and (room is None or room.takes(node)):
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
    try:
        constructed(node, "")
    except UnwritableError:
        return False
    names = [*node.tensors, *node.unsaved]
    if not all(map(can_add, names)) or _holds_alias(node):
        return False
    if not is_sane(node.part.layer or "", {**filled(node), **node.part.arguments}):
        return False
    owned = dict(node.owned())
    if any(tensor.layout == EXPANDED for tensor in owned.values()):
        return False
    made = tensors_of(node)
    if made is None:
        return not node.part.wrappers and node.part.layer in COMPOSED
    if not _can_be_put_right(node, made, owned):
        return False
    if node.part.cls is None and any(
        not is_floating(owned[name].dtype) for name in made if name in owned and not is_buffer(name)
    ):
        return False  # it was guessed by shapes; a layer does not compute with such weights
    # What hangs deeper than in the module itself is not to be put right from outside.
    deep = {name for name in {*made, *owned} if "." in name}
    return all(name in made and name in owned for name in deep)


def _can_be_put_right(node: Node, made: Made, owned: Mapping[str, TensorMeta]) -> bool:
    """Whether names that the constructor gives to parameters can be given to what the file has."""
    others = {*node.unsaved, *(name for name in node.part.settings if name not in owned)}
    if not made.keys().isdisjoint(others):
        return False
    if node.part.wrappers and any(0 in shape for shape in made.values() if shape is not None):
        return False  # what is put around a parameter computes with it
    recurs = "num_layers" in node.part.arguments
    for name, tensor in owned.items():
        is_lazy = tensor.shape is None and made.get(name) is not None
        turned = tensor.kind == "buffer" and name in made and node.part.layer != "FrozenBatchNorm2d"
        as_made = tensor.shape == made.get(name) and is_floating(tensor.dtype)
        if (is_lazy and recurs) or (turned and not is_buffer(name) and not as_made):
            return False
    return True


def _holds_alias(node: Node) -> bool:
    return any(inner.alias is not None for each in node.below() for inner in each.inside.values())


def _are_listed(node: Node) -> bool:
    if node.inside or node.unsaved or node.has_state:
        return False
    numbered = list(node.tensors) == [str(place) for place in range(len(node.tensors))]
    return numbered if node.part.layer == "ParameterList" else all(map(can_add, node.tensors))
