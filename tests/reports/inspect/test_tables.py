from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptaudit.reports.inspect import csv as csv_report
from ckptaudit.reports.inspect import markdown
from ckptaudit.reports.inspect.selection import ALL, Selection
from ckptaudit.reports.inspect.table import COLUMNS
from ckptaudit.reports.markup import span
from tests.handmade import MLP, checkpoint, training

ANY = st.text(st.characters(codec=None))


def rows(selection: Selection = ALL, keys: dict[str, tuple[int, ...]] | None = None) -> list[dict[str, str]]:
    out = io.StringIO()
    csv_report.write(checkpoint({(): ("model", keys or MLP)}), out, selection)
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))


def test_csv_tells_every_column_of_every_tensor() -> None:
    out = io.StringIO()
    csv_report.write(training(), out)
    table = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert len(table) == 12
    assert table[4] == {
        "path": "model_ema.hidden.weight",
        "key": "hidden.weight",
        "dtype": "float32",
        "shape": "[256, 20]",
        "stride": "[20, 1]",
        "offset": "0",
        "storage": "4",
        "device": "cpu",
        "kind": "tensor",
        "requires_grad": "",
        "layout": "strided",
        "subclass": "",
        "nbytes": "20480",
        "state_dict": "model_ema",
    }


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        (Selection(include=("hidden.*",)), ["hidden.weight", "hidden.bias"]),
        (Selection(exclude=("*.bias",)), ["hidden.weight", "output.weight"]),
        (Selection(("*.bias",), ("o*",)), ["hidden.bias"]),
        (Selection(order="size"), ["hidden.weight", "output.weight", "hidden.bias", "output.bias"]),
        (Selection(order="name"), ["hidden.bias", "hidden.weight", "output.bias", "output.weight"]),
        (Selection(order="file"), list(MLP)),
        (Selection(include=("*.WEIGHT",)), []),
    ],
)
def test_selection_and_order(selection: Selection, keys: list[str]) -> None:
    assert [row["key"] for row in rows(selection)] == keys


def test_names_sort_as_people_count() -> None:
    found = rows(Selection(order="name"), {"h.10": (1,), "h.9": (1,)})
    assert [row["key"] for row in found] == ["h.9", "h.10"]


@given(ANY)
def test_no_cell_of_csv_is_a_formula_or_a_second_line(name: str) -> None:
    (row,) = rows(keys={name: (2,)})
    for cell in row.values():
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.isprintable()


def test_a_formula_keeps_its_text() -> None:
    (row,) = rows(keys={"=HYPERLINK(0)": (2,)})
    assert row["key"] == "'=HYPERLINK(0)"


@given(ANY)
def test_every_markdown_row_has_its_cells_and_nothing_else(name: str) -> None:
    out = io.StringIO()
    markdown.write(checkpoint({(): ("model", {name: (2,)})}), out)
    heading, rule, row = out.getvalue().splitlines()
    assert heading.count("|") == rule.count("|") == row.count("|") == len(COLUMNS) + 1
    # What GitHub would act on stands in code only: take the code spans away, and no name is left.
    outside = re.sub(r"`[^`]*`|<code>[^<]*</code>", "", row)
    assert set(outside) <= {"|", " "}


@pytest.mark.parametrize(
    ("name", "cell"),
    [("h.0.weight", "`h.0.weight`"), ("@octocat", "`@octocat`"), ("a|b", "<code>a&#124;b</code>"), ("", "")],
)
def test_markdown_cells(name: str, cell: str) -> None:
    assert span(name) == cell
