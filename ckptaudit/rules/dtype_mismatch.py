"""The rule `dtype-mismatch`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.match import Match, Mismatch
from ckptaudit.text import plural, some


@rule("keys")
def dtype_mismatch(match: Match) -> Iterator[Finding]:
    """Tensors have another dtype than the model expects.

    ## What it finds
    With `--against`, keys whose shapes fit and whose dtypes differ, told once for each pair of dtypes.

    ## Why it matters
    `load_state_dict` converts without a word: precision is lost, or memory doubles. Only `assign=True`
    keeps the dtype of the file.

    ## Example
    `148 tensors are float16, expected float32: wte.weight, …`.

    ## What to do
    Save in the dtype that is wanted, or set the model to that of the file before loading.
    """
    pairs: dict[tuple[str, str], list[Mismatch]] = {}
    for each in match.dtypes:
        pairs.setdefault((each.found.dtype, each.expected.dtype), []).append(each)
    for (found, wanted), group in pairs.items():
        keys = [each.key for each in group]
        verb = "is" if len(keys) == 1 else "are"
        yield warning(
            f"{plural(len(keys), 'tensor')} {verb} {found}, expected {wanted}: {some(keys)}",
            keys,
            data={"found": found, "expected": wanted},
        )
