"""From the tree of a plan to the classes of the source, and the expression that makes the model."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.rebuild.emit import fixes
from ckptaudit.rebuild.emit.classes import Body, Class, share
from ckptaudit.rebuild.emit.code import Expression, Group, Item, Loop, Statement, call
from ckptaudit.rebuild.emit.constructor import OUR_OWN, class_of, constructed
from ckptaudit.rebuild.emit.helpers import HELPERS
from ckptaudit.rebuild.emit.names import Names, can_add, is_attribute, user_class
from ckptaudit.rebuild.emit.notes import note
from ckptaudit.rebuild.emit.places import hint, reference
from ckptaudit.rebuild.emit.rows import in_loops, in_runs
from ckptaudit.rebuild.emit.shared import Shared
from ckptaudit.rebuild.emit.states import states
from ckptaudit.rebuild.emit.tensors import parameter
from ckptaudit.rebuild.emit.text import quoted, told
from ckptaudit.rebuild.emit.tree import Node
from ckptaudit.rebuild.plan import Plan

_REFUSING = {"Skeleton", "Unknown"}
_BASES = ("Sequential", "ModuleList", "ModuleDict")


class Writer:
    """The source of one plan, in pieces: classes, those of their helpers that they need, and the model."""

    def __init__(self, root: Node, plan: Plan) -> None:
        self._root = root
        self._states = states(root)
        self._shared = Shared(root, plan)
        taken = (*HELPERS, *OUR_OWN)
        self._names = Names((*taken, *self._shared.variables.values()))
        self._model = self._names.new(hint(root, _root_name(plan))) if root.form == "class" else ""
        self._calls: dict[Node, Expression] = {}
        self.helpers: set[str] = set()
        # Layers that keep extra state: the class of ours by torch's, and what is mixed into it.
        self.stateful: dict[tuple[str, tuple[str, ...]], str] = {}
        self.classes: list[Class] = []
        self._write_classes()

    def _write_classes(self) -> None:
        """Classes from the innermost on: what a class holds is known when it is its turn."""
        for nodes in _by_height(self._root):
            made, calls = share([(node, self._body(node)) for node in nodes], self._names)
            self.classes += made
            self._calls |= calls
        if self._root.form == "class":
            body = self._body(self._root)
            self.classes.append(Class(self._model, body, (), [self._root]))
            self._calls[self._root] = call(self._model)

    def runs(self) -> bool:
        """Whether every module has a `forward`, be it torch's."""
        known = not any(made.body.forward for made in self.classes) and not self.helpers & _REFUSING
        return known and not any(
            node.form in ("list", "dict", "class", "parameters") and node.part.layer != "Sequential"
            for node in _written(self._root)
        )

    def model(self) -> list[Statement]:
        """The statements of `build`, which ends with returning the model."""
        root = self._root
        after = [] if root.form == "class" else [*self._fixes(root, root), *self._shared.late.get(root, ())]
        before = [] if root.form == "class" else list(self._hoisted(root, root))
        code = self.code(root)
        if not after:
            return [*before, Statement("return ", code, "" if root.form == "class" else note(root))]
        return [*before, Statement("model = ", code, note(root)), *after, Statement("return ", "model")]

    def code(self, node: Node) -> Expression:
        """The expression that makes a module, and calls on it what holds for all of it."""
        if node.alias is not None:
            return self._shared.code(node)
        if node in self._shared.variables:
            return self._shared.variables[node]
        return self._made(node)

    def _made(self, node: Node) -> Expression:
        made = self._call(node)
        calls = self._states[node].calls
        return made._replace(closing=made.closing + calls) if isinstance(made, Group) else made

    def _call(self, node: Node) -> Expression:
        match node.form:
            case "class":
                return self._calls[node]
            case "layer":
                return constructed(node, self._class_of(node))
            case "parameters":
                return self._parameters(node)
            case "dict":
                items = [
                    Item(self.code(each), f"{quoted(name)}: ", note(each))
                    for name, each in node.inside.items()
                ]
                return Group("nn.ModuleDict(", (Item(Group("{", tuple(items), "}")),))
            case "list":
                return self._list(node)
            case "unknown":
                self.helpers.add("Unknown")
                return call("Unknown")

    def _class_of(self, node: Node) -> str:
        """What is called for a layer: torch.nn's class, or one of the source."""
        layer = node.part.layer or ""
        name = layer if layer in OUR_OWN else class_of(layer)
        if layer in OUR_OWN:
            self.helpers.add(layer)
        mixins = _mixins(node)
        self.helpers.update(mixins)
        if mixins:
            if (name, mixins) not in self.stateful:
                self.stateful[name, mixins] = self._names.new(f"{layer}WithState")
            name = self.stateful[name, mixins]
        return name

    def _list(self, node: Node) -> Expression:
        items = in_runs([Item(self.code(each), "", note(each)) for each in node.inside.values()])
        only = items[0].code if len(items) == 1 else None
        if node.part.layer == "Sequential":
            return Group("nn.Sequential(", tuple(map(_starred, items)))
        if isinstance(only, Loop):
            return Group("nn.ModuleList(", items)
        return Group("nn.ModuleList(", (Item(Group("[", tuple(map(_starred, items)), "]")),))

    def _parameters(self, node: Node) -> Expression:
        state = self._states[node]
        made = {
            name: parameter(name, tensor, state.dtype is not None, state.frozen)
            for name, tensor in node.tensors.items()
        }
        if node.part.layer == "ParameterList":
            return Group("nn.ParameterList(", (Item(Group("[", tuple(map(Item, made.values())), "]")),))
        items = tuple([Item(code, f"{quoted(name)}: ") for name, code in made.items()])
        return Group("nn.ParameterDict(", (Item(Group("{", items, "}")),))

    def _body(self, node: Node) -> Body:
        layer = node.part.layer
        base = f"nn.{layer}" if layer in _BASES else "nn.Module"
        mixins = _mixins(node)
        if any("." in name for name in (*node.tensors, *node.inside)):
            mixins = ("AnyName", *mixins)
        self.helpers.update(mixins)
        cls = node.part.cls if layer is None else None
        refusal = "" if layer in _BASES else _unknown(node, cls)
        if base == "nn.Module" and not refusal:
            base = "Skeleton"
            self.helpers.add(base)
        return Body(
            self._model if node is self._root else hint(node, ""),
            ", ".join((*mixins, base)),
            cls,
            tuple(self._init(node)),
            refusal,
        )

    def _init(self, node: Node) -> Iterator[Statement]:
        state = self._states[node]
        clashing = [name for name in node.tensors if name in node.inside]
        yield from fixes.settings(node, "self")
        yield from fixes.mode(node, "self", state)
        yield from fixes.owned(node, "self", state, [name for name in node.tensors if name not in clashing])
        yield from fixes.unsaved(node, "self", state)
        yield from self._children(node)
        yield from fixes.owned(node, "self", state, clashing)
        yield from fixes.extra(node, "self")
        for each in node.inside.values():
            yield from self._fixes(node, each)
        yield from self._shared.late.get(node, ())

    def _children(self, node: Node) -> Iterator[Statement]:
        children: list[tuple[str, Statement]] = []
        for each in node.inside.values():
            first = list(self._hoisted(node, each))
            if first:
                yield from in_loops(children)
                children = []
            yield from first
            children.append(self._child(each))
        yield from in_loops(children)

    def _child(self, node: Node) -> tuple[str, Statement]:
        code = self.code(node)
        if is_attribute(node.name):
            return node.name, Statement(f"self.{node.name} = ", code, note(node))
        if can_add(node.name):
            return node.name, Statement("", call("self.add_module", quoted(node.name), code), note(node))
        return node.name, Statement(f"self._modules[{quoted(node.name)}] = ", code, note(node))

    def _hoisted(self, scope: Node, top: Node) -> Iterator[Statement]:
        """Modules that hang in several places of one expression, each under a name of its own.

        What is in another comes before it, and what stands first before what stands later.
        """
        for node in reversed(list(_inline(scope, top, last_first=True))):
            if node in self._shared.variables:
                yield Statement(f"{self._shared.variables[node]} = ", self._made(node), note(node))

    def _fixes(self, scope: Node, node: Node) -> Iterator[Statement]:
        """What is to be done to `node` and what is in it, as far as that is made in the class of `scope`."""
        for each in _inline(scope, node):
            if each.form == "class":
                continue
            state = self._states[each]
            if each.form == "layer":
                yield from fixes.of_layer(each, scope, state)
                yield from fixes.extra(each, reference(scope, each))
            inner = each.below() if each.form == "layer" else (each,)
            for part in inner:
                where = reference(scope, part)
                yield from fixes.settings(part, where)
                yield from fixes.unsaved(part, where, state)
                yield from fixes.mode(part, where, self._states[part])


