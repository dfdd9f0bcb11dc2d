"""Where the order of execution is known: a state dict has none, and nothing is made up."""

from __future__ import annotations

from ckptaudit.fold import Node

# TorchScript puts `__torch__.` before, and may put `___torch_mangle_3.` in between: readers take both out.
_SEQUENTIAL = "torch.nn.modules.container.Sequential"


def in_order(node: Node) -> bool:
    """Whether the file itself says that the modules in this one run one after the other.

    torch.nn.Sequential passes what each module returns to the next
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html). A subclass may do otherwise.
    """
    return node.meta is not None and node.meta.cls == _SEQUENTIAL
