"""For a person: the verdict and why, what each stage found, and where the two part."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.text import clip, grouped, safe
from ckptaudit.verify.comparison import Comparison, Output

_WIDEST = 400  # of one line


def render(found: Comparison) -> str:
    """The report as lines of text."""
    return "\n".join((*_lines(found), ""))


def _lines(found: Comparison) -> Iterator[str]:
    names = " against ".join(line(name) for name in (found.subject, found.reference) if name)
    why = f": {line(found.reason)}" if found.reason else ""
    yield f"{names}  {found.verdict}{why}" if names else f"{found.verdict}{why}"
    yield ""
    widths = [max(len(stage[column]) for stage in found.stages) for column in (0, 1)]
    for stage in found.stages:
        yield f"  {stage.name:<{widths[0]}}  {stage.verdict:<{widths[1]}}  {line(stage.detail)}".rstrip()
    if any(each.mismatched for each in found.outputs):
        yield ""
        yield from map(_output, found.outputs)
    if found.first_divergence is not None:
        yield ""
        yield f"  first divergence  {_where(found)}"
    yield ""
    yield f"  run with  {', '.join(_settings(found))}"


def _settings(found: Comparison) -> Iterator[str]:
    for name, value in found.settings.items():
        if value is not None:
            word = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
            yield f"{name.replace('_', ' ')} {line(str(word))}"


def _where(found: Comparison) -> str:
    first = found.first_divergence
    assert first is not None
    call = "" if first.call is None else f" (call {first.call})"
    return f"{line(first.module) or '(model)'}{call}: {line(first.cause)}"


def _output(each: Output) -> str:
    if each.max_abs is None or each.max_rel is None:
        told = "cannot be put into numbers"
    else:
        told = f"max |Δ| {each.max_abs:.3g}, {each.max_rel:.3g} of max |y|"
    nan = f", {grouped(each.nan)} NaN on one side only" if each.nan else ""
    return f"  {line(each.name)}  {told}, {grouped(each.mismatched)} elements differ{nan}"


def line(text: str) -> str:
    """A name or sentence on one safe line, which GitHub's runner takes for no command."""
    return safe(clip(text, _WIDEST)).replace("##[", "#\\x23[").replace("::", "\\x3a:", text.startswith("::"))
