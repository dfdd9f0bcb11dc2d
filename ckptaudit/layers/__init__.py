"""Which layer owns which tensors, from names and shapes alone: `guesses(tensors, modules)`.

A state dict does not say what its modules are. What their tensors are called and what shapes they have
leaves few layers that could own them (`registry.LAYERS` has one entry a layer, `composites` those that
are made of others), and names and neighbours tell which of these is likely (`evidence`).
"""

from ckptaudit.layers.describe import described
from ckptaudit.layers.guess import Confidence, Guess, ModuleLike, TensorLike
from ckptaudit.layers.guessing import guesses

__all__ = ("Confidence", "Guess", "ModuleLike", "TensorLike", "described", "guesses")
