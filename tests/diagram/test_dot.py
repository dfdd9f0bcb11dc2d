from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptaudit.audit import Finding, Severity
from ckptaudit.diagram.colours import fills
from ckptaudit.diagram.dot import dot
from ckptaudit.diagram.draw import draw
from ckptaudit.diagram.exports import document, graphml
from ckptaudit.diagram.flow import Place, walk
from ckptaudit.diagram.page import Page, page
from ckptaudit.diagram.picture import Options, Picture, picture
from ckptaudit.model import Checkpoint
from ckptaudit.text import safe
from tests.diagram.drawn import FIXTURES, ROOT, clusters, fixture, needs_graphviz, nodes, parsed, text_of
from tests.handmade import checkpoint, gpt2

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
PIXELS = 96 / 72
# The systems of the fixtures, each as a state dict; and some as a whole model.
SYSTEMS = (
    *(
        "sequential_mlp.pt",
        "mlp.params",
        "mlp_out.pt",
        "my_sequential.pt",
        "module_list.pt",
        "python_list.pt",
    ),
    *("fixed_hidden_mlp.pt", "nest_mlp.pt", "chimera.pt", "parallel_block.pt", "closure_network.pt"),
    *("rgnet.pt", "init_custom.pt", "shared.pt", "shared_submodule.pt", "lazy.pt", "lazy_loaded.pt"),
    *("lazy_half.pt", "centered.pt", "my_linear.pt", "reduction.pt", "fourier.pt", "x_file.pt", "x_files.pt"),
    *("mydict.pt", "frozen.pt", "frozen_new_head.pt", "devices_cuda.pt", "devices_mixed.pt"),
    *("devices_missing.pt", "bn_dropout.pt", "train_ckpt.pt", "train_ckpt_ema.pt", "zoo.pt", "tiny_gpt.pt2"),
    *(
        "full_model_fourier.pt",
        "full_model_rgnet.pt",
        "full_model_shared.pt",
        "full_model_chimera.pt",
        "full_model_tiny_gpt.pt",
    ),
    *("nest_mlp.torchscript.pt", "sharded_safetensors"),
)


def laid(drawn: Picture) -> Page:
    return page(drawn, fills(drawn.legend))


def svg(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(draw(text, "svg", 120).data)


def width(root: ElementTree.Element) -> float:
    """In CSS pixels."""
    assert root.attrib["width"].endswith("pt")
    return float(root.attrib["width"].removesuffix("pt")) * PIXELS


def words(root: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()).replace("\xa0", " ") for each in root.iter(f"{SVG}text")]


@needs_graphviz
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_is_drawn(name: str) -> None:
    made = fixture(name)
    drawn = picture(made)
    told = parsed(dot(drawn))
    assert len(nodes(told)) == len(drawn.boxes())
    assert len(told.get("edges", ())) == len(drawn.edges)
    root = svg(dot(drawn))
    assert width(root) < 1600
    told_of = " ".join(words(root))
    assert all(safe(box.head.name) in told_of for box in drawn.boxes())


@pytest.mark.parametrize("name", SYSTEMS)
def test_nothing_lies_on_anything_else(name: str) -> None:
    for rankdir in ("TB", "LR"):
        page = laid(picture(fixture(name), Options(rankdir=rankdir)))  # type: ignore[arg-type]
        boxes = _boxes(page)
        assert not [1 for one, other in combinations(boxes, 2) if _overlap(one, other)]
        assert all(place.x >= 0 and place.x + place.width <= page.width for place in boxes)


def _boxes(page: Page) -> list[Place]:
    return [place for place in walk(page.top) if not place.shelves and place.part is not None]


def _overlap(one: Place, other: Place) -> bool:
    return all(
        getattr(one, at) < getattr(other, at) + getattr(other, size)
        and getattr(other, at) < getattr(one, at) + getattr(one, size)
        for at, size in (("x", "width"), ("y", "height"))
    )


@needs_graphviz
@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_gpt2_is_small(rankdir: str) -> None:
    drawn = picture(gpt2(), Options(rankdir=rankdir))  # type: ignore[arg-type]
    assert len(drawn.boxes()) <= 30
    told = parsed(dot(drawn))
    assert len(nodes(told)) == 10
    assert len(clusters(told)) == 3
    (edge,) = told["edges"]
    assert (edge["dir"], edge["constraint"], edge["label"]) == ("both", "false", "tied: 1 storage, 2 keys")
    assert (edge["tailport"], edge["headport"]) == tuple(
        end.row for end in (drawn.edges[0].tail, drawn.edges[0].head)
    )
    root = svg(dot(drawn))
    assert width(root) < 1600
    height = float(root.attrib["height"].removesuffix("pt")) * PIXELS
    assert width(root) < 3 * height < 9 * width(root)  # no strip


@needs_graphviz
def test_a_thousand_modules() -> None:
    keys = {f"layer{number}.weight": (number + 1, 7) for number in range(1000)}
    told = parsed(text_of(checkpoint({(): ("model", keys)})))
    assert len(nodes(told)) == 30
    everything = parsed(text_of(checkpoint({(): ("model", keys)}), max_nodes=1000))
    assert len(nodes(everything)) == 1000


def test_twenty_thousand_tensors() -> None:
    keys = {f"m{number % 100}.l{number}.weight": (number % 300 + 1, 7) for number in range(20_000)}
    text = text_of(checkpoint({(): ("model", keys)}))
    assert len(text) < 100_000


