"""Why two shapes differ: transposed, a resized head, rows appended, the same elements in another order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from ckptaudit.blueprint import Expected

Cause = Literal[
    "", "dtype", "lazy", "transposed", "permuted", "squeezed", "reshaped", "rows", "head", "resized"
]


class Mismatch(NamedTuple):
    """A key that is there, and is not as expected."""

    key: str
    expected: Expected
    found: Expected
    cause: Cause

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The sizes that differ, (expected, found), where both have as many dimensions."""
        expected, found = self.expected.shape or (), self.found.shape or ()
        if len(expected) != len(found):
            return ()
        return tuple(pair for pair in zip(expected, found, strict=True) if pair[0] != pair[1])


def explained(found: Iterable[Mismatch]) -> tuple[Mismatch, ...]:
    """The same with their causes.

    Weight and bias of one layer with more or fewer rows are a resized head; not where the same size has
    changed inside of others too, which is another width throughout. What is in one layer with a tensor of
    another width follows it, and a vector follows any tensor where the same size has changed.
    """
    rows = [each._replace(cause=_cause(each.expected.shape, each.found.shape)) for each in found]
    inner = {pair for row in rows for pair in _inner(row)}
    resized = [row for row in rows if row.cause == "resized"]
    owners = {row.key.rpartition(".")[0] for row in resized}
    wide = inner.union(*(row.sizes for row in resized))
    weights, biases = (
        {
            row.key.rpartition(".")[0]
            for row in rows
            if row.cause == "rows" and len(row.found.shape or ()) in dims
        }
        for dims in (range(2, 9), (1,))
    )
    return tuple(
        row._replace(
            cause=_of_rows(row, wide if len(row.found.shape or ()) == 1 else inner, owners, weights & biases)
        )
        for row in rows
    )


def _inner(row: Mismatch) -> set[tuple[int, int]]:
    expected, found = row.expected.shape or (), row.found.shape or ()
    if len(expected) != len(found):
        return set()
    return {pair for pair in zip(expected[1:], found[1:], strict=True) if pair[0] != pair[1]}


def _of_rows(row: Mismatch, inner: set[tuple[int, int]], resized: set[str], heads: set[str]) -> Cause:
    """The cause of a tensor, where `resized` and `heads` are the layers known to be that."""
    owner = row.key.rpartition(".")[0]
    if row.cause != "rows":
        return row.cause
    if row.sizes[0] in inner or owner in resized:
        return "resized"
    return "head" if owner in heads else "rows"


def _cause(expected: tuple[int, ...] | None, found: tuple[int, ...] | None) -> Cause:
    if expected is None or found is None:
        return "lazy"
    if len(expected) == 2 and found == expected[::-1]:
        return "transposed"
    if len(expected) == len(found) and sorted(expected) == sorted(found):
        return "permuted"
    if [size for size in expected if size != 1] == [size for size in found if size != 1]:
        return "squeezed"
    if _count(expected) == _count(found):
        return "reshaped"
    same_rest = len(expected) == len(found) and expected[1:] == found[1:]
    return "rows" if same_rest else "resized"


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
