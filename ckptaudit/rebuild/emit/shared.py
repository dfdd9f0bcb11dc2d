"""One module in several places, and one parameter under several names: where that is written, and how."""

from __future__ import annotations

from ckptaudit.model import TensorMeta
from ckptaudit.rebuild.emit.code import Expression, Statement, call
from ckptaudit.rebuild.emit.names import Names
from ckptaudit.rebuild.emit.places import common_scope, reference, scope_of, step, tensor
from ckptaudit.rebuild.emit.tensors import is_parameter
from ckptaudit.rebuild.emit.text import told
from ckptaudit.rebuild.emit.tree import Node, split
from ckptaudit.rebuild.plan import Plan

PLACEHOLDER = call("nn.Identity")


class Shared:
    """What is shared in a tree.

    `variables` are modules that get a name of their own before the statement that holds them all; `late` is
    what can only be written once all that is in a class has been made.
    """

    def __init__(self, root: Node, plan: Plan) -> None:
        self.variables: dict[Node, str] = {}
        self.late: dict[Node, list[Statement]] = {}
        self._names = Names(("i",))
        for node in root.below():
            for inner in node.inside.values():
                if inner.alias is not None:
                    self._module(inner, inner.alias)
        for group in plan.ties:
            self._tensors(root, [key for key in group if key in plan.tensors], plan)

    def code(self, node: Node) -> Expression:
        """What stands in the place of `node`: the module that it is, or what is replaced by it later."""
        assert node.alias is not None
        scope = scope_of(node)
        if node.alias in self.variables and scope is scope_of(node.alias):
            return self.variables[node.alias]
        if _is_made_before(node, node.alias):
            return reference(scope, node.alias)
        return PLACEHOLDER

    def _module(self, node: Node, first: Node) -> None:
        scope = scope_of(node)
        around = first.above
        if scope is scope_of(first) and _statement(scope, node) is _statement(scope, first):
            if around is not None and around.form in ("list", "dict"):
                if first not in self.variables:
                    self.variables[first] = self._names.new("shared")
                return
        elif _is_made_before(node, first):
            return
        common = common_scope([node, first])
        target = f"{reference(common, node.above or node)}{step(node)} = "
        self.late.setdefault(common, []).append(Statement(target, reference(common, first)))

    def _tensors(self, root: Node, keys: list[str], plan: Plan) -> None:
        owners = [(owner, key) for key in keys if (owner := _owner(root, key)) is not None]
        if len(owners) < 2:
            return
        first, named = owners[0]
        rows = [plan.tensors[key] for _, key in owners]
        for (owner, key), row in zip(owners[1:], rows[1:], strict=True):
            common = common_scope([first, owner])
            statements = self.late.setdefault(common, [])
            like = (row.shape, row.stride, row.dtype) == (rows[0].shape, rows[0].stride, rows[0].dtype)
            names = split(key)[-1], split(named)[-1]
            if like and _is_parameter(owner, names[0], row) and _is_parameter(first, names[1], rows[0]):
                target = f"{tensor(reference(common, owner), names[0])} = "
                statements.append(Statement(target, tensor(reference(common, first), names[1])))
            else:
                inside = len(common.path)
                local = [".".join(split(each)[inside:]) for each in (key, named)]
                statements.append(
                    Statement("", "", f"{told(local[0])} and {told(local[1])} share memory in the file")
                )


def _is_parameter(owner: Node, name: str, row: TensorMeta) -> bool:
    """Whether what is made under this name is a parameter: a frozen batch norm has buffers alone."""
    return is_parameter(name, row) and owner.part.layer != "FrozenBatchNorm2d"


def _owner(root: Node, key: str) -> Node | None:
    """The module that owns the tensor; None where that is one that hangs in another place first."""
    node = root
    for name in split(key)[:-1]:
        inner = node.inside.get(name)
        if inner is None or inner.alias is not None:
            return None
        node = inner
    return node


def _statement(scope: Node, node: Node) -> Node:
    """What of `scope` is made by the statement that makes `node`; the model where it is one expression."""
    if scope.form != "class":
        return scope
    return next(each for each in node.outwards() if each.above is scope)


def _is_made_before(node: Node, first: Node) -> bool:
    """Whether `first` can be named, in the same class, by the time that `node` is made."""
    scope = scope_of(node)
    if scope is not scope_of(first) or scope.form != "class":
        return False
    here, there = _statement(scope, node), _statement(scope, first)
    order = list(scope.inside.values())
    return here is not there and order.index(there) < order.index(here)
