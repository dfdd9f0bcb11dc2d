"""Pictures of fixtures, as DOT; those that the README shows, as SVG too.

To renew them after a change that is meant: `python -m tests.diagram.test_snapshots` at the root, with
`graphviz-pure` installed, and look at each with `dot -Tpng tests/snapshots/NAME.dot -o NAME.png`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from ckptaudit.diagram.draw import draw
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
SHOWN = ("rgnet", "shared")
FOLDER = ROOT / "tests" / "snapshots"
SVG = "{http://www.w3.org/2000/svg}"


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


@needs_graphviz
@pytest.mark.parametrize("name", SHOWN)
def test_what_the_readme_shows_is_what_is_drawn(name: str) -> None:
    """Programs differ in how they write a drawing, not in what is in it."""
    drawn = draw(text_of(fixture(SNAPSHOTS[name])), "svg").data
    assert list(_content(drawn)) == list(_content((FOLDER / f"{name}.svg").read_bytes()))


def _content(data: bytes) -> Iterator[str]:
    """Clusters, nodes and edges by id, and all text, in the order of the file."""
    for element in ElementTree.fromstring(data).iter():
        if element.tag == f"{SVG}g" and element.get("class") in ("cluster", "node", "edge"):
            yield f"{element.get('class')} {element.get('id')}"
        elif element.tag == f"{SVG}text" and (text := "".join(element.itertext()).strip()):
            yield text


if __name__ == "__main__":
    os.environ["PATH"] = ""  # without the system's Graphviz: the same bytes from everyone
    FOLDER.mkdir(exist_ok=True)
    for name, file in SNAPSHOTS.items():
        text = text_of(fixture(file))
        (FOLDER / f"{name}.dot").write_text(text, encoding="utf-8", newline="\n")
        if name in SHOWN:
            (FOLDER / f"{name}.svg").write_bytes(draw(text, "svg").data)
