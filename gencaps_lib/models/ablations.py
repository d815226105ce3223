"""Continuous capsules with one part changed, to ask which part carries a transform to where it was not seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencaps_lib.models.article import ContinuousCapsules
from gencaps_lib.routing import route_by_address, to_index_space


def route_by_gaussian(addresses: Tensor, activations: Tensor, size: int, width: float = 0.5) -> Tensor:
    """Routing by address with a Gaussian kernel: a capsule writes to every cell, the less the further it is.

    Parameters
    ----------
    addresses, activations, size : as in `routing.route_by_address`
    width : standard deviation of the kernel, in cells

    Returns
    -------
    (B, C, S, S)
    """
    cells = torch.arange(size, dtype=addresses.dtype, device=addresses.device)
    rows, columns = torch.exp(-((addresses[..., None] - cells) / width).square() / 2).unbind(2)  # (B,N,S) each
    return torch.einsum("bnc,bni,bnj->bcij", activations, rows, columns)


class ChangedCapsules(ContinuousCapsules):
    """`ContinuousCapsules` with some parts changed.

    Parameters
    ----------
    z, code_length, side, capsules, sizes : as in `ContinuousCapsules`
    gaussian : route with a Gaussian kernel, not with the bilinear one
    relu : activations have a ReLU, not a sigmoid
    linear : addresses are an address of z alone plus a learned linear map of the code
    still : activations are of z alone: they do not change with the transform
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        gaussian: bool = False,
        relu: bool = False,
        linear: bool = False,
        still: bool = False,
        capsules: int = 128,
        **sizes,
    ) -> None:
        super().__init__(z, code_length, side, capsules=capsules, **sizes)
        self.route = route_by_gaussian if gaussian else route_by_address
        self.linear, self.still = linear, still
        if relu:
            self.activation[1] = nn.ReLU()
        if linear:
            self.move = nn.Sequential(nn.Linear(code_length, capsules * 2, bias=False), nn.Unflatten(1, (capsules, 2)))

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        told = self.dense(torch.cat([latent, code], 1))  # (B,hidden)
        untold = self.dense(torch.cat([latent, torch.zeros_like(code)], 1)) if self.linear or self.still else told
        outputs = self.address(untold) + self.move(code) if self.linear else self.address(told)
        return to_index_space(outputs, self.size), self.activation(untold if self.still else told)

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        return self.route(*self.write(latent, code), self.size)
