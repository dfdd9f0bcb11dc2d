"""The child process behind `module:pkg.mod:factory`: builds the caller's model, and tells what it expects."""

from __future__ import annotations

from typing import Any

from ckptaudit.blueprint.live import expectations
from ckptaudit.isolated.inside import RefusalError, build, serve, told


def describe(request: dict[str, Any]) -> dict[str, Any]:
    """What the model that `module` and `factory` name expects, as JSON values."""
    made = build(request["module"], request["factory"])
    try:
        return expectations(made)
    except Exception as error:
        raise RefusalError(f"its state_dict() fails: {told(error)}") from error


if __name__ == "__main__":
    serve(describe)
