"""The graph of a checkpoint for other programs: GraphML, and JSON (schema `ckptaudit.graph/1`).

Nodes go by the names of `diagram.ids`, like the parts of a picture; storages, which no picture draws, by `s-`
and their number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptaudit.diagram.ids import anchor
from ckptaudit.model import Checkpoint
from ckptaudit.text import dotted, safe, shape

if TYPE_CHECKING:
    from networkx import DiGraph

    from ckptaudit.graph import NodeId

SCHEMA = "ckptaudit.graph/1"
# GraphML numbers are of 64 bits.
_LARGEST = 2**63 - 1


def document(checkpoint: Checkpoint) -> str:
    """The graph as JSON: nodes and edges with what is known of them, ties, blocks that are alike."""
    graph = _graph(checkpoint)
    names = _names(graph)
    told = {
        "schema": SCHEMA,
        "path": checkpoint.path,
        "format": checkpoint.format,
        "picked": names.get(graph.graph["picked"]),
        "nodes": [{"id": names[node], **_plain(facts)} for node, facts in graph.nodes(data=True)],
        "edges": [
            {"source": names[one], "target": names[other], **facts}
            for one, other, facts in graph.edges(data=True)
        ],
        "ties": _groups(graph.graph["ties"], names),
        "overlaps": _groups(graph.graph["overlaps"], names),
        "blocks": _groups(graph.graph["blocks"], names),
        "odd": {names[node]: block for node, block in graph.graph["odd"].items()},
    }
    return json.dumps(told, indent=1, default=str) + "\n"


def graphml(checkpoint: Checkpoint) -> str:
    """The graph as GraphML (http://graphml.graphdrawing.org/specification.html).

    XML holds neither control characters nor lone surrogates: names are escaped as for a terminal.
    """
    from networkx import DiGraph, generate_graphml

    graph = _graph(checkpoint)
    names = _names(graph)
    plain: DiGraph[str] = DiGraph(path=safe(checkpoint.path), format=checkpoint.format)
    tied = {node: number for number, group in enumerate(graph.graph["ties"]) for node in group}
    for node, facts in graph.nodes(data=True):
        more = {"tie_group": tied[node]} if node in tied else {}
        plain.add_node(names[node], **dict(_simple({**facts, **more})))
    for one, other, facts in graph.edges(data=True):
        plain.add_edge(names[one], names[other], kind=facts["kind"])
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(generate_graphml(plain)) + "\n"


def _graph(checkpoint: Checkpoint) -> DiGraph[NodeId]:
    from ckptaudit.graph import build

    return build(checkpoint)


def _names(graph: DiGraph[NodeId]) -> dict[NodeId, str]:
    found: dict[NodeId, str] = {}
    storages = 0
    for node in graph:
        if node[0] == "storage":
            found[node] = f"s-{storages}"
            storages += 1
        elif node[0] == "tensor":
            found[node] = anchor("tensor", node[1])
        else:
            _, root, path = node
            found[node] = anchor("module", (*root, path))
    return found


def _groups(groups: Iterable[Iterable[NodeId]], names: Mapping[NodeId, str]) -> list[list[str]]:
    return [[names[node] for node in group] for group in groups]


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Configurations are mappings of their own kind, with anything in them."""
    config = facts.get("config")
    return {**facts, "config": dict(config)} if isinstance(config, Mapping) else dict(facts)


def _simple(facts: Mapping[str, Any]) -> Iterator[tuple[str, str | int | bool]]:
    """What GraphML has types for; what is None is left out, as is the configuration of a module."""
    for name, value in facts.items():
        if name in ("shape", "stride"):
            yield name, shape(value)
        elif isinstance(value, bool) or (isinstance(value, int) and abs(value) <= _LARGEST):
            yield name, value
        elif isinstance(value, str):
            yield name, safe(value)
        elif isinstance(value, tuple):
            yield name, safe(dotted(value))
