"""Which tensors a report shows, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from re import compile as regex
from typing import Literal

from ckptaudit.model import Checkpoint, TensorMeta
from ckptaudit.text import natural

Order = Literal["name", "size", "file"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs on keys (`*` takes dots too), and an order; without any, all tensors as the file has them."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    order: Order | None = None

    @property
    def narrows(self) -> bool:
        """Whether a tensor could be left out."""
        return bool(self.include or self.exclude)

    def tensors(self, checkpoint: Checkpoint) -> list[TensorMeta]:
        """The tensors to show, in the order to show them."""
        tensors = list(checkpoint.tensors.values())
        if self.narrows:
            wanted, unwanted = matcher(self.include or ("*",)), matcher(self.exclude)
            tensors = [tensor for tensor in tensors if wanted(tensor.key) and not unwanted(tensor.key)]
        if self.order == "name":
            tensors.sort(key=lambda tensor: natural(tensor.key))
        elif self.order == "size":
            tensors.sort(key=lambda tensor: -tensor.nbytes)
        return tensors


ALL = Selection()


def matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Whether a name matches one of some globs, case and all."""
    patterns = [regex(translate(glob)).match for glob in globs]
    return lambda name: any(match(name) for match in patterns)
