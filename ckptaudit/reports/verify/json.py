"""One versioned JSON document for programs, strings exactly as they are; it is plain ASCII."""

from __future__ import annotations

import json
import math

from ckptaudit.verify.comparison import Comparison, Output

SCHEMA = "ckptaudit.verify/1"


def render(found: Comparison) -> str:
    """The document."""
    first = found.first_divergence
    data = {
        "schema": SCHEMA,
        "path": found.subject,
        "reference": found.reference,
        "verdict": found.verdict,
        "reason": found.reason,
        "stages": [stage._asdict() for stage in found.stages],
        "outputs": [_output(each) for each in found.outputs],
        "first_divergence": None if first is None else first._asdict(),
        "ties": found.ties,
        "settings": dict(found.settings),
    }
    return json.dumps(data, indent=1, allow_nan=False).replace("##[", "#\\u0023[") + "\n"


def _output(each: Output) -> dict[str, object]:
    """JSON has no word for infinity."""
    return {
        name: repr(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in each._asdict().items()
    }
