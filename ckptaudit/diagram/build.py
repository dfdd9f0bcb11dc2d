"""Turns what was chosen into the parts of a picture, and remembers where each node is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ckptaudit.audit import Finding, Severity
from ckptaudit.diagram.colours import MIXED, NONE, share, worst
from ckptaudit.diagram.ids import anchor
from ckptaudit.diagram.outline import Item, Outline
from ckptaudit.diagram.parts import Box, Cluster, End, Head, Part, Row, Standing
from ckptaudit.diagram.scene import Scene
from ckptaudit.diagram.seen import Layers
from ckptaudit.diagram.standing import unmarked
from ckptaudit.fold import Fold, Node, differences
from ckptaudit.model import Path, TensorMeta
from ckptaudit.text import grouped, plural

MOST_ROWS = 16  # of one box
_TOLD = 8  # findings of one part

_ROLES = {
    "model": "model",
    "ema": "averaged copy",
    "optimizer": "optimizer state",
    "other": "other tensors",
    None: "in no state dict",
}


class Builder:
    """Makes boxes and clusters; `ends` says where the nodes that are drawn are found."""

    def __init__(self, scene: Scene, outline: Outline, layers: Layers, notes: Mapping[Path, str]) -> None:
        self._scene = scene
        self._outline = outline
        self._layers = layers
        self._notes = notes
        self._whole = scene.weight(group.tree for group in scene.groups).nbytes
        self.ends: dict[Node, End] = {}
        self._findings: dict[Node, list[Finding]] = {}
        for node, found in scene.findings.items():
            self._findings.setdefault(outline.standing_for(node), []).extend(found)

    def group(self, item: Item, *, is_framed: bool) -> tuple[Part, ...]:
        """One state dict; only what is in it, where nothing is to be said of the whole."""
        part = self._state_dict(item)
        if isinstance(part, Cluster) and not is_framed:
            return part.children
        return (part,)

    def _state_dict(self, item: Item) -> Part:
        group = item.group
        head = replace(
            self._head(item),
            name=group.name or ("(model)" if group.role == "model" else "(saved object)"),
            note="" if group.role == "model" and not group.is_apart else _ROLES[group.role],
        )
        if group.role is None:
            head = replace(head, name=_ROLES[None], note="")
        if not item.is_open:
            inner = replace(head, anchor=f"{head.anchor}-in", name="", note="")
            return Cluster(replace(head, parameters=0, nbytes=0), (self._summary(item, inner),))
        inside = tuple(self._children(item, head))
        return Cluster(head, inside) if inside else Box(head, NONE)

    def part(self, item: Item) -> Part:
        """One module, and what is drawn in it."""
        head = self._head(item)
        items, rows = self._outline.inside(item)
        if item.rule is not None and not item.is_open:
            box = self._summary(item, head)
        elif items and item.is_open:
            return self._closing(item, Cluster(head, tuple(self._children(item, head))))
        elif items:
            box = self._summary(item, head)
        else:
            box = self._table(item, head, rows)
        self.ends.setdefault(item.first, End(box.head.anchor))
        return box

    def _closing(self, item: Item, cluster: Cluster) -> Cluster:
        self.ends[item.first] = End(cluster.head.anchor)
        return cluster

    def _children(self, item: Item, head: Head) -> Iterator[Part]:
        if item.rows:
            own = Head(f"{head.anchor}-own", "", head.path)
            yield self._table(item, own, item.rows)
        for inner in item.shown:
            yield self.part(inner)
        if item.left_out:
            yield self._left_out(item, head)

    def _left_out(self, item: Item, head: Head) -> Box:
        nodes = [node for inner in item.left_out for node in inner.members]
        weight = self._scene.weight(nodes)
        rest = Head(
            f"{head.anchor}-more",
            f"{plural(len(nodes), 'module')} more",
            parameters=weight.parameters,
            nbytes=weight.nbytes,
            tensors=weight.tensors,
        )
        box = Box(self._with_findings(rest, nodes), self._category(nodes), hidden=weight.tensors, closed=True)
        for node in nodes:
            self.ends[node] = End(rest.anchor)
        return box

    def _summary(self, item: Item, head: Head) -> Box:
        """A box for a module with all that is in it."""
        head = self._with_findings(head, item.members)
        self.ends[item.first] = End(head.anchor)
        return Box(
            replace(head, standing=self._standing(item.first)),
            self._category(item.members),
            hidden=head.tensors,
            closed=True,
        )

    def _table(self, item: Item, head: Head, folds: list[Fold]) -> Box:
        shown = folds if len(folds) <= MOST_ROWS else folds[: MOST_ROWS - 1]
        rows = tuple(self._row(fold, head.anchor) for fold in shown)
        for fold in folds[len(shown) :]:
            for node in fold.members:
                self.ends[node] = End(head.anchor)
        hidden = sum(len(fold.members) for fold in folds[len(shown) :])
        nodes = [node for fold in folds for node in fold.members]
        own = [finding for node in (item.first, *nodes) for finding in self._findings.get(node, ())]
        if not head.name:
            self.ends[item.first] = End(head.anchor)
        return Box(
            replace(
                head,
                severity=_severity(own),
                told=_told(own),
                standing=self._standing_of(nodes),
            ),
            self._category(nodes),
            rows,
            hidden,
        )

    def _row(self, fold: Fold, box: str) -> Row:
        node = fold.members[0]
        tensor = node.tensor
        assert tensor is not None
        here = anchor("tensor", tensor.path)
        for each in fold.members:
            self.ends[each] = End(box, here)
        found = [finding for each in fold.members for finding in self._findings.get(each, ())]
        return Row(
            here,
            fold.label if len(fold.members) > 1 else node.name,
            tensor.shape,
            tensor.dtype,
            self._device(tensor),
            tensor.kind,
            self._category(fold.members),
            len(fold.members),
            self._note(tensor),
            self._scene.standings.get(tensor.path, ""),
            _severity(found),
            _told(found),
        )

    def _note(self, tensor: TensorMeta) -> str:
        notes = [self._notes[tensor.path]] if tensor.path in self._notes else []
        if tensor.kind == "buffer":
            notes.append("buffer")
        if tensor.requires_grad is False and tensor.kind == "parameter":
            notes.append("frozen")
        notes += [word for word in (tensor.layout, tensor.subclass) if word and word != "strided"]
        return ", ".join(notes)

    def _head(self, item: Item) -> Head:
        weight = self._outline.weight(item)
        words, confidence = self._layers.of(item.group, item.members)
        rule = item.rule
        path = item.first.path
        found = self._findings.get(item.first, [])
        return Head(
            anchor=anchor("module", (*item.group.root, path)) if item.level else self._root_anchor(item),
            name=item.name,
            path=path,
            layer=words,
            confidence=confidence,
            parameters=weight.parameters,
            nbytes=weight.nbytes,
            tensors=weight.tensors,
            times=len(item.members),
            difference=() if rule is None else tuple(differences(item.first, rule)),
            severity=_severity(found),
            told=_told(found),
        )

    def _root_anchor(self, item: Item) -> str:
        return anchor("state-dict", item.group.root) if item.group.role else "loose"

    def _with_findings(self, head: Head, nodes: Iterable[Node]) -> Head:
        """What is found anywhere in a part that is drawn closed."""
        if not self._findings and not self._scene.findings:
            return head
        found: list[Finding] = []
        for node in nodes:
            stack = [node]
            while stack:
                here = stack.pop()
                found += self._scene.findings.get(here, ())
                stack += reversed(here.children)
        return replace(head, severity=_severity(found), told=_told(found))

    def _standing(self, node: Node) -> Standing:
        return self._standing_of([node])

    def _standing_of(self, nodes: Iterable[Node]) -> Standing:
        """What all tensors below have in common; "" where they have not."""
        if not self._scene.standings:
            return ""
        found = {self._scene.standings.get(tensor.path, "") for node in nodes for tensor in node.tensors()}
        return found.pop() if len(found) == 1 else ""

    def _device(self, tensor: TensorMeta) -> str:
        """The device as the file has it, without any mark."""
        original = self._scene.checkpoint.tensors.get(tensor.path, tensor)
        storage = self._scene.checkpoint.storages.get(original.storage)
        return "" if storage is None else storage.device

    def _is_there(self, node: Node) -> bool:
        return node.tensor is not None and self._scene.standings.get(node.tensor.path) != "missing"

    def _category(self, nodes: Iterable[Node]) -> str:
        nodes = tuple(nodes)
        color = self._scene.options.color
        if color == "size":
            return share(self._scene.weight(nodes).nbytes, self._whole)
        if color == "finding":
            found = [
                finding
                for node in nodes
                for each in _below(node)
                for finding in self._scene.findings.get(each, ())
            ]
            return worst(_severity(found))
        if color == "dtype":
            names = {tensor.dtype for node in nodes for tensor in node.tensors()}
        else:
            names = {unmarked(each.device) for node in nodes for each in _below(node) if self._is_there(each)}
        return (names.pop() if len(names) == 1 else MIXED) if names else NONE


def _below(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        stack += reversed(here.children)


def _severity(found: Iterable[Finding]) -> Severity | None:
    return max((finding.severity for finding in found), default=None)


def _told(found: Iterable[Finding]) -> tuple[str, ...]:
    lines = list(
        dict.fromkeys(
            f"{finding.severity} {finding.rule}: {finding.message}"
            for finding in sorted(found, key=lambda finding: -finding.severity)
        )
    )
    more = [f"and {grouped(len(lines) - _TOLD)} more"] if len(lines) > _TOLD else []
    return (*lines[:_TOLD], *more)
