"""Names by which parts of a checkpoint are pointed at: the same in DOT, SVG and HTML, in every run."""

from __future__ import annotations

import json
from hashlib import blake2s
from typing import Literal

from ckptaudit.model import Path


def anchor(kind: Literal["module", "tensor", "state-dict", "finding"], path: Path) -> str:
    """A name of ASCII letters, digits and a dash for what hangs at `path`: no text of the file is in it."""
    text = json.dumps([kind, *path])
    return f"{kind[0]}-{blake2s(text.encode('ascii'), digest_size=8).hexdigest()}"
