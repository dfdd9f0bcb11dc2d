"""The rule `shape-mismatch`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, error, rule
from ckptaudit.match import Match, Mismatch
from ckptaudit.text import grouped, plural, shape, some

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
    order, a head with another number of outputs, rows appended to an embedding, one size changed
    throughout.

    ## Why it matters
    `load_state_dict` fails, with `strict=False` too. Shapes that differ by a transposition load where the
    matrix is square, and compute something else.

    ## Example
    `head.weight, head.bias: 10 outputs instead of 1,000, a resized head`.

    ## What to do
    That depends on the cause, which the finding names. One cause is one finding, however many tensors it
    meets.
    """
    causes: dict[object, list[Mismatch]] = {}
    for each in match.mismatched:
        owner = each.key.rpartition(".")[0] if each.cause in ("head", "rows") else ""
        kind = each.cause if each.cause != "resized" else tuple(sorted(set(each.sizes)))
        causes.setdefault((owner, kind), []).append(each)
    for group in causes.values():
        yield error(
            f"{_shown(group)}: {_told(group)}",
            [each.key for each in group],
            data={"cause": group[0].cause, "tensors": [_row(each) for each in group[:100]]},
            fix=_FIXES.get(group[0].cause),
        )


def _told(group: list[Mismatch]) -> str:
    first = group[0]
    if first.cause in ("head", "rows"):
        (wanted, found), *_ = first.sizes
        if first.cause == "head":
            return f"{grouped(found)} outputs instead of {grouped(wanted)}, a resized head"
        more = found > wanted
        rows = plural(abs(found - wanted), "row")
        return f"{rows} {'more than expected, appended' if more else 'fewer than expected'}"
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
