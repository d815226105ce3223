"""The article's decoders, which differ in how the transform's code reaches the image.

A decoder gets the latent code z of an untransformed image and the code of a transform, and draws the transformed image.
The article's models differ only in the decoder's middle, which turns [z, code] into feature maps. The painter, which
turns the maps into an image, has the same structure in all of them.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the architectures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencaps_lib.capsules import GenerativeCapsules
from gencaps_lib.models.parts import CapsuleDecoder, Decoder, Painter, PerCapsuleLinear
from gencaps_lib.routing import to_index_space


class ConvDecoder(Decoder):
    """The autoencoder's decoder: dense layers compute the feature maps; each cell has its own weights.

    Parameters
    ----------
    z, code_length : lengths of the latent code and of the transform's code
    side : side of the image, a multiple of 4
    channels, maps : numbers of feature maps, after the dense layers and between the painter's two layers
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


class ContinuousCapsules(CapsuleDecoder):
    """Capsules whose addresses come directly from the continuous code: no digit capsules, no parents.

    Equation :eq:`eq-continuous-capsules`.

    Parameters
    ----------
    z, code_length, side, maps, nonlinearity : as in `ConvDecoder`
    channels : number of feature maps C that a capsule writes to
    hidden : width of the dense layer
    capsules : number of capsules N
    """

    paint: Painter

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


class DigitCapsules(CapsuleDecoder):
    """Digit capsules, whose parts write on the maps: latent → wholes → parts → addresses.

    A softmax over the first `parents` latent values gives the activations of the wholes. (The article calls them
    primary capsules.) All wholes have one pose: the other latent values and the transform code. A dense layer of
    generative capsules gives the parts' activations and poses. Each part has two small networks of its own. They turn
    its pose into an address and into activations on the maps, which its own activation multiplies. Equation
    :eq:`eq-digit-capsules`.

    Parameters
    ----------
    z, code_length, side, channels, maps, nonlinearity : as in `ContinuousCapsules`
    parents : number of wholes K, one for each digit; must be less than z
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
            raise ValueError(f"z must be greater than the number of wholes, {parents}; got {z}")
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

    def wholes(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Activations (B, K) and poses (B, K, P) of the wholes; they share one pose."""
        categories, shared = latent.split([self.parents, latent.shape[1] - self.parents], 1)
        pose = torch.cat([shared, code], 1)  # (B,P)
        activations = categories.softmax(1)  # over the wholes
        return activations, pose[:, None].expand(-1, self.parents, -1)

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        of_parts, poses = self.parts(*self.wholes(latent, code))  # (B,N), (B,N,pose)
        activations = of_parts[..., None] * self.activation(poses)  # (B,N,C)
        return to_index_space(self.address(poses), self.size), activations
