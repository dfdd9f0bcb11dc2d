"""A drawing as it may stand in a page: only shapes and text, and links to rows of the same page.

It was drawn from our own DOT, yet with names of an attacker's choice in it, and by a program that is not
ours. So it is taken apart, and only what is known to do nothing is put together again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from xml.etree import ElementTree

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}"

_ELEMENTS = frozenset(
    {"svg", "g", "a", "desc", "text", "tspan", "defs"}
    | {"path", "polygon", "polyline", "rect", "circle", "ellipse", "line"}
)
_ATTRIBUTES = frozenset(
    {"id", "class", "viewBox", "transform", "d", "points", "x", "y", "width", "height", "dx", "dy"}
    | {"x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "opacity", "fill", "fill-opacity", "fill-rule"}
    | {"stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-opacity"}
    | {"font-family", "font-size", "font-weight", "font-style", "text-anchor", "text-decoration"}
    | {"textLength", "lengthAdjust", "dominant-baseline"}
)
_LINK = re.compile(r"#[\w.-]+", re.ASCII)
_DEEPEST = 200  # levels of elements: clusters are drawn beside each other, so real drawings have about five
_URL = re.compile(r"url\s*\(", re.IGNORECASE)
# Graphviz titles an edge with the names of its ends, and of the rows in them where it ends at some.
_EDGE = re.compile(r".*->(?P<part>[\w-]+)(?::(?P<row>t-[0-9a-f]{16}))?(?::\w+)?", re.ASCII)


class UnsafeError(ValueError):
    """What was drawn is no SVG that can be put into a page."""


def embedded(data: bytes, link: str, prefix: str = "") -> str:
    """The drawing as an element of HTML, `prefix` before every id. Raises UnsafeError where it is none.

    An edge leads to where it ends: `link` and the anchor of that.
    """
    if b"<!ENTITY" in data:
        raise UnsafeError("it declares entities")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UnsafeError(str(error)) from None
    if root.tag != f"{_SVG}svg" or "viewBox" not in root.attrib:
        raise UnsafeError("it has no picture in it")
    # How large it is shown is for the page to say.
    root.attrib = {name: value for name, value in root.attrib.items() if name not in ("width", "height")}
    for group in root.iter(f"{_SVG}g"):
        _lead(group, link)
    return "".join(_pieces(root, prefix, 0))


def _lead(group: ElementTree.Element, link: str) -> None:
    found = _EDGE.fullmatch(group.findtext(f"{_SVG}title") or "") if group.get("class") == "edge" else None
    for anchor in group.iter(f"{_SVG}a") if found else ():
        if found and f"{_XLINK}href" not in anchor.attrib:
            anchor.set("href", link + (found["row"] or found["part"]))


def _pieces(element: ElementTree.Element, prefix: str, depth: int) -> Iterator[str]:
    tag = element.tag.removeprefix(_SVG) if isinstance(element.tag, str) else ""
    if tag not in _ELEMENTS or depth > _DEEPEST:
        return
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in _attributes(element, prefix))
    yield f"<{tag}{attributes}>"
    # Browsers show this as a hint, and not what Graphviz means by a title: the names of nodes in DOT.
    if hint := element.get(f"{_XLINK}title"):
        yield f"<title>{escape(hint)}</title>"
    yield _text(element.text)
    for child in element:
        yield from _pieces(child, prefix, depth + 1)
        yield _text(child.tail)
    yield f"</{tag}>"


def _text(text: str | None) -> str:
    return escape(text) if text and text.strip(" \t\r\n") else ""


def _attributes(element: ElementTree.Element, prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        if name in ("href", f"{_XLINK}href"):
            if _LINK.fullmatch(value):
                yield "href", value
        elif name == "id":
            yield name, prefix + value
        elif name in _ATTRIBUTES and not _URL.search(value):
            yield name, value
