"""The modules of a plan as a tree: each with its part, the tensors it owns, and the modules in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.plan import Part, Plan

# Names deeper than any model's stay one name: a hostile key of 30,000 dots would make as many classes.
LEVELS = 40
# What is written of a node: nn.Linear(...), nn.Sequential(...) or nn.ModuleList(...), nn.ModuleDict({...}),
# nn.ParameterList([...]), a class of its own, or a stand-in for what is only known to be there.
Form = Literal["layer", "list", "dict", "parameters", "class", "unknown"]
STATE = "_extra_state"


@dataclass(slots=True, eq=False)
class Node:
    """One module. `alias` is the module that it is itself, where it hangs in two places.

    `unsaved` and `lost` are tensors that no state dict has: its own by their names, and those in containers
    that nn.Module does not look into by dotted names. `drops` says that the state dict of the model also
    has keys that hold no tensor.
    """

    name: str
    path: tuple[str, ...]
    part: Part
    above: Node | None = None
    inside: dict[str, Node] = field(default_factory=dict)
    tensors: dict[str, TensorMeta] = field(default_factory=dict)
    unsaved: dict[str, TensorMeta] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    form: Form = "class"
    has_state: bool = False
    state: TensorMeta | None = None
    alias: Node | None = None
    drops: bool = False

    def below(self) -> Iterator[Node]:
        """This node and all below it, from the top down; what is under an alias is not repeated."""
        stack = [self]
        while stack:
            node = stack.pop()
            if node.alias is None or node is self:
                yield node
                stack += reversed(node.inside.values())

    def owned(self) -> Iterator[tuple[str, TensorMeta]]:
        """Saved tensors at and below this node, by their dotted names from here."""
        for node in self.below():
            above = node.path[len(self.path) :]
            for name, tensor in node.tensors.items():
                yield ".".join((*above, name)), tensor

    def outwards(self) -> Iterator[Node]:
        """This node, the one around it, and so on."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.above


def split(key: str) -> tuple[str, ...]:
    """`h.0.weight` -> h, 0, weight."""
    return tuple(key.split(".", LEVELS))


def grow(plan: Plan) -> Node:
    """The tree of a plan. Modules that only names of tensors tell of are in it too."""
    root = Node("", (), plan.parts.get("") or Part(""))
    index: dict[tuple[str, ...], Node] = {(): root}
    for path, part in plan.parts.items():
        if path and path.count(".") < LEVELS:
            _node(index, split(path), plan).part = part
    for key, tensor in plan.tensors.items():
        *above, name = split(key)
        node = _node(index, tuple(above), plan)
        if name == STATE:
            node.has_state, node.state = True, tensor
        else:
            node.tensors[name] = tensor
    for key, tensor in plan.unsaved.items():
        *above, name = split(key)
        owner = index.get(tuple(above))
        if owner is not None and name not in owner.tensors:
            owner.unsaved[name] = tensor
        elif owner is None:
            _nearest(index, tuple(above)).lost.append(key)
    for key in plan.extra:
        *above, name = split(key)
        if name == STATE:
            _node(index, tuple(above), plan).has_state = True
        else:
            root.drops = True
    for node in index.values():
        if len(node.inside) > 1 and all(name.isdecimal() and len(name) < 19 for name in node.inside):
            # Modules that own nothing may be named after all that do.
            node.inside = dict(sorted(node.inside.items(), key=lambda pair: int(pair[0])))
    _join(index, plan)
    return root


def _node(index: dict[tuple[str, ...], Node], path: tuple[str, ...], plan: Plan) -> Node:
    missing = []
    while path not in index:
        missing.append(path)
        path = path[:-1]
    node = index[path]
    for path in reversed(missing):
        # A module whose name is empty has the path of what it is in, and not its part.
        part = plan.parts.get(".".join(path)) if path[-1] else None
        made = Node(path[-1], path, part or Part(".".join(path)), node)
        node.inside[path[-1]] = index[path] = made
        node = made
    return node


def _nearest(index: dict[tuple[str, ...], Node], path: tuple[str, ...]) -> Node:
    while path not in index:
        path = path[:-1]
    return index[path]


def _join(index: dict[tuple[str, ...], Node], plan: Plan) -> None:
    """Point aliases at the modules that they are; what is no such module stays one of its own."""
    for path, part in plan.parts.items():
        node = index.get(split(path)) if path and part.alias is not None else None
        first = index.get(split(part.alias) if part.alias else ())
        if node is None or first is None or node in first.outwards() or first in node.outwards():
            continue
        if not any(above.part.alias is not None for above in first.outwards()):
            node.alias = first
