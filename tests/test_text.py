from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptaudit import text

# Any text that can come out of a file: lone surrogates too.
ANY = st.text(st.characters(codec=None))


@given(ANY)
def test_safe_leaves_nothing_that_acts_or_hides(name: str) -> None:
    acting = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not acting & {unicodedata.category(char) for char in text.safe(name)}


@pytest.mark.parametrize("name", ["h.0.attn", "block 0.weight", "größe", "层.weight", ""])
def test_safe_keeps_what_is_plain(name: str) -> None:
    assert text.safe(name) == name


def test_safe_shows_what_was_there() -> None:
    assert text.safe("a\x1b[31m\n\u202e\ud800\U000e0001") == r"a\x1b[31m\x0a\u202e\ud800\U000e0001"


@given(ANY)
def test_encodable_can_be_written(name: str) -> None:
    for encoding in ("ascii", "latin-1", "utf-8"):
        text.encodable(f"├─ {name}", encoding).encode(encoding)


def test_drawing_keeps_its_columns_in_ascii() -> None:
    drawn = "│  ├─ h ×12 └─ ██▊ · → ≠ …"
    assert len(text.encodable(drawn, "ascii")) == len(drawn)


@pytest.mark.parametrize(
    ("nbytes", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (34041, "33.2 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (2**30, "1.0 GiB"),
    ],
)
def test_size(nbytes: int, words: str) -> None:
    assert text.size(nbytes) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(999, "999"), (124_439_808, "124.4 M"), (999_960, "1.0 M"), (7_000_000_000, "7.0 B")],
)
def test_short(number: int, words: str) -> None:
    assert text.short(number) == words


@pytest.mark.parametrize(
    ("part", "words"), [(0, "0.0 %"), (1, "< 0.1 %"), (99_999, "99.9 %"), (100_000, "100 %")]
)
def test_percent_is_honest_at_its_ends(part: int, words: str) -> None:
    assert text.percent(part, 100_000) == words


@pytest.mark.parametrize("show", [text.integer, text.grouped, text.short, text.size])
def test_numbers_of_thousands_of_digits(show: object) -> None:
    # Python's own str() raises ValueError for these.
    assert callable(show)
    assert show(1 << 20_000).startswith("0x1000")


def test_natural_order() -> None:
    assert sorted(["h.10", "h.2", "h.a", "h.1"], key=text.natural) == ["h.1", "h.2", "h.10", "h.a"]


def test_ranges() -> None:
    assert text.ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


def test_values_are_short_whatever_they_hold() -> None:
    shared: list[object] = ["x" * 1000]
    for _ in range(40):  # 2**40 leaves when written out
        shared = [shared, shared]
    assert len(text.value(shared)) <= 80
    assert text.value({"a": (1, b"abc"), "b": None}) == "{'a': (1, 3 bytes), 'b': None}"
