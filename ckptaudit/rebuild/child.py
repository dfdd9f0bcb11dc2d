"""The child process behind `rebuild --model`: a checkpoint in the architecture that the caller names."""

from __future__ import annotations

from functools import partial
from typing import Any

from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated.inside import RefusalError, build, serve
from ckptaudit.limits import Limits
from ckptaudit.rebuild import rebuild
from ckptaudit.rebuild.document import document
from ckptaudit.rebuild.write import save_as


def load(request: dict[str, Any]) -> dict[str, Any]:
    """The document of `path` in the model that `module` and `factory` name."""
    model = partial(build, request["module"], request["factory"], on_meta=False)
    try:
        rebuilt = rebuild(
            request["path"],
            model=model,
            maps=request["maps"],
            device=request["device"],
            limits=Limits(**request["limits"]),
        )
        if request["to"]:
            save_as(rebuilt, request["draft"], request["to"])
    except CkptAuditError as error:
        raise RefusalError(str(error)) from error
    return document(rebuilt)


if __name__ == "__main__":
    serve(load)