def _inline(scope: Node, node: Node, last_first: bool = False) -> Iterator[Node]:
    """`node` and what is in it, as far as the class of `scope` makes it; siblings from the first or last."""
    stack = [node]
    while stack:
        each = stack.pop()
        if each.alias is not None:
            continue
        yield each
        if each.form not in ("layer", "class") or each is scope:
            inside = list(each.inside.values())
            stack += inside if last_first else reversed(inside)


def _by_height(root: Node) -> Iterator[list[Node]]:
    """Modules that get classes: first those that hold no other such, then those that hold these."""
    heights: dict[Node, int] = {}
    levels: dict[int, list[Node]] = {}
    for node in reversed(list(_written(root))):
        height = max((heights.get(each, 0) for each in node.inside.values()), default=0)
        if node.form == "class" and node is not root:
            levels.setdefault(height, []).append(node)
            height += 1
        heights[node] = height
    for height in sorted(levels):
        yield levels[height][::-1]


def _written(root: Node) -> Iterator[Node]:
    """All modules but those that the constructors of layers make."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        if node.form != "layer":
            stack += [each for each in reversed(node.inside.values()) if each.alias is None]


def _starred(item: Item) -> Item:
    return item._replace(code=Group("*(", (Item(item.code),))) if isinstance(item.code, Loop) else item


def _unknown(node: Node, cls: str | None) -> str:
    """What the `forward` of a class says; "" for what all say whose file is a state dict."""
    if node.part.layer is not None and node.part.unknown:
        return quoted(f"unknown of {told(node.part.layer)}: {told(', '.join(node.part.unknown))}")
    return "" if cls is None else quoted(f"the code of {told(cls)} is not in the file")


def _mixins(node: Node) -> tuple[str, ...]:
    """Our classes that a module needs for what its state dict has besides tensors."""
    return (*(["PlainKeys"] if node.drops else []), *(["ExtraState"] if node.has_state else []))


def _root_name(plan: Plan) -> str:
    return user_class(plan.name) if plan.name else "Model"
