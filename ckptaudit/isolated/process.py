"""The parent's side: starts the child, waits for its answer, and ends it with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

from ckptaudit.isolated import SECONDS, ChildError


def ask(
    child: str,
    request: Mapping[str, Any],
    subject: str,
    seconds: float = SECONDS,
    folder: str = "",
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What `python -m child` answers to `request`; both are JSON objects.

    `environment` are variables that it gets besides those of this process. The child is ended, with all that
    it started, once its time is over. Raises ChildError about `subject`
    where there is no answer in time, or the answer is an error.
    """
    with TemporaryDirectory(prefix="ckptaudit-") as place:
        # Files and no pipes: a full pipe would stop the child before it has ended.
        asked, answered = os.path.join(place, "request.json"), os.path.join(place, "answer.json")
        with open(asked, "w", encoding="ascii") as out:
            json.dump(dict(request), out)
        command = [sys.executable, "-m", child, asked, answered]
        _finish(_start(command, folder, environment or {}), subject, seconds, answered)
        with open(answered, encoding="ascii") as file:
            answer: dict[str, Any] = json.load(file)
    if "error" in answer:
        raise ChildError(subject, str(answer["error"]), remedy=str(answer.get("remedy", "")))
    return answer


def _start(command: list[str], folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder or None,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=2,
        start_new_session=True,
    )


def _finish(child: subprocess.Popen[bytes], subject: str, seconds: float, answered: str) -> None:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        raise ChildError(subject, f"still at work after {seconds:g} s", remedy="raise --timeout") from None
    finally:
        _end(child)
    if not os.path.exists(answered):
        code = child.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise ChildError(subject, f"the child process gave no answer ({how})")


def _end(child: subprocess.Popen[bytes]) -> None:
    # What it left running is in its group, which has its number also once it has ended itself.
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
    with suppress(OSError):
        child.kill()
    child.wait()
