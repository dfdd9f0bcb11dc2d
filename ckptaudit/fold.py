"""The tree of a checkpoint, and which siblings in it are the same block again.

Siblings are alike when their names below them, shapes, dtypes, devices and (where the file tells)
classes are equal. Every node gets a number for this once, from the bottom up, so that comparing two
blocks is comparing two numbers.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ckptaudit.model import Checkpoint, ModuleMeta, Path, StateDict, TensorMeta
from ckptaudit.summary import members
from ckptaudit.text import dotted, listing, natural, ranges, template

# Deeper names than any model has stay one name: a hostile key of 30,000 dots would make as many nodes.
LEVELS = 64

Leaf = tuple[str, tuple[int, ...] | None, str]  # dtype, shape, device


@dataclass(slots=True, eq=False)
class Node:
    """A module or, where `tensor` is set, a tensor. `signature` is equal for what is alike."""

    name: str
    parent: Node | None = None
    meta: ModuleMeta | None = None
    tensor: TensorMeta | None = None
    device: str = ""
    children: list[Node] = field(default_factory=list)
    signature: int = -1

    @property
    def path(self) -> str:
        """The dotted name from the root of the tree; "" is the root."""
        names = []
        node: Node = self
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return ".".join(reversed(names))

    def tensors(self) -> Iterator[TensorMeta]:
        """Every tensor at or below this node."""
        stack = [self]
        while stack:
            node = stack.pop()
            stack += reversed(node.children)
            if node.tensor is not None:
                yield node.tensor


@dataclass(frozen=True, slots=True)
class Fold:
    """Siblings that are alike, in natural order, and those that are nearly so."""

    members: tuple[Node, ...]
    odd: tuple[Node, ...] = ()

    @property
    def label(self) -> str:
        """What the members share in name, how many they are, and which: `block ×4 alike (0-3)`."""
        names = [node.name for node in self.members]
        stem, numbers = _numbered(names)
        which = ranges(numbers) if numbers else listing(names)
        return f"{stem} ×{len(names):,} alike ({which})".lstrip()


def _numbered(names: list[str]) -> tuple[str, list[int]]:
    """`block 0`, `block 1` -> "block", [0, 1]; no numbers where names differ in more than their last one."""
    stems = {name.rstrip("0123456789") for name in names}
    stem = min(stems)
    digits = [name[len(stem) :] for name in names]
    if len(stems) > 1 or not all(0 < len(number) < 19 for number in digits):
        return "", []
    return stem.rstrip(" _-."), [int(number) for number in digits]


def tree(
    checkpoint: Checkpoint,
    chosen: StateDict | None,
    keep: Iterable[TensorMeta] | None = None,
    repeats: Container[Path] = (),
) -> Node:
    """The module tree of one state dict, or of all that is no optimizer where `chosen` is None.

    `keep` narrows it to some of its tensors, and to the modules above them. A tensor in `repeats` (a
    second name of tied memory, say) is alike only to others that are.
    """
    root = Node("")
    found = members(checkpoint)
    wanted = None if keep is None else {tensor.path for tensor in keep}
    if chosen is not None:
        root.meta = chosen.modules.get("")
        _grow(checkpoint, root, (), chosen.modules, found[chosen.root], wanted)
    else:
        for state_dict in checkpoint.state_dicts:
            if state_dict.role != "optimizer":
                above = (dotted(state_dict.root),) if state_dict.root else ()
                _grow(checkpoint, root, above, state_dict.modules, found[state_dict.root], wanted)
        _grow(checkpoint, root, (), {}, found.get(None, ()), wanted)
    _sign(root, repeats)
    return root


def _grow(
    checkpoint: Checkpoint,
    root: Node,
    above: tuple[str, ...],
    modules: Mapping[str, ModuleMeta],
    tensors: Iterable[TensorMeta],
    wanted: set[Path] | None,
) -> None:
    """Hang one state dict under `root`."""
    index: dict[tuple[str, ...], Node] = {(): root}
    top = _node(index, above)
    if wanted is None:
        for path, meta in modules.items():
            (_node(index, above + split(path)) if path else top).meta = meta
    for tensor in tensors:
        if wanted is not None and tensor.path not in wanted:
            continue
        *parents, name = split(tensor.key)
        parent = _node(index, above + tuple(parents))
        if wanted is not None and parent.meta is None:
            parent.meta = modules.get(".".join(parents))
        storage = checkpoint.storages.get(tensor.storage)
        device = "" if storage is None else storage.device
        parent.children.append(Node(name, parent, tensor=tensor, device=device))


def split(key: str) -> tuple[str, ...]:
    """`h.0.weight` -> h, 0, weight."""
    return tuple(key.split(".", LEVELS))


def _node(index: dict[tuple[str, ...], Node], names: tuple[str, ...]) -> Node:
    missing = []
    while (node := index.get(names)) is None:
        missing.append(names)
        names = names[:-1]
    for path in reversed(missing):
        child = index[path] = Node(path[-1], node)
        node.children.append(child)
        node = child
    return node


def bottom_up(root: Node) -> Iterator[Node]:
    """Every node, children before their parents. Iterative: how deep names go is the file's to choose."""
    stack, order = [root], []
    while stack:
        node = stack.pop()
        order.append(node)
        stack += node.children
    return reversed(order)


