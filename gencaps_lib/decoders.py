"""Decoders, which differ in how the transform's code reaches the image.

A decoder is given the latent code z of an untransformed image and the code of a transform, and draws the transformed
image. Only its middle differs between the article's models: what turns [z, code] into feature maps. The painter that
turns maps into an image is alike in all of them.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the architectures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencaps_lib.capsules import GenerativeCapsules
from gencaps_lib.routing import route_by_address, to_index_space

LEAK = 0.1  # negative slope of every leaky ReLU of the reference
NONLINEARITIES = {"relu": nn.ReLU, "leaky-relu": lambda: nn.LeakyReLU(LEAK)}


class Painter(nn.Sequential):
    """Two transposed convolutions (kernel 4, stride 2): maps (B, C, S, S) → image (B, 1, 4S, 4S) in (-1, 1)."""

    def __init__(self, channels: int, maps: int, nonlinearity: str = "relu") -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, maps, 4, stride=2, padding=1),  # (B,maps,2S,2S)
            NONLINEARITIES[nonlinearity](),
            nn.ConvTranspose2d(maps, 1, 4, stride=2, padding=1),  # (B,1,4S,4S)
            nn.Tanh(),
        )


class Decoder(nn.Module):
    """A decoder: ``maps(latent, code)``, which each model has its own way of computing, and a painter.

    Parameters
    ----------
    side : side of the image, a multiple of `stride`
    paint : maps (B, C, S, S) → image (B, 1, side, side)
    """

    stride = 4  # pixels of the image that a cell of the maps is long

    def __init__(self, side: int, paint: nn.Module) -> None:
        super().__init__()
        if side % self.stride:
            raise ValueError(f"the image's side must be a multiple of {self.stride}, a cell of the maps; got {side}")
        self.size = side // self.stride  # side S of the feature maps
        self.paint = paint

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        """Feature maps (B, C, S, S) for latent (B, z) and code (B, code_length)."""
        raise NotImplementedError

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw, after the layers' weights, what a decoder starts from in a way of its own: nothing, for most."""

    def prepare(self, generator: torch.Generator | None = None) -> None:
        """What is to be done once, before training: nothing, for most."""

    def learned(self) -> dict[str, list]:
        """What it found out that has a meaning of its own, by name, as plain data: nothing, for most."""
        return {}

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        """The image (B, 1, side, side)."""
        return self.paint(self.maps(latent, code))


class ConvDecoder(Decoder):
    """The autoencoder's decoder: dense layers compute the feature maps, each cell by weights of its own.

    Parameters
    ----------
    z, code_length : lengths of the latent code and of the transform's code
    side : side of the image, a multiple of 4
    channels, maps : feature maps that the dense layers fill, and between the painter's two layers
    hidden : width of the first dense layer
    nonlinearity : between the painter's two layers
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 256,
        maps: int = 128,
        hidden: int = 1024,
        nonlinearity: str = "relu",
    ) -> None:
        super().__init__(side, Painter(channels, maps, nonlinearity))
        self.dense = nn.Sequential(
            nn.Linear(z + code_length, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels * self.size**2),
            nn.ReLU(),
            nn.Unflatten(1, (channels, self.size, self.size)),
        )

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        return self.dense(torch.cat([latent, code], 1))


class CapsuleDecoder(Decoder):
    """A decoder whose maps are written by capsules: ``write`` says where each writes, and what."""

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Addresses (B, N, 2) in index space and activations (B, N, C) of the capsules."""
        raise NotImplementedError

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        addresses, activations = self.write(latent, code)
        return route_by_address(addresses, activations, self.size)


class ContinuousCapsules(CapsuleDecoder):
    """Capsules addressed straight from the continuous code: no digit capsules, no parents.

    Equation :eq:`eq-continuous-capsules`.

    Parameters
    ----------
    z, code_length, side, maps, nonlinearity : as in `ConvDecoder`
    channels : feature maps C that a capsule writes to
    hidden : width of the dense layer
    capsules : number of capsules N
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 32,
        maps: int = 16,
        hidden: int = 1024,
        capsules: int = 128,
        nonlinearity: str = "leaky-relu",
    ) -> None:
        super().__init__(side, Painter(channels, maps, nonlinearity))
        self.dense = nn.Sequential(nn.Linear(z + code_length, hidden), nn.ReLU())
        self.address = nn.Sequential(nn.Linear(hidden, capsules * 2), nn.Unflatten(1, (capsules, 2)))
        self.activation = nn.Sequential(
            nn.Linear(hidden, capsules * channels), nn.Sigmoid(), nn.Unflatten(1, (capsules, channels))
        )

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.dense(torch.cat([latent, code], 1))  # (B,hidden)
        return to_index_space(self.address(hidden), self.size), self.activation(hidden)  # (B,N,2), (B,N,C)


class PerCapsuleLinear(nn.Module):
    """A dense layer for each capsule, with weights of its own: (B, N, in) → (B, N, out)."""

    def __init__(self, capsules: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(capsules, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(capsules, outputs))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Glorot-uniform weights, each capsule's layer by its own fans; zero biases."""
        for weight in self.weight:
            nn.init.xavier_uniform_(weight, generator=generator)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.einsum("bni,nio->bno", inputs, self.weight) + self.bias


class DigitCapsules(CapsuleDecoder):
    """Digit capsules, whose parts write on the maps: latent → primary capsules → parts → addresses.

    The first `parents` latent values become, by a softmax over them, the activations of the primary capsules; the
    others and the transform's code are their shared pose. A dense layer of generative capsules gives the
    parts' activations and poses, and two small networks of each part's own turn its pose into an address and into
    activations on the maps, which the part's activation scales.

    Parameters
    ----------
    z, code_length, side, channels, maps, nonlinearity : as in `ContinuousCapsules`
    parents : number of primary capsules K, one for each digit; less than z
    capsules : number of parts N
    pose : length of a part's pose
    hidden : width of each part's networks
    """

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 32,
        maps: int = 32,
        hidden: int = 128,
        capsules: int = 20,
        pose: int = 10,
        parents: int = 10,
        nonlinearity: str = "relu",
    ) -> None:
        super().__init__(side, Painter(channels, maps, nonlinearity))
        if z <= parents:
            raise ValueError(f"z must exceed the number of primary capsules, {parents}; got {z}")
        self.parents = parents
        self.parts = GenerativeCapsules(parents, capsules, z - parents + code_length, pose)
        self.address = nn.Sequential(
            PerCapsuleLinear(capsules, pose, hidden), nn.ReLU(), PerCapsuleLinear(capsules, hidden, 2)
        )
        self.activation = nn.Sequential(
            PerCapsuleLinear(capsules, pose, hidden),
            nn.ReLU(),
            PerCapsuleLinear(capsules, hidden, channels),
            nn.Sigmoid(),
        )

    def primary(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Activations (B, K) and poses (B, K, P) of the primary capsules; they share one pose."""
        categories, shared = latent.split([self.parents, latent.shape[1] - self.parents], 1)
        pose = torch.cat([shared, code], 1)  # (B,P)
        activations = categories.softmax(1)  # over the primary capsules
        return activations, pose[:, None].expand(-1, self.parents, -1)

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        presence, poses = self.parts(*self.primary(latent, code))  # (B,N), (B,N,pose)
        activations = presence[..., None] * self.activation(poses)  # (B,N,C)
        return to_index_space(self.address(poses), self.size), activations
