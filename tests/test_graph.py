from __future__ import annotations

import importlib

import pytest
from networkx import is_directed_acyclic_graph

import ckptaudit
from ckptaudit.graph import build
from ckptaudit.model import Checkpoint, Path, Span, StateDict, Storage, TensorMeta
from tests.handmade import GPT2, MLP, checkpoint, gpt2, tensor, training

TOP = ("module", (), "")


def test_modules_contain_modules_and_tensors_and_tensors_view_storages() -> None:
    graph = build(checkpoint({(): ("model", MLP)}))
    assert set(graph.successors(TOP)) == {("module", (), "hidden"), ("module", (), "output")}
    weight = ("tensor", ("hidden.weight",))
    assert set(graph.successors(("module", (), "hidden"))) == {weight, ("tensor", ("hidden.bias",))}
    assert list(graph.successors(weight)) == [("storage", "0")]
    kinds = {
        (graph.nodes[a]["kind"], edge, graph.nodes[b]["kind"]) for a, b, edge in graph.edges(data="kind")
    }
    assert kinds == {
        ("module", "contains", "module"),
        ("module", "contains", "tensor"),
        ("tensor", "views", "storage"),
    }
    assert graph.nodes[weight]["shape"] == (256, 20)
    assert graph.graph["picked"] == TOP


def test_every_tensor_hangs_in_one_module() -> None:
    graph = build(training())
    assert is_directed_acyclic_graph(graph)
    tensors = [node for node, kind in graph.nodes(data="kind") if kind == "tensor"]
    assert len(tensors) == 12
    for node in tensors:
        assert (
            len([above for above in graph.predecessors(node) if graph.nodes[above]["kind"] == "module"]) == 1
        )
    assert graph.graph["picked"] == ("module", ("model",), "")
    assert graph.nodes["module", ("optimizer",), ""]["role"] == "optimizer"
    assert set(graph.successors(TOP)) == {
        ("module", (root,), "") for root in ("model", "model_ema", "optimizer")
    }


def test_a_tie_is_one_storage_with_two_views() -> None:
    graph = build(gpt2())
    tied = (("tensor", ("wte.weight",)), ("tensor", ("lm_head.weight",)))
    assert graph.graph["ties"] == (tied,)
    assert [node for node, tie in graph.nodes(data="tie") if tie] == [("storage", "0")]
    assert set(graph.predecessors(("storage", "0"))) == set(tied)


def test_an_overlap_is_no_tie() -> None:
    views = [tensor("a", (4,), "s"), tensor("b", (2,), "s", offset=2)]
    storage = Storage("s", "float32", "cpu", 16, Span("f", 0, 16))
    held = {view.path: view for view in views}
    graph = build(Checkpoint("f", "torch-zip", (), held, {"s": storage}, (StateDict((), "model"),)))
    assert graph.graph["ties"] == ()
    assert graph.graph["overlaps"] == ((("tensor", ("a",)), ("tensor", ("b",))),)
    assert (graph.nodes["storage", "s"]["tie"], graph.nodes["storage", "s"]["overlap"]) == (False, True)


def test_blocks_and_the_odd_one() -> None:
    keys = {**GPT2, "h.5.attn.rotary.inv_freq": (32,)}
    graph = build(checkpoint({(): ("model", keys)}))
    alike = tuple(("module", (), f"h.{block}") for block in range(12) if block != 5)
    place = graph.graph["blocks"].index(alike)
    assert graph.graph["odd"] == {("module", (), "h.5"): place}
    assert graph.nodes["module", (), "h.3"]["block"] == place
    assert "block" not in graph.nodes["module", (), "h.5"]


def test_a_tensor_alone() -> None:
    held: dict[Path, TensorMeta] = {(): tensor("", (3,), "0")._replace(path=())}
    storage = Storage("0", "float32", "cpu", 12, None)
    graph = build(Checkpoint("f", "torch-zip", (), held, {"0": storage}))
    assert list(graph.successors(TOP)) == [("tensor", ())]
    assert graph.graph["picked"] is None


def test_the_function_and_the_module_have_one_name() -> None:
    assert importlib.import_module("ckptaudit.graph").build is build
    assert len(ckptaudit.graph(gpt2())) == len(build(gpt2()))
    assert {"graph", "read"} <= set(dir(ckptaudit))


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        ckptaudit.nothing  # noqa: B018