def _sign(root: Node, repeats: Container[Path]) -> None:
    numbers: dict[object, int] = {}
    for node in bottom_up(root):
        kind: object = node.meta and node.meta.cls
        if node.tensor is not None:
            kind = (leaf(node), node.tensor.path in repeats)
        below = tuple(sorted((child.name, child.signature) for child in node.children))
        node.signature = numbers.setdefault((kind, below), len(numbers))


def leaf(node: Node) -> Leaf:
    """What is compared of a tensor."""
    tensor = node.tensor
    assert tensor is not None
    return tensor.dtype, tensor.shape, node.device


def ordered(nodes: Iterable[Node]) -> list[Node]:
    """File order, except that siblings which differ only by a number come in the order of that number."""
    nodes = list(nodes)
    families: dict[str, list[Node]] = {}
    for node in nodes:
        families.setdefault(template(node.name), []).append(node)
    queues = {
        name: iter(sorted(family, key=lambda node: natural(node.name))) for name, family in families.items()
    }
    return [next(queues[template(node.name)]) for node in nodes]


def folds(siblings: list[Node], apart: Iterable[Node] = ()) -> list[Fold]:
    """`siblings` in the order given; each fold stands where its first member stood.

    Three or more numbered siblings fold wherever they stand; modules under other names, and pairs, fold
    where they follow each other. What is in `apart` folds with nothing.
    """
    alone = set(apart)
    fold_of: dict[Node, Fold] = {}
    for fold in _families([node for node in siblings if node not in alone]):
        for node in (*fold.members, *fold.odd):
            fold_of[node] = fold
    result: list[Fold | list[Node]] = []
    run: list[Node] = []
    for node in siblings:
        if node not in fold_of:
            # One list per run: adding to a tuple would copy it again for each of its members.
            if run and not alone & {node, run[-1]} and _alike_modules(run[-1], node):
                run.append(node)
            else:
                run = [node]
                result.append(run)
            continue
        run = []
        if node is fold_of[node].members[0]:
            result.append(fold_of[node])
    return [item if isinstance(item, Fold) else Fold(tuple(item)) for item in result]


def _alike_modules(one: Node, other: Node) -> bool:
    return one.signature == other.signature and one.tensor is None and bool(one.children)


def _families(siblings: list[Node]) -> Iterator[Fold]:
    position = {node: place for place, node in enumerate(siblings)}
    families: dict[tuple[str, bool], list[Node]] = {}
    for node in siblings:
        if node.tensor is not None or node.children:
            families.setdefault((template(node.name), node.tensor is None), []).append(node)
    for (name, _), family in families.items():
        if "#" in name and len(family) > 2:
            # Two of three are a rule only side by side: 0 and 2 around an activation are two layers.
            first = position[family[0]]
            yield from _family(family, least=2 if family == siblings[first : first + 3] else 3)


def _family(family: list[Node], least: int) -> Iterator[Fold]:
    groups: dict[int, list[Node]] = {}
    for node in family:
        groups.setdefault(node.signature, []).append(node)
    large = sorted((group for group in groups.values() if len(group) >= least), key=len, reverse=True)
    rest = [node for group in groups.values() if len(group) < least for node in group]
    for place, group in enumerate(large):
        # What half of a family or more have in common is the rule, and what differs from it the exception.
        rule = place == 0 and len(group) * 2 >= len(family)
        yield Fold(tuple(group), tuple(node for node in rest if rule and _nearly(node, group[0])))


def _nearly(node: Node, rule: Node) -> bool:
    """Whether two modules have most names below them in common, and differ in something to be told."""
    here, there = dict(leaves(node)), dict(leaves(rule))
    return here != there and 2 * len(here.keys() & there.keys()) >= len(here.keys() | there.keys())


def leaves(node: Node) -> Iterator[tuple[str, Leaf]]:
    """The tensors below a node: name from there, and what is compared of it."""
    stack = [("", node)]
    while stack:
        prefix, here = stack.pop()
        if here.tensor is not None:
            yield prefix, leaf(here)
        above = f"{prefix}." if prefix else ""
        stack += [(above + child.name, child) for child in reversed(here.children)]


@dataclass(frozen=True, slots=True)
class Difference:
    """One tensor in which a sibling differs: absent (None) here or in its siblings, or of another kind."""

    name: str
    here: Leaf | None
    there: Leaf | None


def differences(node: Node, rule: Node) -> list[Difference]:
    """In what `node` differs from `rule`, one of the siblings that are alike."""
    here, there = dict(leaves(node)), dict(leaves(rule))
    return [
        Difference(name, here.get(name), there.get(name))
        for name in {**here, **there}
        if here.get(name) != there.get(name)
    ]
