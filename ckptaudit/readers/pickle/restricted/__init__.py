"""torch's restricted unpickler, followed step by step: what would torch.load(weights_only=True) say?

A mirror of torch 2.13's `torch/_weights_only_unpickler.py` and of the few functions that it may call. Nothing
is called and no tensor is made: values are plain containers, numbers and the symbols of values.py, which
know just what the checks of torch look at.
"""
