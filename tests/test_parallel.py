"""Files divided among processes: the same reports in the same order, and no file lost with a process."""

from __future__ import annotations

import os

import pytest

from ckptaudit import parallel
from ckptaudit.audit import FileReport, note

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
COUNT = parallel.LEAST + 37


def _report(index: int) -> FileReport:
    return FileReport(f"{index} in {os.getpid()}", None, True, (note("found", [str(index)]),))


def test_reports_come_in_order_from_other_processes() -> None:
    found = list(parallel.each(_report, COUNT, 2))
    assert [report.findings[0].keys for report in found] == [(str(index),) for index in range(COUNT)]
    pids = {report.path.partition(" in ")[2] for report in found}
    assert str(os.getpid()) not in pids


@pytest.mark.parametrize(("count", "jobs"), [(parallel.LEAST - 1, 2), (COUNT, 1)])
def test_few_files_or_one_job_need_no_process(count: int, jobs: int) -> None:
    pids = {report.path.partition(" in ")[2] for report in parallel.each(_report, count, jobs)}
    assert pids == {str(os.getpid())}


def test_a_process_that_dies_takes_no_file_along() -> None:
    here = os.getpid()

    def work(index: int) -> FileReport:
        if index == COUNT - 5 and os.getpid() != here:
            os._exit(1)
        return _report(index)

    found = list(parallel.each(work, COUNT, 2))
    assert [report.findings[0].keys for report in found] == [(str(index),) for index in range(COUNT)]


def test_a_caller_may_stop_early() -> None:
    reports = parallel.each(_report, COUNT, 2)
    assert next(reports).findings[0].keys == ("0",)
    reports.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no process is left
