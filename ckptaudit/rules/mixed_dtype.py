"""The rule `mixed-dtype`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, note, rule
from ckptaudit.model import Checkpoint, TensorMeta
from ckptaudit.summary import Held, roles
from ckptaudit.text import dotted, plural, some

_FLOATS = ("float", "bfloat")


@rule("structure")
def mixed_dtype(checkpoint: Checkpoint, held: Held) -> Iterator[Finding]:
    """Parameters of one model have several floating-point types.

    ## What it finds
    A state dict of a model whose floating-point tensors are not all of one dtype: which is the rule in
    it, and which are the exceptions. Integers, such as `num_batches_tracked`, do not count.

    ## Why it matters
    A layer that was left in half precision, or in full, fails at its first multiplication with the
    others, or doubles the memory. Some models keep norms in float32 on purpose.

    ## Example
    `146 tensors are bfloat16, 2 are float32: ln_f.weight, ln_f.bias`.

    ## What to do
    Convert before saving (`model.half()`), or leave the rule out for this file where it is meant so.
    """
    known = roles(checkpoint)
    for root, rows in held.items():
        groups: dict[str, list[TensorMeta]] = {}
        for row in rows if known.get(root) in ("model", "ema") else ():
            if row.dtype.startswith(_FLOATS):
                groups.setdefault(row.dtype, []).append(row)
        if len(groups) > 1:
            yield _finding(root, groups)


def _finding(root: tuple[str | int, ...] | None, groups: dict[str, list[TensorMeta]]) -> Finding:
    most, *others = sorted(groups.values(), key=len, reverse=True)
    odd = [row.key for rows in others for row in rows]
    rest = ", ".join(f"{len(rows):,} {'is' if len(rows) == 1 else 'are'} {rows[0].dtype}" for rows in others)
    where = f"{dotted(root)}: " if root else ""
    return note(
        f"{where}{plural(len(most), 'tensor')} of {most[0].dtype}, {rest}: {some(odd)}",
        odd,
        data={"dtypes": {name: len(rows) for name, rows in groups.items()}},
    )
