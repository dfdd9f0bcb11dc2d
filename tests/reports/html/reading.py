"""A page taken apart the way a browser does it: elements, attributes, text, and what is in its scripts."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "input"}
SVG = {"svg", "g", "a", "path", "polygon", "polyline", "rect", "ellipse", "text", "title", "desc"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "article", "section", "footer"),
    *("h1", "h2", "h3", "h4", "p", "dl", "dt", "dd", "ul", "li", "div", "span", "bdi", "a", "code", "table"),
    *("thead", "tbody", "tr", "th", "td", "details", "summary", "figure", "label", "input", "select"),
    *("option", "button", "output", "noscript", "script"),
    *SVG,
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "scope", "type", "role"),
    *("aria-label", "aria-live", "aria-hidden", "tabindex", "autocomplete", "spellcheck", "placeholder"),
    *("value", "data-prefix", "data-do"),
}
# What can be an attribute of a shape only.
SHAPES = {
    *("viewbox", "transform", "d", "points", "x", "y", "width", "height", "rx", "ry", "cx", "cy", "fill"),
    *("stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "stroke-opacity", "text-anchor"),
    *("font-family", "font-size", "font-weight", "font-style", "text-decoration", "textlength"),
}


@dataclass
class Element:
    """One element, with the text and the elements in it."""

    tag: str
    attributes: dict[str, str | None]
    above: Element | None = None
    parts: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Its own text."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def children(self) -> list[Element]:
        """The elements right in it."""
        return [part for part in self.parts if isinstance(part, Element)]

    def whole(self) -> str:
        """All text in it, in order."""
        return "".join(part if isinstance(part, str) else part.whole() for part in self.parts)


class Page(HTMLParser):
    """Every element of a page; an AssertionError where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.others: list[str] = []  # comments and the like
        self._open: list[Element] = []
        self.feed(text)
        self.close()
        assert self._open == [], "not all elements are closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        made = Element(tag, dict(attrs), self._open[-1] if self._open else None)
        if made.above:
            made.above.parts.append(made)
        self.elements.append(made)
        if tag not in VOID:
            self._open.append(made)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].parts.append(data)

    def handle_comment(self, data: str) -> None:
        self.others.append(data)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of this tag that have these attributes."""
        wanted = attributes.items()
        return [each for each in self.elements if each.tag == tag and wanted <= each.attributes.items()]

    def of_class(self, name: str) -> list[Element]:
        """The elements of this class."""
        return [each for each in self.elements if name in (each.attributes.get("class") or "").split()]

    @property
    def trees(self) -> list[dict[str, Any]]:
        """The data of all trees."""
        return [json.loads(each.text) for each in self.all("script", type="application/json")]

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        (meta,) = self.all("meta", **{"http-equiv": "Content-Security-Policy"})
        return meta.attributes["content"] or ""


FIELDS = (
    *("parent", "kind", "name", "badge", "detail", "shape", "dtype", "device", "note", "share", "size"),
    *("parameters", "bytes", "anchor"),
)
WORDS = {"badge", "detail", "shape", "dtype", "device", "note", "share", "size"}


def rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a tree, as the script reads them."""
    named = [dict(zip(FIELDS, row, strict=True)) for row in data["rows"]]
    return [
        {name: data["words"][value] if name in WORDS else value for name, value in row.items()}
        for row in named
    ]


def assert_inert(text: str) -> Page:
    """The page, of which nothing but its own script can run, and which loads nothing."""
    assert text.isascii()
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    page = Page(text)
    assert page.others == []
    for element in page.elements:
        assert element.tag in TAGS, element.tag
        allowed = ATTRIBUTES | SHAPES if element.tag in SVG else ATTRIBUTES
        assert element.attributes.keys() <= allowed, element
        assert (element.attributes.get("href") or "#").startswith("#"), element
    scripts = [each for each in page.all("script") if "type" not in each.attributes]
    assert (len(scripts), len(page.all("style"))) == (1, 1)
    assert page.policy.split("; ") == [
        "default-src 'none'",
        f"style-src '{_digest(page.all('style')[0].text)}'",
        f"script-src '{_digest(scripts[0].text)}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    _assert_linked(page)
    return page


def _digest(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _assert_linked(page: Page) -> None:
    """Every id is there once, and every link leads to one, or to a row that the script draws."""
    ids = [each.attributes["id"] for each in page.elements if "id" in each.attributes]
    assert len(set(ids)) == len(ids)
    trees = page.of_class("tree")
    prefixes = [each.attributes["data-prefix"] for each in trees if "data-prefix" in each.attributes]
    anchors = {
        f"row-{prefix}{row['anchor']}"
        for prefix, data in zip(prefixes, page.trees, strict=True)
        for row in rows(data)
    }
    for link in page.all("a"):
        target = (link.attributes.get("href") or "#")[1:]
        in_drawing = any(target.startswith(f"row-{prefix}") for prefix in prefixes) and _is_drawn(link)
        assert target in ids or target in anchors or in_drawing or not target, target


def _is_drawn(element: Element) -> bool:
    above: Element | None = element
    while above is not None:
        if above.tag == "svg":
            return True
        above = above.above
    return False
