"""`module:pkg.mod:factory` as a reference: the caller's own code builds the model, in a child process.

The child is this Python, started in the current folder, or in that of the settings that name the
reference, which comes first on its path as with `python -m`.
What the code prints goes to our stderr; what the child found comes back in a file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any

from ckptaudit.blueprint import MODULE, Blueprint, Expected
from ckptaudit.errors import CkptAuditError
from ckptaudit.saved import Lost


class FactoryError(CkptAuditError):
    """The code behind a reference gives no model."""

    code = "not-compared"


def load(reference: str, seconds: float, folder: str = "") -> Blueprint:
    """The blueprint of the model that `factory()` returns, built on torch's meta device.

    Raises FactoryError where the code fails, takes more than `seconds`, or returns no nn.Module.
    """
    target = reference.removeprefix(MODULE)
    module, colon, factory = target.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *factory.split("."))):
        raise FactoryError(reference, "no reference to code", remedy="write module:package.module:factory")
    answer = _ask(reference, module, factory, seconds, folder)
    if "error" in answer:
        raise FactoryError(reference, str(answer["error"]), remedy=str(answer.get("remedy", "")))
    return Blueprint(
        reference,
        answer["name"],
        {key: Expected(_shape(size), dtype) for key, size, dtype in answer["tensors"]},
        tuple(map(tuple, answer["ties"])),
        tuple(answer["other"]),
        {key: Lost(_shape(size), dtype, why) for key, size, dtype, why in answer["lost"]},
    )


def _shape(sizes: list[int] | None) -> tuple[int, ...] | None:
    return None if sizes is None else tuple(sizes)


def _ask(reference: str, module: str, factory: str, seconds: float, start: str) -> dict[str, Any]:
    """What the child has to say; it is ended, with all that it started, once its time is over."""
    with TemporaryDirectory(prefix="ckptaudit-") as folder:
        # A file and no pipe: a full pipe would stop the child before it has ended.
        path = os.path.join(folder, "answer.json")
        command = [sys.executable, "-m", "ckptaudit.blueprint.child", path, module, factory]
        child = subprocess.Popen(
            command, cwd=start or None, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            reason = f"still building after {seconds:g} s"
            raise FactoryError(reference, reason, remedy="raise --timeout") from None
        finally:
            _end(child)
        try:
            with open(path, encoding="ascii") as file:
                answer: dict[str, Any] = json.load(file)
        except (OSError, ValueError):
            code = child.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise FactoryError(reference, f"the child that builds it gave no answer ({how})") from None
    return answer


def _end(child: subprocess.Popen[bytes]) -> None:
    # What it left running is in its group, which has its number also once it has ended itself.
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
    with suppress(OSError):
        child.kill()
    child.wait()
