"""What a page says of one checkpoint, in the order of SECTIONS.

To add a section, write a function that makes one of a part, None where there is nothing to tell, and put it
into the list. The macros of report.html.jinja draw figures, lines and tables; another body needs its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from ckptaudit.model import Checkpoint
from ckptaudit.reports.html.drawing import drawing
from ckptaudit.reports.html.findings import findings
from ckptaudit.reports.html.part import Lines, Part, Section
from ckptaudit.reports.inspect.layers import inferred
from ckptaudit.reports.inspect.notes import devices, notes
from ckptaudit.summary import Totals, overlaps, ties, totals
from ckptaudit.text import clip, grouped, listing, percent, plural, safe, short, size

_MOST = 200  # lines of one kind
_LONGEST = 2000  # characters of a line
_MILLION = 1_000_000
# Subjects of notes that have a section of their own.
_ELSEWHERE = ("problems",)


def figures(part: Part) -> Section | None:
    """What is counted: tensors, parameters, bytes, dtypes, devices, ties."""
    checkpoint = part.checkpoint
    if checkpoint is None:
        return None
    tied = ties(checkpoint)
    whole = totals(checkpoint, tied)
    shared = {tensor.storage for group in tied for tensor in group}
    files = plural(len(checkpoint.files), "file")
    rows = [
        ("tensors", grouped(whole.tensors), plural(whole.storages, "storage")),
        ("parameters", _brief(whole.parameters), _parameters(checkpoint, whole)),
        ("bytes", size(whole.bytes_storages), f"of storages; {size(checkpoint.nbytes)} in {files}"),
        ("dtype", *_dtypes(checkpoint)),
        ("device", *_devices(checkpoint)),
        ("ties", grouped(len(tied)), f"{plural(len(shared), 'storage')} with several keys" if tied else ""),
    ]
    return Section("totals", "Totals", "figures", [row for row in rows if row[1]])


def _brief(number: int) -> str:
    return short(number) if number >= _MILLION else grouped(number)


def _parameters(checkpoint: Checkpoint, whole: Totals) -> str:
    lazy = sum(tensor.shape is None for tensor in checkpoint.tensors.values())
    facts = (
        grouped(whole.parameters) if whole.parameters >= _MILLION else "",
        f"tied memory once; {_brief(whole.untied)} if untied" if whole.untied != whole.parameters else "",
        f"{grouped(lazy)} lazy, not known yet" if lazy else "",
    )
    return ", ".join(filter(None, facts))


def _dtypes(checkpoint: Checkpoint) -> tuple[str, str]:
    weights: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        weights[tensor.dtype] += tensor.nbytes
    names = [name for name, _ in weights.most_common()]
    whole = weights.total()
    if len(names) < 2 or not whole:
        return _first(names), "100 % of the bytes" if whole else ""
    return _first(names), ", ".join(f"{safe(name)} {percent(weights[name], whole)}" for name in names[:6])


def _devices(checkpoint: Checkpoint) -> tuple[str, str]:
    names = devices(checkpoint)
    told = listing([safe(name) for name in names]) if len(names) > 1 else "as the file tags them"
    return _first(names), told


def _first(names: list[str]) -> str:
    return safe(names[0]) + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else ""


def problems(part: Part) -> Section | None:
    """What kept the file, or some of it, from being read."""
    lines = [safe(clip(part.refusal, _LONGEST))] if part.refusal else []
    for problem in part.checkpoint.problems if part.checkpoint else ():
        place = f" (byte {grouped(problem.span.start)})" if problem.span else ""
        rest = ": more can be in the file than is shown" if problem.incomplete else ""
        lines.append(f"{safe(problem.code)}: {safe(clip(problem.detail, _LONGEST))}{place}{rest}")
    if not lines:
        return None
    told = [Lines("refused" if part.refusal else "", list(_some(lines)))]
    return Section("problems", "Problems", "lines", told, plural(len(lines), "problem"))


def _some(lines: list[str]) -> Iterator[str]:
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"and {grouped(len(lines) - _MOST)} more (--format json has them all)"


def tree(part: Part) -> Section | None:
    """Modules and tensors."""
    if part.checkpoint is None:
        return None
    if part.tree is None:
        told = "Left out: a page on this many tensors would not open. `ckptaudit inspect` shows it."
        return Section("tree", "Tree", "lines", [Lines("", [told])])
    if not part.tree.size:
        return Section("tree", "Tree", "lines", [Lines("", ["There is no tensor and no module to show."])])
    return Section("tree", "Tree", "tree", part.tree.data, plural(part.tree.size, "row"))


def known(part: Part) -> Section | None:
    """What is sure, what is not, and what else the file holds."""
    checkpoint = part.checkpoint
    if checkpoint is None:
        return None
    tied = ties(checkpoint)
    told = notes(
        checkpoint,
        part.chosen,
        totals(checkpoint, tied),
        tied,
        overlaps(checkpoint),
        inferred(checkpoint, part.chosen),
    )
    groups = [group for group in _by_subject(told) if group.subject not in _ELSEWHERE]
    return Section("known", "What is known, and what is not", "lines", groups) if groups else None


def _by_subject(told: Iterable[tuple[str, str]]) -> list[Lines]:
    groups: list[Lines] = []
    for subject, line in told:
        if subject or not groups:
            groups.append(Lines(subject, []))
        groups[-1].lines.append(line)
    return groups


def unseen(part: Part) -> Section:
    """Silence is not a pass: what was not looked at, and why."""
    if part.report is None:
        lines = [
            Lines("rules", ["none was run (ckptaudit check PATH)"]),
            Lines("values", ["only headers were read: of no tensor is any value known"]),
        ]
        return Section("unseen", "Not looked at", "lines", lines)
    reasons: dict[str, list[str]] = {}
    for rule, reason in part.report.skipped.items():
        reasons.setdefault(safe(clip(reason, _LONGEST)), []).append(safe(rule))
    rows = [(", ".join(rules), reason) for reason, rules in reasons.items()]
    if not rows:
        told = "Every rule that was chosen has looked at this file."
        return Section("unseen", "Not looked at", "lines", [Lines("", [told])])
    return Section("unseen", "Not looked at", "table", (("rules", "because"), rows))


SECTIONS: tuple[Callable[[Part], Section | None], ...] = (
    figures,
    findings,
    problems,
    tree,
    drawing,
    known,
    unseen,
)


def sections(part: Part) -> list[Section]:
    """Everything that there is to tell of one part."""
    return [section for section in (make(part) for make in SECTIONS) if section is not None]
