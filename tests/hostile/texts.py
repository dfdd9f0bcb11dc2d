"""Names that try to break whatever prints them."""

from __future__ import annotations

import json

from tests.hostile import assemble as a
from tests.hostile.case import Case, raw
from tests.hostile.containers import Entry, safetensors_bytes, torch_zip, torch_zip_bytes

NAMES = {
    "ANSI colour": "\x1b[31mred\x1b[0m",
    "terminal title": "\x1b]0;owned\x07",
    "carriage return": "good.weight\rbad.weight",
    "newlines": "a\n::error::injected\n",
    "bidi override": "weight\u202egpj.exe",
    "zero width": "wei\u200bght",
    "NUL": "a\0b",
    "C1 control": "a\x9b31mb",
    "lone surrogate": "a\ud800b",
    "line separator": "a\u2028b",
    "DOT": 'a"];evil[label="',
    "HTML": "<script>alert(1)</script>",
    "Markdown": "[click](javascript:alert(1)) | x `",
    "rich markup": "[bold red]x[/bold red][link=http://x]",
    "empty": "",
    "dots": "...",
    "not a character": "\uffff",
    "beyond the plane": "\U0010ffff",
    "format": "%s{0}{x!r}",
}


def _zip_named(name: str) -> Case:
    weird = a.text(name)
    module = b"\x80\x04" + weird + a.text("x\x1b[31m") + a.STACK_GLOBAL
    metadata = a.items(a.text("_metadata"), a.items(weird, a.items(a.text("version"), a.number(1))))
    body = (
        a.call(a.name("collections", "OrderedDict"))
        + a.MARK
        + weird
        + a.tensor()
        + a.text("extra\x07")
        + weird
    )
    body += a.text("cls") + module + a.SETITEMS + metadata + a.BUILD
    return Case(f"torch zip: {name!r}", "text", torch_zip(a.whole(body)))


def _safetensors_named(name: str) -> Case:
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    header = json.dumps({name: entry, "__metadata__": {name: name}})
    return Case(f"safetensors: {name!r}", "text", raw(safetensors_bytes(header.encode(), bytes(16))))


_MEMBERS = (
    Case("member names with escapes", "text",
         raw(torch_zip_bytes(a.whole(a.NONE), Entry("a/\x1b[31m\n\u202e", b"x"), Entry("a/../\x1b]0;x\x07",
         b"y")))),
    Case("member names that are no UTF-8", "text",
         raw(torch_zip_bytes(a.whole(a.NONE), Entry("a/\udcff\udc80", b"x"), Entry("/\udcff", b"x")))),
    Case("root folder with escapes", "text",
         raw(torch_zip_bytes(a.whole(a.NONE)).replace(b"a/", b"\x1b/"))),
    Case("version with escapes", "text",
         raw(torch_zip_bytes(a.whole(a.NONE)).replace(b"3\n", b"\x1b\n"))),
    Case("persistent id with escapes", "text",
         torch_zip(a.whole(a.items(a.text("w"), a.tensor(a.storage("\x1b[2J", device="\x1b[31m")))))),
)  # fmt: skip

CASES = (*map(_zip_named, NAMES.values()), *map(_safetensors_named, NAMES.values()), *_MEMBERS)
