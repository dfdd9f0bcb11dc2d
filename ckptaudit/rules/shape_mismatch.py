"""The rule `shape-mismatch`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptaudit.audit import Finding, error, rule
from ckptaudit.match import Match, Mismatch
from ckptaudit.text import grouped, plural, shape, some

Size = tuple[int, int]  # expected and found

_SHOWN = 4
_WORDS = {
    "lazy": "not initialized in the file: it holds no values",
    "transposed": "transposed",
    "permuted": "the same sizes in another order",
    "squeezed": "the same but for dimensions of size 1",
    "reshaped": "as many elements in another shape",
}
_FIXES = {
    "transposed": "load tensor.T: one side keeps (in, out), the other (out, in)",
    "squeezed": "load tensor.reshape(...): no value changes place",
    "head": "load with this layer left out, and train it anew",
    "rows": "resize the layer before loading, or load the rows that both have",
    "lazy": "run the model once before saving it",
}


@rule("keys")
def shape_mismatch(match: Match) -> Iterator[Finding]:
    """Tensors have other shapes than the model expects.

    ## What it finds
    With `--against`, keys that both know in different shapes, and why: transposed, dimensions in another
    order, a head with another number of outputs, an embedding with more or fewer rows, one size changed
    throughout. Whether more rows were appended, or put elsewhere, only their values can tell.

    ## Why it matters
    `load_state_dict` fails, with `strict=False` too. Shapes that differ by a transposition load where the
    matrix is square, and compute something else.

    ## Example
    `head.weight, head.bias: 10 outputs instead of 1,000, a resized head`.

    ## What to do
    That depends on the cause, which the finding names. One cause is one finding, however many tensors it
    meets.
    """
    for group in _causes(match):
        yield error(
            f"{_shown(group)}: {_told(group)}",
            [each.key for each in group],
            data={"cause": group[0].cause, "tensors": [_row(each) for each in group[:100]]},
            fix=_FIXES.get(group[0].cause),
        )


def _causes(match: Match) -> Iterable[list[Mismatch]]:
    """The mismatches by what brought them about; tied keys are one tensor, and have one cause."""
    tied = {key: group[0] for group in match.blueprint.ties for key in group}
    widths = _widths(match.mismatched)
    causes: dict[object, list[Mismatch]] = {}
    for each in match.mismatched:
        kind: object = each.cause
        if each.cause in ("head", "rows"):
            kind = each.cause, tied.get(each.key, each.key).rpartition(".")[0]
        elif each.cause == "resized":
            kind = each.cause, widths[each.sizes[0]] if each.sizes else None
        causes.setdefault(kind, []).append(each)
    return causes.values()


def _widths(mismatched: Iterable[Mismatch]) -> dict[Size, int]:
    """For each size that changed the number of its change: sizes that change in one tensor are one change."""
    change: dict[Size, int] = {}
    members: dict[int, list[Size]] = {}
    for number, sizes in enumerate({each.sizes: None for each in mismatched if each.cause == "resized"}):
        known = {change[pair] for pair in sizes if pair in change}
        members[number] = [pair for pair in sizes if pair not in change]
        # The smaller change joins the larger, so that no size moves often.
        target = max((number, *known), key=lambda each: len(members[each]))
        for source in {number, *known} - {target}:
            change.update(dict.fromkeys(members[source], target))
            members[target] += members.pop(source)
        change.update(dict.fromkeys(sizes, target))
    return change


def _told(group: list[Mismatch]) -> str:
    first = group[0]
    if first.cause in ("head", "rows"):
        (wanted, found), *_ = first.sizes
        if first.cause == "head":
            return f"{grouped(found)} outputs instead of {grouped(wanted)}, a resized head"
        more = found > wanted
        rows = plural(abs(found - wanted), "row")
        if len(first.found.shape or ()) == 1:
            return f"{grouped(found)} elements instead of {grouped(wanted)}"
        return f"{rows} {'more than expected (appended?)' if more else 'fewer than expected'}"
    if first.cause == "resized":
        sizes = sorted({pair for each in group for pair in each.sizes})
        told = ", ".join(f"{grouped(found)} instead of {grouped(wanted)}" for wanted, found in sizes[:_SHOWN])
        return told or "another number of dimensions"
    return _WORDS[first.cause]


def _shown(group: list[Mismatch]) -> str:
    rows = [f"{each.key} {shape(each.found.shape)} for {shape(each.expected.shape)}" for each in group]
    return some(rows, _SHOWN)


def _row(each: Mismatch) -> dict[str, object]:
    return {
        "key": each.key,
        "expected": None if each.expected.shape is None else list(each.expected.shape),
        "found": None if each.found.shape is None else list(each.found.shape),
    }
