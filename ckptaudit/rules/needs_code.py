"""The rule `needs-code`."""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.model import Checkpoint
from ckptaudit.readers.pickle.policy import verdict
from ckptaudit.saved import module_classes
from ckptaudit.text import some


@rule("trust")
def needs_code(checkpoint: Checkpoint) -> Iterator[Finding]:
    """The file is a whole module of classes whose code is not in it.

    ## What it finds
    `torch.save(model)` of classes that are not torch's own. TorchScript and exported programs carry their
    code, and are not meant.

    ## Why it matters
    It loads only with `weights_only=False`, only where the same classes stand under the same names, and
    breaks as soon as they are renamed or moved. Reviewers cannot see from it what the model does.

    ## Example
    `__main__.MLP`: it was saved from a notebook, and loads in no other program.

    ## What to do
    Save `model.state_dict()`, and build the model from its code before loading.
    """
    # A class that is dangerous has its own rule.
    classes = [name for name in module_classes(checkpoint) if verdict(*_parts(name)) == "unknown"]
    if classes:
        known = {f"{ref.module}.{ref.name}": ref.span for ref in checkpoint.globals}
        yield warning(
            f"loading it needs the code of {_counted(classes)}: {some(classes)}",
            classes,
            span=known.get(classes[0]),
            fix="save model.state_dict() instead of the model",
        )


def _counted(classes: list[str]) -> str:
    return "one module class" if len(classes) == 1 else f"{len(classes):,} module classes"


def _parts(dotted: str) -> tuple[str, str]:
    module, _, name = dotted.rpartition(".")
    return module, name
