"""A checkpoint as a networkx graph: modules contain modules and tensors, tensors are views of storages.

`ckptaudit.graph(checkpoint)` is `build`: the module itself can be called, so that the name means the
same whether or not something has imported it as a module.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from ckptaudit.fold import Fold, Node, folds, ordered, tree
from ckptaudit.model import Checkpoint, Path, StateDict
from ckptaudit.summary import Group, members, overlaps, pick, ties

if TYPE_CHECKING:
    from networkx import DiGraph

NodeId = tuple[str, Path] | tuple[str, Path, str] | tuple[str, str]


def build(checkpoint: Checkpoint) -> DiGraph[NodeId]:
    """The graph of everything in a checkpoint. No values: sizes, shapes and who holds what.

    Nodes, by their attribute `kind`:
      module   ("module", root of its state dict, dotted path); `name`, `path`, `cls`, `config`, `role`
               and, where it has siblings that are alike, `block`: its place in `graph.graph["blocks"]`.
               ("module", (), "") is the saved object and holds everything else.
      tensor   ("tensor", path in the saved object); `key`, `dtype`, `shape`, `stride`, `offset`, `nbytes`.
      storage  ("storage", id); `nbytes`, `device`, `tie` and `overlap`: whether tensors view it so.
    Edges, by their attribute `kind`: "contains" and "views".
    `graph.graph` has `picked` (the module node of the model, or None), `ties` and `overlaps` (tuples of
    tensor nodes), `blocks` (tuples of sibling modules that are alike) and `odd` (a module that nearly
    is like a block: the place of that block in `blocks`).
    """
    from networkx import DiGraph

    chosen = pick(checkpoint)
    graph: DiGraph[NodeId] = DiGraph(
        path=checkpoint.path,
        format=checkpoint.format,
        picked=None if chosen is None else ("module", chosen.root, ""),
        blocks=[],
        odd={},
    )
    graph.add_node(("module", (), ""), kind="module", name="", path="", cls=None, config=None, role=None)
    for state_dict in checkpoint.state_dicts:
        _add_state_dict(graph, checkpoint, state_dict)
    for tensor in members(checkpoint).get(None, ()):
        graph.add_edge(("module", (), ""), ("tensor", tensor.path), kind="contains")
    _add_memory(graph, checkpoint)
    return graph


def _add_state_dict(graph: DiGraph[NodeId], checkpoint: Checkpoint, state_dict: StateDict) -> None:
    root = tree(checkpoint, state_dict)
    above: NodeId = ("module", (), "")
    top: NodeId = ("module", state_dict.root, "")
    if state_dict.root:
        graph.add_edge(above, top, kind="contains")
    stack: list[tuple[Node, NodeId, str]] = [(root, top, "")]
    while stack:
        node, here, path = stack.pop()
        meta = node.meta
        graph.add_node(
            here,
            kind="module",
            name=node.name,
            path=path,
            cls=meta and meta.cls,
            config=meta and meta.config,
            role=state_dict.role,
        )
        for child in ordered(node.children):
            if child.tensor is not None:
                graph.add_edge(here, ("tensor", child.tensor.path), kind="contains")
                continue
            below = f"{path}.{child.name}" if path else child.name
            graph.add_edge(here, ("module", state_dict.root, below), kind="contains")
            stack.append((child, ("module", state_dict.root, below), below))
        for fold in folds(ordered(child for child in node.children if child.tensor is None)):
            _add_block(graph, fold, state_dict.root, path)


def _add_block(graph: DiGraph[NodeId], fold: Fold, root: Path, path: str) -> None:
    if len(fold.members) == 1:
        return

    def identity(node: Node) -> NodeId:
        return ("module", root, f"{path}.{node.name}" if path else node.name)

    place = len(graph.graph["blocks"])
    graph.graph["blocks"].append(tuple(identity(node) for node in fold.members))
    graph.graph["odd"].update({identity(node): place for node in fold.odd})
    for node in fold.members:
        graph.add_node(identity(node), block=place)


def _add_memory(graph: DiGraph[NodeId], checkpoint: Checkpoint) -> None:
    tied, overlapping = ties(checkpoint), overlaps(checkpoint)
    graph.graph["ties"], graph.graph["overlaps"] = _nodes(tied), _nodes(overlapping)
    in_tie = {tensor.storage for group in tied for tensor in group}
    in_overlap = {tensor.storage for group in overlapping for tensor in group}
    for name, storage in checkpoint.storages.items():
        graph.add_node(
            ("storage", name),
            kind="storage",
            nbytes=storage.nbytes,
            device=storage.device,
            tie=name in in_tie,
            overlap=name in in_overlap,
        )
    for tensor in checkpoint.tensors.values():
        graph.add_node(
            ("tensor", tensor.path),
            kind="tensor",
            key=tensor.key,
            dtype=tensor.dtype,
            shape=tensor.shape,
            stride=tensor.stride,
            offset=tensor.offset,
            nbytes=tensor.nbytes,
        )
        if tensor.storage in checkpoint.storages:
            graph.add_edge(("tensor", tensor.path), ("storage", tensor.storage), kind="views")


def _nodes(groups: tuple[Group, ...]) -> tuple[tuple[NodeId, ...], ...]:
    return tuple(tuple(("tensor", tensor.path) for tensor in group) for group in groups)


class _Callable(ModuleType):
    def __call__(self, checkpoint: Checkpoint) -> DiGraph[NodeId]:
        return build(checkpoint)


# https://docs.python.org/3/reference/datamodel.html#customizing-module-attribute-access
sys.modules[__name__].__class__ = _Callable
