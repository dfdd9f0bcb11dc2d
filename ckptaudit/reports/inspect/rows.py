"""The rows of the tree that a person sees: folded, cut at a depth, with what each adds to the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ckptaudit import layers
from ckptaudit.fold import Difference, Fold, Leaf, Node, bottom_up, differences, folds, ordered
from ckptaudit.layers import Guess
from ckptaudit.model import ModuleMeta, Path
from ckptaudit.reports.inspect.selection import Order, matcher
from ckptaudit.text import listing, natural, plural, safe, shape, value

# Widths of a layer as torch.nn names them, what comes in before what goes out.
_WIDTHS = (
    ("in_features", "out_features"),
    ("in_channels", "out_channels"),
    ("num_embeddings", "embedding_dim"),
    ("input_size", "hidden_size"),
)
_SINGLES = ("num_features", "normalized_shape", "kernel_size", "p")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree. `parameters` is None where the row adds none; `share` where it is not told.

    A row that repeats `times` times shows the numbers of one. A `remark` runs across all columns.
    """

    guide: str
    name: str
    detail: str = ""
    shape: str = ""
    dtype: str = ""
    device: str = ""
    parameters: int | None = None
    times: int = 1
    share: float | None = None
    note: str = ""
    remark: str = ""


@dataclass(slots=True)
class View:
    """How to show a tree: `counts` are parameters by path, `names` the first name of what is tied.

    `told` is what modules seem to be, by their path in the tree; `inferred` the words for it by node, and
    `seems` a number that blocks have in common for which these words are the same, all the way down.
    """

    counts: Mapping[Path, int]
    names: Mapping[Path, str]
    depth: int | None = None
    expand: tuple[str, ...] = ()
    order: Order | None = None
    told: Mapping[str, Guess] = field(default_factory=dict)
    inferred: dict[Node, str] = field(default_factory=dict)
    seems: dict[Node, int] = field(default_factory=dict)
    weights: dict[Node, int] = field(default_factory=dict)
    whole: int = 0
    apart: set[Node] = field(default_factory=set)
    hinted: bool = False


def rows(root: Node, view: View) -> Iterator[Row]:
    """The rows below the root of a tree."""
    _weigh(root, view)
    _set_apart(root, view)
    _infer(root, view)
    yield from _below(root, view, "", 1, 1)


def _weigh(root: Node, view: View) -> None:
    for node in bottom_up(root):
        own = view.counts.get(node.tensor.path, 0) if node.tensor else 0
        view.weights[node] = own + sum(view.weights[child] for child in node.children)
    view.whole = view.weights[root]


def _set_apart(root: Node, view: View) -> None:
    if not view.expand:
        return
    wanted = matcher(view.expand)
    stack = [root]
    while stack:
        node = stack.pop()
        stack += node.children
        if wanted(node.path):
            above: Node | None = node
            while above is not None and above not in view.apart:
                view.apart.add(above)
                above = above.parent


def _sorted(nodes: list[Node], view: View) -> list[Node]:
    if view.order == "name":
        return sorted(nodes, key=lambda node: natural(node.name))
    if view.order == "size":
        return sorted(nodes, key=lambda node: -sum(tensor.nbytes for tensor in node.tensors()))
    return nodes if view.order == "file" else ordered(nodes)


def _below(node: Node, view: View, guide: str, times: int, level: int) -> Iterator[Row]:
    if view.depth is not None and level > view.depth:
        return
    yield from _children(folds(_sorted(node.children, view), view.apart), view, guide, times, level)


def _children(items: list[Fold], view: View, guide: str, times: int, level: int) -> Iterator[Row]:
    for item in items:
        last = item is items[-1]
        branch, trunk = (guide + ("└─ " if last else "├─ "), guide + ("   " if last else "│  "))
        if len(item.members) > 1:
            yield from _fold(item, item.label, view, (branch, trunk), times, level)
            continue
        node = item.members[0]
        inner = folds(_sorted(node.children, view), view.apart)
        if len(inner) == 1 and len(inner[0].members) > 1 and inner[0].label.startswith("×"):
            # A list of nothing but blocks is one line, and not a list with one line in it.
            name = f"{node.name} {inner[0].label}"
            yield from _fold(inner[0], name, view, (branch, trunk), times, level)
            continue
        yield _row(node, node.name, view, branch, times, level)
        yield from _below(node, view, trunk, times, level + 1)


def _fold(
    fold: Fold, name: str, view: View, guides: tuple[str, str], times: int, level: int
) -> Iterator[Row]:
    branch, trunk = guides
    first = fold.members[0]
    whole = sum(view.weights[node] for node in (*fold.members, *fold.odd))
    _doubt(fold.members, view)
    yield Row(
        branch,
        safe(name),
        detail=detail(first, view),
        shape=shape(first.tensor.shape) if first.tensor else "",
        dtype=safe(first.tensor.dtype) if first.tensor else "",
        device=safe(first.device),
        parameters=whole,
        times=times,
        share=_share(whole * times, view),
        note=_hint(fold, view),
    )
    yield from _below(first, view, trunk, len(fold.members) * times, level + 1)
    for node in fold.odd:
        yield Row(f"{trunk}≠ ", safe(node.name), remark=f"differs: {_difference(node, first)}")


