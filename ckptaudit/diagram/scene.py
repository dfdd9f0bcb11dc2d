"""What is known before anything is drawn: the trees, what each node weighs, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from re import compile as regex
from typing import NamedTuple

from ckptaudit.audit import Finding
from ckptaudit.diagram.parts import Options, Standing
from ckptaudit.fold import Node, bottom_up, tree
from ckptaudit.model import Checkpoint, ModuleMeta, Path, Role, TensorMeta
from ckptaudit.summary import Group as Tie
from ckptaudit.summary import alias_name, members, parameters, pick, ties
from ckptaudit.text import dotted


class Weight(NamedTuple):
    """What is at or below a node: tied memory counts once."""

    parameters: int = 0
    nbytes: int = 0
    tensors: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One state dict as a tree, or what is in none (`role` is None). `is_apart` says it is no model.

    `held` are its tensors in the order of the file, `modules` what the file says of its modules.
    """

    root: Path
    role: Role | None
    tree: Node
    is_apart: bool
    held: Sequence[TensorMeta]
    modules: Mapping[str, ModuleMeta] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its dotted place in the saved object; "" is that object itself."""
        return dotted(self.root)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything that drawing asks for, by node or by the path of a tensor."""

    checkpoint: Checkpoint
    options: Options
    groups: tuple[Group, ...]
    ties: tuple[Tie, ...]
    weights: Mapping[Node, Weight]
    nodes: Mapping[Path, Node]
    standings: Mapping[Path, Standing]
    findings: Mapping[Node, tuple[Finding, ...]]
    apart: frozenset[Node]
    forced: frozenset[Node]

    def weight(self, nodes: Iterable[Node]) -> Weight:
        """What several nodes weigh together."""
        return _sum([self.weights[node] for node in nodes])


def _sum(weights: list[Weight]) -> Weight:
    return Weight(*map(sum, zip(*weights, strict=True))) if weights else Weight()


def scene(
    checkpoint: Checkpoint,
    options: Options,
    findings: Iterable[Finding],
    standings: Mapping[Path, Standing],
    drawn: Checkpoint,
) -> Scene:
    """Gather what is known of `checkpoint`; `drawn` is it with the tensors that a reference misses."""
    tied = ties(checkpoint)
    names = alias_name(checkpoint)
    firsts = {tensor.path: names(group)[0] for group in tied for tensor in group[1:]}
    groups = tuple(_groups(drawn, firsts))
    counts = parameters(checkpoint, tied)
    weights: dict[Node, Weight] = {}
    nodes: dict[Path, Node] = {}
    for group in groups:
        for node in bottom_up(group.tree):
            if node.tensor is not None:
                nodes[node.tensor.path] = node
                weights[node] = _own(node.tensor, counts, firsts, standings)
            else:
                weights[node] = _sum([weights[child] for child in node.children])
    apart, forced = _expanded(groups, options.expand)
    return Scene(
        checkpoint,
        options,
        groups,
        tied,
        weights,
        nodes,
        standings,
        _placed(groups, findings),
        apart,
        forced,
    )


def _own(
    tensor: TensorMeta,
    counts: Mapping[Path, int],
    firsts: Mapping[Path, str],
    standings: Mapping[Path, Standing],
) -> Weight:
    if standings.get(tensor.path) == "missing":
        return Weight()
    nbytes = 0 if tensor.path in firsts else tensor.nbytes
    return Weight(counts.get(tensor.path, 0), nbytes, 1)


def _groups(checkpoint: Checkpoint, repeats: Mapping[Path, str]) -> Iterator[Group]:
    chosen = pick(checkpoint)
    held = members(checkpoint)
    for state_dict in checkpoint.state_dicts:
        is_apart = state_dict is not chosen if chosen is not None else state_dict.role == "optimizer"
        top = tree(checkpoint, state_dict, repeats=repeats)
        yield Group(
            state_dict.root, state_dict.role, top, is_apart, held[state_dict.root], state_dict.modules
        )
    if loose := held.get(None):
        alone = replace(checkpoint, state_dicts=(), tensors={tensor.path: tensor for tensor in loose})
        yield Group((), None, tree(alone, None, repeats=repeats), chosen is not None, loose)


def _expanded(groups: Iterable[Group], globs: tuple[str, ...]) -> tuple[frozenset[Node], frozenset[Node]]:
    """The modules that fold with nothing, and those that are open whatever that costs."""
    if not globs:
        return frozenset(), frozenset()
    patterns = [regex(translate(glob)).match for glob in globs]
    apart: set[Node] = set()
    for group in groups:
        for node, path in paths(group.tree):
            whole = f"{group.name}.{path}" if group.name and path else group.name or path
            if any(match(path) or match(whole) for match in patterns):
                above: Node | None = node
                while above is not None and above not in apart:
                    apart.add(above)
                    above = above.parent
    return frozenset(apart), frozenset(node for node in apart if node.tensor is None)


def paths(root: Node) -> Iterator[tuple[Node, str]]:
    """Every node of a tree with its dotted path: `Node.path` would walk up again from each of them."""
    stack = [(root, "")]
    while stack:
        node, path = stack.pop()
        yield node, path
        above = f"{path}." if path else ""
        stack += [(child, above + child.name) for child in reversed(node.children)]


def _placed(groups: Iterable[Group], findings: Iterable[Finding]) -> dict[Node, tuple[Finding, ...]]:
    """Findings by the node that their keys name: by its path in its state dict, or in the saved object."""
    findings = list(findings)
    wanted = {key.removesuffix(".*") for finding in findings for key in finding.keys} - {""}
    if not wanted:
        return {}
    named: dict[str, list[Node]] = {}
    for group in groups:
        for node, path in paths(group.tree):
            whole = f"{group.name}.{path}" if group.name else path
            for name in {path, whole} & wanted:
                named.setdefault(name, []).append(node)
    found: dict[Node, list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: -finding.severity):
        for node in dict.fromkeys(
            node for key in finding.keys for node in named.get(key.removesuffix(".*"), ())
        ):
            found.setdefault(node, []).append(finding)
    return {node: tuple(several) for node, several in found.items()}
