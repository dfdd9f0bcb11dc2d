"""Writing a file of our own: in one step, and never over something else by mistake."""

from __future__ import annotations

import os
from contextlib import suppress

from ckptaudit.errors import CkptAuditError


class OutputError(CkptAuditError):
    """A file cannot be written: no fault of a checkpoint's."""


def write(path: str, text: str) -> None:
    """Replace the file at `path` in one step; what is no regular file (/dev/stdout) is only written to.

    Raises OutputError where it cannot be written.
    """
    place = os.path.realpath(path)  # a link stays one
    is_special = os.path.exists(place) and not os.path.isfile(place)
    draft = place if is_special else f"{place}.{os.getpid()}.new"
    try:
        with open(draft, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        if not is_special:
            os.replace(draft, place)
    except OSError as error:
        if not is_special:
            with suppress(OSError):
                os.remove(draft)
        raise OutputError(path, f"could not be written: {error.strerror or error}") from None