def _hint(fold: Fold, view: View) -> str:
    if view.hinted:
        return ""
    view.hinted = True
    return f"(--expand '{safe(fold.members[(len(fold.members) - 1) // 2].path)}')"


def _row(node: Node, name: str, view: View, branch: str, times: int, level: int) -> Row:
    weight = view.weights[node]
    tensor = node.tensor
    if tensor is None:
        share = _share(weight * times, view)
        own = weight if node.children else None
        return Row(branch, safe(name), detail(node, view), parameters=own, times=times, share=share)
    counted = tensor.path in view.counts and tensor.path not in view.names
    return Row(
        branch,
        safe(name) or "(no name)",
        shape=shape(tensor.shape),
        dtype=safe(tensor.dtype),
        device=safe(node.device),
        parameters=weight if counted and tensor.shape is not None else None,
        times=times,
        share=_share(weight * times, view) if level == 1 and counted else None,
        note=_note(node, view),
    )


def _share(weight: int, view: View) -> float | None:
    return weight / view.whole if view.whole and weight else None


def _note(node: Node, view: View) -> str:
    tensor = node.tensor
    if tensor is None:
        return ""
    notes = [f"= {safe(view.names[tensor.path])}"] if tensor.path in view.names else []
    if tensor.kind == "buffer":
        notes.append("buffer")
    elif tensor.path not in view.counts and view.counts:
        notes.append("not counted")
    if tensor.requires_grad is False and tensor.kind == "parameter":
        notes.append("frozen")
    notes += [safe(word) for word in (tensor.layout, tensor.subclass) if word and word != "strided"]
    return ", ".join(notes)


def detail(node: Node, view: View) -> str:
    """`Linear 20→256` where the file names the class; `Linear 20→256  likely` where it is inferred."""
    return described(node.meta) or view.inferred.get(node, "")


def _infer(root: Node, view: View) -> None:
    """Find the words for modules that the file does not name the classes of, and which seem alike."""
    if not view.told:
        return
    stack = [(root, "")]
    while stack:
        node, path = stack.pop()
        if words := seeming(view.told.get(path)):
            view.inferred[node] = words
        stack += [
            (child, f"{path}.{child.name}" if node.parent else child.name)
            for child in node.children
            if child.tensor is None
        ]
    numbers: dict[object, int] = {}
    for node in bottom_up(root):
        below = tuple(view.seems[child] for child in node.children)
        view.seems[node] = numbers.setdefault((node.signature, view.inferred.get(node), below), len(numbers))


def seeming(guess: Guess | None) -> str:
    """`Linear 20→256  likely`; nothing where no layer is known."""
    if guess is None or guess.layer is None:
        return ""
    return f"{safe(layers.described(guess))}  {guess.confidence}"


def _doubt(members: tuple[Node, ...], view: View) -> None:
    """Forget what is inferred of the first of folded blocks, where it is not so of all of them."""
    if len({view.seems.get(node) for node in members}) == 1:
        return
    stack = [members]
    while stack:
        nodes = stack.pop()
        if len({view.inferred.get(node) for node in nodes}) > 1:
            view.inferred.pop(nodes[0], None)
        inside = [{child.name: child for child in node.children} for node in nodes]
        stack += [tuple([names[name] for names in inside]) for name in inside[0]]


def described(meta: ModuleMeta | None) -> str:
    """`Linear 20→256` where the file names the class, and holds its configuration."""
    if meta is None or meta.cls is None:
        return ""
    words = [meta.cls.rpartition(".")[2]]
    config = meta.config or {}
    for source, target in _WIDTHS:
        if source in config and target in config:
            words.append(f"{value(config[source])}→{value(config[target])}")
    words += [f"{name}={value(config[name])}" for name in _SINGLES if name in config]
    return safe(" ".join(words))


def _difference(node: Node, rule: Node) -> str:
    """In what a sibling differs, the same change of many tensors told once."""
    changes: dict[str, list[str]] = defaultdict(list)
    for difference in differences(node, rule):
        changes[_change(difference)].append(difference.name)
    told = []
    for change, names in list(changes.items())[:4]:
        which = safe(listing(names, 3)) if len(names) < 4 else plural(len(names), "tensor")
        told.append(f"{which} {change}".strip())
    if len(changes) > 4:
        told.append(f"and {len(changes) - 4} more")
    return "; ".join(told)


def _change(difference: Difference) -> str:
    here, there = difference.here, difference.there
    if here is None:
        return "absent"
    if there is None:
        return f"{_words(here)} only here"
    pairs = zip((shape(here[1]), here[0], here[2]), (shape(there[1]), there[0], there[2]), strict=True)
    return ", ".join(f"{safe(own)} not {safe(other)}" for own, other in pairs if own != other)


def _words(leaf: Leaf) -> str:
    return f"{shape(leaf[1])} {safe(leaf[0])}"
