"""Where modules are from the source's view: in which class, and under which expression."""

from __future__ import annotations

import re

from ckptaudit.rebuild.emit.names import class_name, is_attribute, user_class
from ckptaudit.rebuild.emit.text import quoted
from ckptaudit.rebuild.emit.tree import Node


def scope_of(node: Node) -> Node:
    """The module in whose `__init__` this one is made; the root where there is no such class."""
    above = node.above or node
    while above.form != "class" and above.above is not None:
        above = above.above
    return above


def common_scope(nodes: list[Node]) -> Node:
    """The innermost module with a class of its own (or the root) that holds all of these, or is one."""
    path = nodes[0].path
    for node in nodes[1:]:
        length = next(
            (at for at, (a, b) in enumerate(zip(path, node.path, strict=False)) if a != b),
            min(len(path), len(node.path)),
        )
        path = path[:length]
    inner = next(node for node in nodes[0].outwards() if node.path == path)
    return inner if inner.form == "class" else scope_of(inner)


def variable(scope: Node) -> str:
    """What a module is called where it is put together."""
    return "self" if scope.form == "class" else "model"


def reference(scope: Node, node: Node) -> str:
    """`self.net[0]`: the expression for `node` in the class of `scope`."""
    steps = []
    for each in node.outwards():
        if each is scope:
            break
        steps.append(step(each))
    return variable(scope) + "".join(reversed(steps))


def step(node: Node) -> str:
    """How one comes from the module around it to `node`: `[0]`, `["key"]` or `.name`."""
    form = node.above.form if node.above is not None else "class"
    if form == "list":
        return f"[{node.name}]"
    if form == "dict":
        return f"[{quoted(node.name)}]"
    return f".{node.name}" if is_attribute(node.name) else f"._modules[{quoted(node.name)}]"


def tensor(owner: str, name: str, among: str = "_parameters") -> str:
    """The expression for a tensor of the module that `owner` stands for."""
    return f"{owner}.{name}" if is_attribute(name) else f"{owner}.{among}[{quoted(name)}]"


def hint(node: Node, root: str) -> str:
    """A name for the class of a module: its own in the file, or one made of where it hangs."""
    if node.above is None:
        return root
    if node.part.cls is not None and node.part.layer is None:
        return user_class(node.part.cls)
    name = class_name(re.sub(r"\d+", "", node.name).replace(".", " "), "")
    if name:
        return name
    around = hint(node.above, root)
    if node.above.form != "list" or node.above.above is None:
        return f"{around}Part"
    if around.lower().endswith(("block", "blocks", "layers", "stages", "modules", "experts")):
        return around.removesuffix("s")
    return f"{around}Block"
