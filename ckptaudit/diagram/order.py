"""Where the order of execution is known: a state dict has none, and nothing is made up."""

from __future__ import annotations

from ckptaudit.fold import Node, bottom_up, ordered

_SEQUENTIAL = "torch.nn.modules.container.Sequential"
_EXPORTED = "torch-export"


def in_order(node: Node, form: str) -> bool:
    """Whether a file of this format says that the modules in this one run one after the other, as they stand.

    torch.nn.Sequential passes what each module returns to the next
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html); a subclass may do otherwise.
    An exported program lists its calls, and modules are in the order of their first one.
    """
    inside = [child for child in node.children if child.tensor is None]
    # Where siblings are numbered, pictures have them in the order of their numbers.
    if inside != [child for child in ordered(node.children) if child.tensor is None]:
        return False
    if form == _EXPORTED:
        return all(map(_is_called, inside))
    return node.meta is not None and node.meta.cls == _SEQUENTIAL


def _is_called(node: Node) -> bool:
    """Whether a call in an exported program is one of this module, or of one in it."""
    return any(each.meta is not None and each.meta.cls is not None for each in bottom_up(node))
