"""The findings of a file with their fingerprints, those that a baseline accepted among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ckptaudit.audit import FileReport, Finding


class Entry(NamedTuple):
    """A finding, by what it is known from one run to the next, and whether a baseline accepted it."""

    finding: Finding
    fingerprint: str
    accepted: bool


def entries(file: FileReport) -> Iterator[Entry]:
    """Every finding of the file: first those that were accepted.

    Findings that read alike differ by a count. A baseline holds the first of them, so the count goes on
    after those: the new one of two does not get the fingerprint of the accepted one.
    """
    findings = (*file.accepted, *file.findings)
    for place, (finding, fingerprint) in enumerate(zip(findings, file.fingerprints(findings), strict=True)):
        yield Entry(finding, fingerprint, place < len(file.accepted))
