"""What the reports for people say in the same words: counts, coverage, and what was not looked at.

All of it is safe to print on one line; a format that has markup of its own escapes it once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from ckptaudit.audit import GROUPS, Coverage, Report, Rule, Severity
from ckptaudit.text import clip, grouped, listing, percent, plural, safe, size, some

_REASONS = 8  # that are told one by one
_WIDEST = 200  # of a reason or the name of a state dict


def line(text: str) -> str:
    """`text` on one safe line, which GitHub's runner takes for no command.

    It looks for `::command::` at the start of a line of a log, and for `##[command]` anywhere in one
    (actions/runner, src/Runner.Common/ActionCommand.cs).
    """
    text = safe(text).replace("##[", "#\\x23[")
    return text.replace("::", "\\x3a:", 1) if text.lstrip().startswith("::") else text


def tally(errors: int, warnings: int, notes: int) -> str:
    """1 error, 0 warnings, 1 note."""
    return ", ".join((plural(errors, "error"), plural(warnings, "warning"), plural(notes, "note")))


def counts(report: Report) -> str:
    """1 error, 0 warnings, 1 note in 3 files."""
    found = tally(*(report.count(severity) for severity in sorted(Severity, reverse=True)))
    return f"{found} in {plural(len(report.files), 'file')}"


def summary(report: Report) -> Iterator[str]:
    """The last lines of a report: what was found, in what, and what was not looked at."""
    accepted = sum(len(file.accepted) for file in report.files)
    unaudited = len(report.not_audited)
    facts = (
        f"{counts(report)} ({report.seconds:.2f} s).",
        f"{grouped(accepted)} accepted by the baseline." if accepted else "",
    )
    yield " ".join(fact for fact in facts if fact)
    if unaudited:
        names = [line(clip(file.path, _WIDEST)) for file in report.not_audited]
        yield f"{plural(unaudited, 'file')} not audited: {some(names)}."
    yield from _picked(report)
    yield not_looked_at(report)


def _picked(report: Report) -> Iterator[str]:
    files = Counter(file.picked for file in report.files if file.picked is not None)
    names = [
        f"{line(clip(name, _WIDEST)) or 'the saved object'} in {plural(number, 'file')}"
        for name, number in files.items()
    ]
    if names:
        yield f"Picked of several state dicts: {listing(names)} (PATH::NAME picks another)."


def coverage(found: Coverage) -> str:
    """covers 98.2 % of the parameters of REF (124,123 of 126,000; 472.1 of 480.0 KiB), 148 of 150 tensors."""
    held, whole = size(found.nbytes), size(found.of_nbytes)
    if not found.of_tensors:
        return f"covers nothing of {line(found.reference)}, which has no tensors"
    unit = whole.rpartition(" ")[2]
    numbers = f"{grouped(found.parameters)} of {grouped(found.of_parameters)}"
    weights = f"{held.removesuffix(f' {unit}')} of {whole}"
    return (
        f"covers {percent(found.parameters, found.of_parameters)} of the parameters of "
        f"{line(found.reference)} ({numbers}; {weights}), "
        f"{grouped(found.tensors)} of {plural(found.of_tensors, 'tensor')}"
    )


def not_looked_at(report: Report) -> str:
    """Silence is not a pass: rules that were skipped, and why, those left out, and groups without rules."""
    things = ", ".join((*_skipped(report), *_without_rules(report), *_left_out(report)))
    return f"Not looked at: {things or 'nothing that there is a rule for'}."


def skips(report: Report) -> Counter[tuple[str, str]]:
    """In how many files each rule was skipped, by (rule, reason)."""
    return Counter(skip for file in report.files for skip in file.skipped.items())


def share(number: int, report: Report) -> str:
    """in 3 of 10 files; nothing where that is all of them."""
    whole = len(report.files)
    return "" if number == whole else f"in {grouped(number)} of {plural(whole, 'file')}"


def _skipped(report: Report) -> Iterator[str]:
    alike: dict[tuple[str, int], set[str]] = {}
    for (rule, reason), files in skips(report).items():
        alike.setdefault((reason, files), set()).add(rule)
    for (reason, files), rules in islice(alike.items(), _REASONS):
        why = ", ".join(filter(None, (line(clip(reason, _WIDEST)), share(files, report))))
        yield f"{_named(rules, report.rules)} ({why})"
    if len(alike) > _REASONS:
        more = plural(len(alike) - _REASONS, "more reason")
        yield f"and what {more} kept from being looked at (--format json has them all)"


def _without_rules(report: Report) -> Iterator[str]:
    known = {rule.group for rule in (*report.rules, *report.left_out)}
    for group in GROUPS:
        if group not in known:
            yield f"{group} (no rule reads them yet)"


def _left_out(report: Report) -> Iterator[str]:
    if report.left_out:
        names = {rule.name for rule in report.left_out}
        yield f"rules left out by --select/--ignore: {_named(names, (*report.rules, *report.left_out))}"


def _named(names: Collection[str], rules: Iterable[Rule]) -> str:
    """These of the rules, by group and in order; the group where it is most of its rules."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for rule in rules:
        groups[rule.group].append(rule.name)
    told: list[str] = []
    for group, members in groups.items():
        held = [name for name in members if name in names]
        others = [name for name in members if name not in names]
        if held and len(others) * 4 <= len(members):
            told.append(f"{group} but for {' and '.join(others)}" if others else group)
        else:
            told += held
    return ", ".join(told)
