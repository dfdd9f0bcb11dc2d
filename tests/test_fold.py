from __future__ import annotations

from dataclasses import replace

from ckptaudit.fold import Fold, Node, differences, folds, ordered, tree
from ckptaudit.model import ModuleMeta, StateDict
from ckptaudit.summary import pick
from tests.handmade import GPT2, Keys, checkpoint, gpt2


def grown(keys: Keys) -> Node:
    found = checkpoint({(): ("model", keys)})
    return tree(found, pick(found))


def child(node: Node, *names: str) -> Node:
    for name in names:
        node = next(below for below in node.children if below.name == name)
    return node


def folded(node: Node) -> list[Fold]:
    return folds(ordered(node.children))


def labels(node: Node) -> list[str]:
    return [fold.label for fold in folded(node) if len(fold.members) > 1]


def test_the_blocks_of_gpt2_are_alike() -> None:
    found = gpt2()
    root = tree(found, pick(found))
    assert labels(child(root, "h")) == ["×12 alike (0-11)"]
    assert child(root, "h", "5").path == "h.5"


def test_names_with_spaces_share_their_stem() -> None:
    blocks = {f"block {number}.{layer}.weight": (4, 4 + layer) for number in range(4) for layer in range(2)}
    assert labels(grown(blocks)) == ["block ×4 alike (0-3)"]


def test_siblings_of_other_names_fold_where_they_are_neighbours() -> None:
    heads = {f"{name}_proj.weight": (8, 8) for name in "kqv"}
    assert labels(grown(heads)) == ["×3 alike (k_proj, q_proj, v_proj)"]
    apart = {"q.weight": (8, 8), "norm.weight": (8,), "k.weight": (8, 8)}
    assert labels(grown(apart)) == []


def test_shapes_dtypes_devices_and_classes_tell_siblings_apart() -> None:
    same = {f"{name}.weight": (2, 2) for name in "ab"}
    assert labels(grown(same)) == ["×2 alike (a, b)"]
    assert labels(grown({**same, "b.weight": (2, 3)})) == []
    found = checkpoint({(): ("model", same)})
    half = dict(found.tensors)
    half["b.weight",] = half["b.weight",]._replace(dtype="float16")
    moved = dict(found.storages)
    moved["1"] = moved["1"]._replace(device="cuda:0")
    classes = {"a": ModuleMeta("a", "torch.nn.modules.linear.Linear"), "b": ModuleMeta("b", "mine.Linear")}
    for other in (
        replace(found, tensors=half),
        replace(found, storages=moved),
        replace(found, state_dicts=(StateDict((), "model", classes),)),
    ):
        assert labels(tree(other, pick(other))) == []


def test_a_sibling_that_differs_stands_out_with_its_difference() -> None:
    keys = dict(GPT2)
    keys["h.5.attn.rotary.inv_freq"] = (32,)
    del keys["h.7.ln_2.bias"]
    keys["h.9.mlp.c_fc.weight"] = (768, 1024)
    (fold,) = folded(child(grown(keys), "h"))
    assert fold.label == "×9 alike (0-4, 6, 8, 10-11)"
    told = {
        node.name: [(item.name, item.here, item.there) for item in differences(node, fold.members[0])]
        for node in fold.odd
    }
    assert told == {
        "5": [("attn.rotary.inv_freq", ("float32", (32,), "cpu"), None)],
        "7": [("ln_2.bias", None, ("float32", (768,), "cpu"))],
        "9": [("mlp.c_fc.weight", ("float32", (768, 1024), "cpu"), ("float32", (768, 3072), "cpu"))],
    }


def test_a_second_name_of_tied_memory_is_told_apart() -> None:
    found = checkpoint(
        {(): ("model", {f"{place}.weight": (8, 8) for place in range(3)})}, {"2.weight": "1.weight"}
    )
    assert labels(tree(found, pick(found))) == ["×3 alike (0-2)"]
    assert labels(tree(found, pick(found), repeats={("2.weight",)})) == ["×2 alike (0-1)"]


def test_numbers_come_in_order_and_names_in_the_order_of_the_file() -> None:
    keys = {f"h.{place}.w": (place + 1,) for place in (0, 1, 10, 11, 2)}
    root = grown({"wte.w": (9,), **keys, "ln_f.w": (3,)})
    # Modules of a state dict's metadata come in an order of their own.
    assert [node.name for node in ordered(child(root, "h").children)] == ["0", "1", "2", "10", "11"]


def test_two_layers_around_a_third_are_no_block() -> None:
    found = checkpoint({(): ("model", {f"{place}.weight": (8, 8) for place in (0, 2)})})
    modules = {name: ModuleMeta(name, version=1) for name in ("", "0", "1", "2")}
    assert labels(tree(found, StateDict((), "model", modules))) == []
    assert labels(grown({"0.weight": (8, 4), "1.weight": (8, 8), "2.weight": (8, 8)})) == ["×2 alike (1-2)"]


def test_modules_without_tensors_stay() -> None:
    found = checkpoint({(): ("model", {"0.weight": (2, 2), "2.weight": (2, 2)})})
    modules = {name: ModuleMeta(name, version=1) for name in ("", "0", "1", "2")}
    found = replace(found, state_dicts=(StateDict((), "model", modules),))
    assert [node.name for node in tree(found, pick(found)).children] == ["0", "1", "2"]


def test_a_name_of_30_000_dots_is_no_tower() -> None:
    root = grown({"a." * 30_000 + "weight": (2,)})
    depth, node = 0, root
    while node.children:
        node, depth = node.children[0], depth + 1
    assert depth < 100
    assert [item.key for item in root.tensors()] == ["a." * 30_000 + "weight"]
