"""Pictures of fixtures, as DOT.

To renew them after a change that is meant: `python -m tests.diagram.test_snapshots` at the root, and look at
each with `dot -Tpng tests/snapshots/NAME.dot -o NAME.png`.
"""

from __future__ import annotations

import pytest

from tests.diagram.drawn import ROOT, clusters, fixture, needs_graphviz, nodes, parsed, text_of

SNAPSHOTS = {
    "chimera": "chimera.pt",
    "full_model_chimera": "full_model_chimera.pt",
    "rgnet": "rgnet.pt",
    "shared": "shared.pt",
    "train_ckpt": "train_ckpt.pt",
    "devices_mixed": "devices_mixed.pt",
    "lazy_half": "lazy_half.pt",
}
FOLDER = ROOT / "tests" / "snapshots"


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_picture_is_as_it_was(name: str) -> None:
    assert text_of(fixture(SNAPSHOTS[name])) == (FOLDER / f"{name}.dot").read_text(encoding="utf-8")


@needs_graphviz
@pytest.mark.parametrize(
    ("name", "frames", "boxes", "edges"),
    [
        ("chimera", 3, 7, 0),
        ("full_model_chimera", 4, 8, 5),
        ("rgnet", 2, 5, 0),
        ("shared", 0, 7, 2),
        ("train_ckpt", 2, 4, 0),
        ("devices_mixed", 0, 2, 0),
        ("lazy_half", 0, 2, 0),
    ],
)
def test_graphviz_finds_in_it_what_is_drawn(name: str, frames: int, boxes: int, edges: int) -> None:
    told = parsed((FOLDER / f"{name}.dot").read_text(encoding="utf-8"))
    assert (len(clusters(told)), len(nodes(told)), len(told.get("edges", ()))) == (frames, boxes, edges)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, file in SNAPSHOTS.items():
        (FOLDER / f"{name}.dot").write_text(text_of(fixture(file)), encoding="utf-8", newline="\n")
