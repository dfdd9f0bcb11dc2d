"""What a module is called beside its name: the class that the file names, or the layer that it seems to be."""

from __future__ import annotations

from collections.abc import Iterable

from ckptaudit import layers
from ckptaudit.diagram.scene import Group
from ckptaudit.fold import Node
from ckptaudit.model import ModuleMeta
from ckptaudit.text import value

# Widths of a layer as torch.nn names them, what comes in before what goes out.
_WIDTHS = (
    ("in_features", "out_features"),
    ("in_channels", "out_channels"),
    ("num_embeddings", "embedding_dim"),
    ("input_size", "hidden_size"),
)
_SINGLES = ("num_features", "normalized_shape", "kernel_size", "p")


def layer(group: Group, nodes: Iterable[Node]) -> tuple[str, str]:
    """The layer that all of `nodes` are, in words, and how surely: ("Linear 20→256", "likely").

    The second is "" where the file names the class, both are "" where nothing is known, or not the same of all.
    """
    nodes = tuple(nodes)
    named = _named(nodes[0].meta)
    if named:
        return named, ""
    if not group.guesses:
        return "", ""
    words = {_guessed(group, node) for node in nodes}
    return words.pop() if len(words) == 1 else ("", "")


def _guessed(group: Group, node: Node) -> tuple[str, str]:
    guess = group.guesses.get(node.path)
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
