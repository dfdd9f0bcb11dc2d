"""The rows that the script of the page draws: all tensors, folded as the text folds them, counted as ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckptaudit.diagram.ids import anchor
from ckptaudit.locate import read_at
from ckptaudit.model import Checkpoint
from ckptaudit.reports.html.tree import Tree, build
from ckptaudit.reports.inspect.selection import ALL, Selection
from ckptaudit.summary import pick, ties, totals
from tests.handmade import GPT2, checkpoint, gpt2, tensor
from tests.reports.html.reading import rows

FIXTURES = Path(__file__).parents[3] / "fixtures"


def made(found: Checkpoint, selection: Selection = ALL, expand: tuple[str, ...] = ()) -> Tree:
    return build(found, pick(found), ties(found), selection, expand)


def tree(found: Checkpoint, **more: Any) -> list[dict[str, Any]]:
    return rows(made(found, **more).data)


def below(found: list[dict[str, Any]], place: int) -> list[dict[str, Any]]:
    return [row for row in found if row["parent"] == place]


def drawn(found: list[dict[str, Any]], place: int = -1, indent: str = "") -> list[str]:
    """The tree as an outline, folds by their labels."""
    lines = []
    for at, row in enumerate(found):
        if row["parent"] == place:
            lines.append(f"{indent}{row['name']} {row['badge']}".rstrip())
            lines += drawn(found, at, f"{indent}  ")
    return lines


def test_gpt2_folds_its_blocks() -> None:
    found = tree(gpt2())
    assert [f"{row['name']} {row['badge']}".strip() for row in below(found, -1)] == [
        "wte", "wpe", "h ×12 alike (0-11)", "ln_f", "lm_head",
    ]  # fmt: skip
    h = next(place for place, row in enumerate(found) if row["name"] == "h")
    assert [row["name"] for row in below(found, h)] == [str(block) for block in range(12)]
    assert found[h]["parameters"] == 85_054_464
    assert found[h]["share"] == "68.3 %"
    assert found[h]["size"] == "324.5 MiB"


def test_a_block_that_differs_stands_beside_the_fold() -> None:
    keys = {f"h.{block}.a.weight": (2, 3) for block in range(5)} | {"h.3.b.weight": (4,)}
    keys |= {f"h.{block}.c.weight": (3,) for block in range(5)}
    found = tree(checkpoint({(): ("model", keys)}))
    assert drawn(found)[:2] == ["h", "  ×4 alike (0-2, 4)"]
    (odd,) = (row for row in found if row["note"])
    assert (odd["name"], odd["note"]) == ("3", "differs: b.weight [4] float32")
    assert found[odd["parent"]]["name"] == "h"


@pytest.mark.parametrize(
    "name", ["rgnet", "shared", "chimera", "train_ckpt", "devices_mixed", "lazy_half", "views"]
)
def test_every_tensor_has_a_row_and_parameters_are_counted_once(name: str) -> None:
    found = read_at(str(FIXTURES / f"{name}.pt"))
    tree = made(found)
    leaves = [row for row in rows(tree.data) if row["kind"] == 1]
    assert {row["anchor"] for row in leaves} == {anchor("tensor", path) for path in found.tensors}
    whole = totals(found).parameters
    assert sum(row["parameters"] or 0 for row in leaves) == whole == tree.data["parameters"]
    tops = [row for row in rows(tree.data) if row["parent"] < 0]
    assert sum(row["parameters"] or 0 for row in tops) == whole
    assert all(parent < place for place, (parent, *_) in enumerate(tree.data["rows"]))


def test_ties_are_places_of_rows() -> None:
    found = made(gpt2())
    ((one, other),) = found.data["ties"]
    named = rows(found.data)
    assert [named[named[place]["parent"]]["name"] for place in (one, other)] == ["wte", "lm_head"]
    assert [named[place]["parameters"] for place in (one, other)] == [38_597_376, 0]


def test_modules_and_tensors_are_found_by_their_names() -> None:
    found = made(read_at(str(FIXTURES / "train_ckpt.pt")))
    assert (
        found.anchors["0.weight"]
        == found.anchors["model.0.weight"]
        == anchor("tensor", ("model", "0.weight"))
    )
    assert found.anchors["0"] == found.anchors["model.0"] == anchor("module", ("model", "0"))
    assert found.anchors["optimizer"] == anchor("state-dict", ("optimizer",))


def test_what_is_in_no_state_dict_has_rows() -> None:
    found = tree(read_at(str(FIXTURES / "x_files.pt")))
    assert len([row for row in found if row["kind"] == 1]) == 2


def test_only_what_is_asked_for() -> None:
    found = tree(gpt2(), selection=Selection(include=("h.3.*",), order="size"))
    assert len([row for row in found if row["kind"] == 1]) == 12
    assert made(gpt2(), Selection(order="size")).data["order"] == "size"
    assert tree(gpt2(), selection=Selection(include=("nothing",))) == []


def test_what_is_asked_for_is_unfolded() -> None:
    found = tree(checkpoint({(): ("model", GPT2)}), expand=("h.5",))
    assert [line for line in drawn(found) if line.startswith("  ") and line[2] != " "][2:4] == [
        "  ×11 alike (0-4, 6-11)",
        "  5",
    ]


def test_notes() -> None:
    made_of = {
        ("a",): tensor("a", (2,), "0", kind="buffer"),
        ("b",): tensor("b", (2,), "1", kind="parameter", requires_grad=False),
        ("c",): tensor("c", (2,), "2", layout="sparse_coo", subclass="x\n.Y"),
        ("d",): tensor("d", None, "3", kind="lazy"),
    }
    found = tree(replace(checkpoint({(): ("model", {})}), tensors=made_of))
    assert [(row["name"], row["note"], row["parameters"]) for row in found] == [
        ("a", "buffer", None),
        ("b", "frozen", 2),
        ("c", "sparse_coo, x\\x0a.Y", 2),
        ("d", "", None),
    ]
    assert [row["shape"] for row in found] == ["[2]", "[2]", "[2]", "lazy"]


def test_numbers_too_large_for_a_script_are_text() -> None:
    found = tree(checkpoint({(): ("model", {"a": (2**40, 2**40)})}))
    assert found[0]["parameters"] == f"{2**80:,}"
    assert found[0]["bytes"] == f"{2**82:,}"
