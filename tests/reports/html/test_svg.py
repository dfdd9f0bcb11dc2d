"""Drawings are put into a page without anything that could run or load."""

from __future__ import annotations

import pytest

from ckptaudit.reports.html.svg import UnsafeError, embedded

START = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 1 1"'


def put(inside: str, more: str = "", prefix: str = "") -> str:
    text = embedded(f"{START}{more}>{inside}</svg>".encode(), "#row-", prefix)
    assert text.startswith('<svg viewBox="0 0 1 1">')
    assert text.endswith("</svg>")
    return text.removeprefix('<svg viewBox="0 0 1 1">').removesuffix("</svg>")


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<script href="data:,alert(1)"/>',
        "<style>*{fill:red}</style>",
        "<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>x</p></foreignObject>",
        '<image href="http://evil.example/x.png"/>',
        '<use href="#x"/>',
        '<animate attributeName="href" to="javascript:alert(1)"/>',
        '<set attributeName="onclick" to="alert(1)"/>',
        '<iframe xmlns="http://www.w3.org/1999/xhtml" src="x"/>',
        "<!-- x -->",
        "<?xml-stylesheet href='http://evil.example/x.css'?>",
    ],
)
def test_what_is_left_out_whole(inside: str) -> None:
    assert put(inside) == ""


@pytest.mark.parametrize(
    ("inside", "left"),
    [
        ('<a xlink:href="javascript:alert(1)"><text>x</text></a>', "<a><text>x</text></a>"),
        ('<a href="http://evil.example#x"/>', "<a></a>"),
        ('<a href="#x y"/>', "<a></a>"),
        ('<a xlink:href="#row-t-1"/>', '<a href="#row-t-1"></a>'),
        ('<g onclick="alert(1)" onload="x" style="fill:red"/>', "<g></g>"),
        ('<path d="M0 0" fill="url(http://evil.example)"/>', '<path d="M0 0"></path>'),
        ('<path d="M0 0" fill="URL (#x)"/>', '<path d="M0 0"></path>'),
        (
            '<text x="1">a &lt;b&gt; &amp;amp; "c"</text>',
            '<text x="1">a &lt;b&gt; &amp;amp; &quot;c&quot;</text>',
        ),
        ('<g id="a&quot;b"/>', '<g id="a&quot;b"></g>'),
        ("<title>node1</title>", ""),
        ('<a xlink:title="a &lt;b>"/>', "<a><title>a &lt;b&gt;</title></a>"),
    ],
)
def test_what_is_left_of_the_rest(inside: str, left: str) -> None:
    assert put(inside) == left


def test_ids_get_the_prefix_of_the_part() -> None:
    assert put('<g id="t-1"/>', prefix="f2-") == '<g id="f2-t-1"></g>'


def test_its_size_is_for_the_page_to_say() -> None:
    assert put("", ' width="100pt" height="3pt"') == ""


@pytest.mark.parametrize(
    ("title", "link"),
    [
        ("m-1:t-0123456789abcdef->m-2:t-fedcba9876543210:w", "#row-t-fedcba9876543210"),
        ("m-1->m-2", "#row-m-2"),
        ("m-1->m-2-own", "#row-m-2-own"),
    ],
)
def test_an_edge_leads_to_its_end(title: str, link: str) -> None:
    inside = f'<g class="edge"><title>{title.replace(">", "&gt;")}</title><a xlink:title="tied"/></g>'
    assert put(inside) == f'<g class="edge"><a href="{link}"><title>tied</title></a></g>'


def test_an_edge_that_leads_elsewhere_is_left_alone() -> None:
    inside = '<g class="edge"><title>a-&gt;b</title><a xlink:href="#row-x"/></g>'
    assert put(inside) == '<g class="edge"><a href="#row-x"></a></g>'


def test_depth_is_limited() -> None:
    assert put("<g>" * 1000 + "</g>" * 1000).count("<g>") < 300


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg",
        b"<svg/>",
        b'<html xmlns="http://www.w3.org/2000/svg"/>',
        b"\xff\xfe",
        b'<!DOCTYPE svg [<!ENTITY a "b">]>' + START.encode() + b">&a;</svg>",
        b'<?xml version="1.0" encoding="nonsense"?>' + START.encode() + b"/>",
    ],
)
def test_what_is_no_drawing(data: bytes) -> None:
    with pytest.raises(UnsafeError):
        embedded(data, "#")
