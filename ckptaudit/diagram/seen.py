"""What a module is beside its name: the class that the file names, or the layer that it seems to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ckptaudit import layers
from ckptaudit.diagram.outline import Item
from ckptaudit.diagram.scene import Group
from ckptaudit.fold import Node
from ckptaudit.layers import Guess
from ckptaudit.model import ModuleMeta, TensorMeta
from ckptaudit.text import value

_LARGE = 4096  # tensors

# Widths of a layer as torch.nn names them, what comes in before what goes out.
_WIDTHS = (
    ("in_features", "out_features"),
    ("in_channels", "out_channels"),
    ("num_embeddings", "embedding_dim"),
    ("input_size", "hidden_size"),
)
_SINGLES = ("num_features", "normalized_shape", "kernel_size", "p")


class Layers:
    """What modules are. Of large state dicts, only what is drawn is looked at: guesses take their time."""

    def __init__(self, drawn: Iterable[Item]) -> None:
        self._guesses: dict[Group, Mapping[str, Guess]] = {}
        for root in drawn:
            group = root.group
            if not group.is_apart and all(module.cls is None for module in group.modules.values()):
                tensors = group.held if len(group.held) <= _LARGE else list(_shown(root))
                self._guesses[group] = layers.guesses(tensors, group.modules)

    def of(self, group: Group, nodes: Sequence[Node]) -> tuple[str, str]:
        """The layer that all of `nodes` are, in words, and how surely: ("Linear 20→256", "likely").

        The second is "" where the file names the class, both are "" where nothing is known, or not the same
        of all.
        """
        named = _named(nodes[0].meta)
        if named:
            return named, ""
        guesses = self._guesses.get(group)
        if not guesses:
            return "", ""
        words = {_words(guesses.get(node.path)) for node in nodes}
        return words.pop() if len(words) == 1 else ("", "")


def _shown(root: Item) -> Iterator[TensorMeta]:
    """The tensors of modules whose rows are drawn, of all blocks that they stand for."""
    stack = [root]
    while stack:
        item = stack.pop()
        stack += item.shown
        if not item.shown and (item.is_open or not any(child.children for child in item.first.children)):
            for node in item.members:
                yield from node.tensors()


def _words(guess: Guess | None) -> tuple[str, str]:
    if guess is None or guess.layer is None:
        return "", ""
    return layers.described(guess), guess.confidence or ""


def _named(meta: ModuleMeta | None) -> str:
    if meta is None or meta.cls is None:
        return ""
    words = [meta.cls.rpartition(".")[2]]
    config = meta.config or {}
    for source, target in _WIDTHS:
        if source in config and target in config:
            words.append(f"{value(config[source])}→{value(config[target])}")
    words += [f"{name}={value(config[name])}" for name in _SINGLES if name in config]
    return " ".join(words)
