"""The child's side: runs the code that the caller named, and writes the answer.

A module that is such a child ends with `serve(answer)` under `if __name__ == "__main__"`, and nothing of
ours imports it. Here alone a name is imported that is not spelled out: the caller's.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

_LOOK = 0.5  # seconds between two looks at the parent


class RefusalError(Exception):
    """What is asked for cannot be had, in words for the caller; `remedy` is what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the request in the file `argv[1]` to the file `argv[2]`, and end the process."""
    if hasattr(os, "killpg"):
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    asked, answered = sys.argv[1:]
    with open(asked, encoding="ascii") as file:
        request = json.load(file)
    sys.path.insert(0, os.getcwd())
    try:
        found = answer(request)
    except RefusalError as refusal:
        found = {"error": str(refusal), "remedy": refusal.remedy}
    except (Exception, KeyboardInterrupt) as error:
        found = {"error": told(error)}
    # Under its name only once it is whole: a child that is killed has not answered.
    with open(f"{answered}.part", "w", encoding="ascii") as out:
        json.dump(found, out)
    os.replace(f"{answered}.part", answered)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that the code has left running have nothing to add


def build(module: str, factory: str, *, on_meta: bool = True) -> Any:
    """The nn.Module that `module:factory` names, called where it is a class or a function.

    On the meta device first, where no memory is taken; code that needs real numbers gets them after all.
    Raises RefusalError where it gives something else.
    """
    try:
        import torch
    except ImportError:
        raise RefusalError(
            "torch is not installed, and the code needs it", "pip install 'ckptaudit[torch]'"
        ) from None
    made = _made(torch, module, factory, on_meta)
    if not isinstance(made, torch.nn.Module):
        raise RefusalError(
            f"{factory} gives a {type(made).__name__}, not an nn.Module",
            "name what returns the module that holds the parameters",
        )
    return made


def _made(torch: Any, module: str, factory: str, on_meta: bool) -> Any:
    named: Any = importlib.import_module(module)
    for name in factory.split("."):
        named = getattr(named, name)
    if isinstance(named, torch.nn.Module) or not callable(named):
        return named
    if not on_meta:
        return named()
    try:
        with torch.device("meta"):
            return named()
    except Exception:
        return named()


def told(error: BaseException) -> str:
    """An exception in one line, with the place in the caller's code where it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_ours(frame.filename)]
    place = f" ({os.path.basename(theirs[-1].filename)}, line {theirs[-1].lineno})" if theirs else ""
    try:
        words = str(error)
    except Exception:  # it is the caller's own class
        words = "it does not say what"
    return f"{type(error).__name__}: {words}{place}"


def _is_ours(file: str) -> bool:
    return "importlib" in file or os.path.dirname(file).startswith(os.path.dirname(os.path.dirname(__file__)))


def _end_with(parent: int) -> None:
    """End, with all that the code has started, once the process that asked is gone: nobody waits any more."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os.killpg(0, signal.SIGKILL)
