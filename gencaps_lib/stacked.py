"""Several models of one architecture as one, which are trained in one step: seeds that would else run one by one.

References
----------
The idea is that of PyTorch's model ensembling with ``torch.func``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gencaps_lib.training import Batch


class Stack(nn.Module):
    """Models of one architecture behind one call: a batch is shared out among them in equal parts, in order.

    Optimisers that treat every weight by itself (Adam, RMSProp, SGD) train each model as if it were alone.

    Parameters
    ----------
    models : M of them, called as ``model(images, code)``; their weights are copied

    Raises
    ------
    ValueError
        No models, models of several kinds, or of a kind with a loss, a rival or a preliminary training of its own.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        if len({str(model) for model in models}) != 1:
            raise ValueError(f"a stack takes models of one architecture, at least one; got {len(models)}")
        if hasattr(models[0], "loss") or hasattr(models[0], "rival"):
            raise ValueError("models with a loss or a rival of their own cannot be stacked: train them one by one")
        weights, constants = stack_module_state(list(models))
        self.count = len(models)
        self.names = list(weights)
        self.weights = nn.ParameterList(weight.detach() for weight in weights.values())
        self.constants = constants
        # Its shape of computation, without weights; in a list, so that it is no part of this module.
        self.example = [copy.deepcopy(models[0]).to("meta")]

    def by_name(self) -> dict[str, Tensor]:
        """The weights of all models, (M, …) each, by their name in one."""
        return dict(zip(self.names, self.weights, strict=True))

    def forward(self, images: Tensor, code: Tensor) -> Tensor:
        """What the models make of their parts of images (M·B, 1, 28, 28) and code (M·B, code_length)."""
        parts = [values.unflatten(0, (self.count, -1)) for values in (images, code)]

        def one(weights: dict[str, Tensor], constants: dict[str, Tensor], *inputs: Tensor) -> Tensor:
            return functional_call(self.example[0], (weights, constants), inputs)

        drawn = vmap(one)(self.by_name(), self.constants, *parts)
        return drawn.flatten(0, 1)  # (M·B,1,side,side)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of the models' mean squared errors, so that each gets its own gradient; and their mean, to record."""
        errors = (self(batch.images, batch.code) - batch.target).square()
        means = errors.unflatten(0, (self.count, -1)).flatten(1).mean(1)  # (M,)
        return means.sum(), means.detach().mean()

    @torch.no_grad()
    def copy_to(self, models: Sequence[nn.Module]) -> None:
        """Give M models their weights."""
        stacked = self.by_name()
        for place, model in enumerate(models):
            for name, weight in model.named_parameters():
                weight.copy_(stacked[name][place])
