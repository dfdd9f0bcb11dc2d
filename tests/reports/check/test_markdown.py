from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ckptaudit.audit import Report, Severity, error, note, warning
from ckptaudit.reports.check.markdown import LIMIT, render
from ckptaudit.reports.check.markup import prose
from ckptaudit.reports.check.wording import line
from tests.reports.check.made import HOSTILE, SAMPLES, file, found, hostile, many, plain, report

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = re.compile(r"</?code>|(?:<details><summary>\d+ names</summary>|</details>)\n?")
# What GitHub makes a link or a picture of in text that Markdown leaves as it is: mentions, issues, commits,
# addresses, short codes of emoji.
LIVE = re.compile(r"@|#|://|www\.\w|\b[0-9a-f]{7,40}\b|\b[A-Z]+-\d|:\w+:|<|&", re.ASCII | re.IGNORECASE)


def tokens(page: str) -> Iterator[Token]:
    for token in PARSER.parse(page):
        yield token
        yield from token.children or ()


def split(page: str) -> tuple[list[str], list[str]]:
    """The texts of a page: outside of code, and in it."""
    outside: list[str] = []
    inside: list[str] = []
    raw = ""
    opened = False
    for token in tokens(page):
        if token.type == "html_inline" and token.content in ("<code>", "</code>"):
            if opened:
                inside.append(raw)
            raw, opened = "", not opened
        elif token.type == "text" and opened:
            raw += token.content
        elif token.type == "text":
            outside.append(token.content)
        elif token.type == "code_inline":
            inside.append(token.content)
    assert not opened
    return outside, inside


def headings(page: str) -> list[str]:
    parsed = PARSER.parse(page)
    return [parsed[place + 1].content for place, token in enumerate(parsed) if token.type == "heading_open"]


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_in_it_is_live_but_what_is_ours(name: str) -> None:
    page = render(SAMPLES[name])
    kinds = {token.type for token in tokens(page)}
    assert kinds.isdisjoint({"link_open", "image", "fence", "code_block", "em_open", "s_open", "hr"})
    html = [token.content for token in tokens(page) if token.type in ("html_inline", "html_block")]
    assert all(OURS.fullmatch(each) for each in html)
    outside, _ = split(page)
    assert [text for text in outside if LIVE.search(text)] == []


def test_the_oracle_sees_what_is_live() -> None:
    kinds = {token.type for token in tokens("[a](b) ![c](d) *e*\n\n---\n")}
    assert kinds >= {"link_open", "image", "em_open", "hr"}
    outside, inside = split("@a `b` <code>&#64;c</code>")
    assert any(LIVE.search(text) for text in outside)
    assert inside == ["b", "@c"]
    assert not OURS.fullmatch("<script>")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_names_are_shown_as_they_are(text: str) -> None:
    _, inside = split(render(hostile(text)))
    assert not text or line(text) in inside


@pytest.mark.parametrize("name", SAMPLES)
def test_a_row_of_the_table_has_four_cells(name: str) -> None:
    parsed = PARSER.parse(render(SAMPLES[name]))
    cells = [token.type for token in parsed if token.type in ("tr_open", "td_open", "th_open")]
    rows = " ".join(cells).split("tr_open")[1:]
    assert all(len(row.split()) == 4 for row in rows)
    shown = sum(bool(file.findings) or not file.audited for file in SAMPLES[name].files)
    assert len(rows) == (shown + 1 if shown else 0)


def test_the_whole_comment() -> None:
    page = render(plain())
    assert headings(page) == [
        "ckptaudit: incomplete, 1 file not audited, 2 errors, 1 warning, 1 note in 3 files",
        "`w/a.pt`",
        "`w/c.pt`",
    ]
    assert "| `w/a.pt` | 1 | 1 | 1 |\n| `w/c.pt` (not audited) | 1 | 0 | 0 |\n" in page
    assert "Fix: `--map 'output=out'`" in page
    assert "It covers 98.5 % of the parameters of `ref.lock`" in page
    places = [page.index(f"**{name}**") for name in ("Errors", "Warnings", "Notes")]
    assert places == sorted(places)
    assert "Not looked at: odd-sum (use `--deep`, in 1 of 3 files)" in page


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (report(file()), "passed, no findings in 1 file"),
        (report(file("a", found(warning("x")))), "passed, 0 errors, 1 warning, 0 notes in 1 file"),
        (report(file("a", found(error("x")))), "failed, 1 error, 0 warnings, 0 notes in 1 file"),
    ],
)
def test_the_verdict(found: Report, verdict: str) -> None:
    assert headings(render(found))[0] == f"ckptaudit: {verdict}"


@pytest.mark.parametrize("files", [1, 40, 2000])
def test_a_long_comment_is_cut_between_findings_and_says_so(files: int) -> None:
    of = many(files, 4000 // files)
    page = render(of)
    assert len(page) < LIMIT
    shown = len(re.findall(r"^- `missing-keys`: thing", page, re.MULTILINE))
    (more,) = re.findall(r"^and ([\d,]+) more findings", page, re.MULTILINE)
    assert shown > 100
    assert shown + int(more.replace(",", "")) == sum(len(file.findings) for file in of.files)
    assert page.rstrip().splitlines()[-1].startswith("Not looked at: ")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_largest_texts_fit_too(text: str) -> None:
    huge = (text or "`|") * 5000
    finding = error(huge, (huge,) * 1000, fix=huge)
    files = (
        file(f"{huge}{place}", found(finding), skipped={"odd-sum": f"{huge}{place}"}) for place in range(20)
    )
    page = render(report(*files))
    assert len(page) < LIMIT
    assert "more findings" in page


def test_the_worst_file_comes_first() -> None:
    page = render(report(file("a", found(note("x"))), file("b", found(error("x")))))
    assert headings(page)[1:] == ["`b`", "`a`"]


def test_many_keys_are_folded() -> None:
    page = render(report(file("a", found(note("x", (f"k.{place}" for place in range(40)))))))
    assert "<details><summary>40 names</summary>" in page
    assert "`k.29` and 10 more" in " ".join(page.replace(",", "").split())
    assert "<details>" not in render(report(file("a", found(note("x", ("a", "b"))))))


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("2 keys are not in the file", "2 keys are not in the file"),
        (
            "2 keys are missing: out.weight [10, 256], out.bias [10]",
            "2 keys are missing: `out.weight [10, 256], out.bias [10]`",
        ),
        ("values (use --deep), in 1,000 files.", "values (use `--deep`), in 1,000 files."),
        ("call f(x), g_h (a_b)", "call `f(x), g_h (a_b)`"),
    ],
)
def test_sentences_stay_readable(sentence: str, shown: str) -> None:
    assert prose(sentence) == shown


def test_severities_have_headings() -> None:
    page = render(report(file("a", *(found(each("x")) for each in (error, warning, note)))))
    assert page.count("**") == 2 * len(Severity)