@needs_graphviz
def test_links_and_ids() -> None:
    drawn = picture(gpt2(), Options(link="report.html#"))
    root = svg(dot(drawn))
    ids = {each.attrib.get("id") for each in root.iter(f"{SVG}g")}
    for box in drawn.boxes():
        assert box.head.anchor in ids
        assert {row.anchor for row in box.rows} <= ids
    links = {each.attrib[LINK] for each in root.iter(f"{SVG}a") if LINK in each.attrib}
    assert links >= {f"report.html#{row.anchor}" for box in drawn.boxes() for row in box.rows}
    assert {link.rpartition("#")[0] for link in links} == {"report.html"}
    assert not [each for each in svg(text_of(gpt2())).iter() if LINK in each.attrib]


@needs_graphviz
def test_looks() -> None:
    told = parsed(text_of(fixture("lazy_half.pt")))
    labels = [each["label"] for each in nodes(told).values()]
    assert [label.count('STYLE="DOTTED"') for label in labels] == [0, 1]
    assert ">?<" in labels[1]
    found = [Finding("odd", Severity.ERROR, "this is odd", ("wte.weight",))]
    text = dot(picture(gpt2(), findings=found))
    assert text.count("error odd: this is odd") == 2  # over the box, and over the row


HOSTILE = (
    'a"b',
    "<script>alert(1)</script>",
    "</TD></TR></TABLE>>",
    "&lt;&#92;&amp;&quot;&bogus;&#0;",
    "\\N\\G\\E\\L\\n\\\\",
    '\\"]; evil [URL="javascript:alert(1)"]; x [label="',
    "line\nline\r\ttab",
    "\x00\x01\x1b[31m\x7f",
    "\u202eabc\u2066\u200b\ufeff",
    "\ud800lone\udfff",
    "block 0",
    "{a|b}",
    "]]",
    "&]",
    "-->",
    "]]>",
    "名前",
    "e\u0301🙂",
    "",
    " ",
    "x" * 65536,
    "%00 http://evil",
    "graph",
    "cluster_x",
    "legend",
)


def _named(name: str) -> Checkpoint:
    return checkpoint(
        {(): ("model", {f"{name}.weight": (2, 3), f"m.{name}": (3,), "tied.weight": (2, 3)})},
        {"tied.weight": f"{name}.weight"},
    )


@needs_graphviz
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(codec=None, exclude_characters="."), max_size=60))
def test_names_are_names(name: str) -> None:
    _is_harmless(name)


@needs_graphviz
@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_hostile_names_are_names(name: str) -> None:
    _is_harmless(name)


def _is_harmless(name: str) -> None:
    made = _named(name)
    found = [Finding("odd", Severity.WARNING, f"it is {name}", (f"{name}.weight",))]
    drawn = picture(made, Options(link="#"), findings=found)
    text = dot(drawn)
    text.encode()
    told = parsed(text)
    assert len(nodes(told)) == len(drawn.boxes())
    assert len(told["edges"]) == len(drawn.edges)
    root = svg(text)
    shown = words(root)
    visible = safe(name)
    if len(visible) <= 40 and visible.strip():
        assert " ".join(visible.split()) in [" ".join(each.split()) for each in shown]
    assert not list(root.iter(f"{SVG}script"))
    links = {each.attrib[LINK] for each in root.iter() if LINK in each.attrib}
    assert all(re.fullmatch(r"#[mts]-[0-9a-f]{16}(-own|-more|-in)?", link) for link in links)
    for export in (graphml(made), document(made)):
        export.encode()
    graph = ElementTree.fromstring(graphml(made))
    assert safe(f"m.{name}") in {
        each.text for each in graph.iter("{http://graphml.graphdrawing.org/xmlns}data")
    }


@needs_graphviz
@pytest.mark.parametrize("part", ["device", "dtype"])
@pytest.mark.parametrize("name", HOSTILE[:12], ids=lambda name: ascii(name)[:30])
def test_hostile_devices_and_dtypes(part: str, name: str) -> None:
    made = gpt2()
    if part == "device":
        for key, storage in made.storages.items():
            made.storages[key] = storage._replace(device=name)  # type: ignore[index]
    else:
        for path, tensor in made.tensors.items():
            made.tensors[path] = tensor._replace(dtype=name)  # type: ignore[index]
    drawn = picture(made, Options(color=part))  # type: ignore[arg-type]
    assert len(nodes(parsed(dot(drawn)))) == len(drawn.boxes())
    svg(dot(drawn))


def test_the_same_bytes_in_every_run() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:2]\n"
        "from ckptaudit.readers import read\n"
        "from ckptaudit.diagram.picture import picture\n"
        "from ckptaudit.diagram.dot import dot\n"
        "from ckptaudit.diagram.exports import document, graphml\n"
        "for path in sys.argv[2:]:\n"
        "    made = read(path)\n"
        "    print(dot(picture(made)), document(made), graphml(made))\n"
    )
    paths = [str(FIXTURES / name) for name in ("train_ckpt_ema.pt", "zoo.pt", "full_model_shared.pt")]
    seen = set()
    for seed in ("0", "1", "2"):
        child = subprocess.run(
            [sys.executable, "-c", code, str(ROOT), *paths],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            timeout=120,
        )
        assert child.returncode == 0, child.stderr.decode()
        seen.add(hashlib.sha256(child.stdout).hexdigest())
    assert len(seen) == 1
