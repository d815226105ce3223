"""The autoencoder: an encoder of the untransformed image, and a decoder that also gets the transform's code.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the encoder.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gencaps_lib.routing import route_by_address
from gencaps_lib.transforms import check_images

LEAK = 0.1  # negative slope of every leaky ReLU of the reference

NONLINEARITIES: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "leaky-relu": lambda: nn.LeakyReLU(LEAK)}


def bias_of(layer: nn.Module) -> Tensor:
    """The bias of a layer that has one."""
    bias = layer.bias
    assert isinstance(bias, Tensor)
    return bias


class Painter(nn.Sequential):
    """Two transposed convolutions (kernel 4, stride 2): maps (B, C, S, S) → image (B, 1, 4S, 4S) in (-1, 1).

    Parameters
    ----------
    channels, maps : numbers of feature maps, at its input and between its two layers
    nonlinearity : between the two layers
    """

    def __init__(self, channels: int, maps: int, nonlinearity: str = "relu") -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"unknown nonlinearity {nonlinearity!r}: choose one of {', '.join(NONLINEARITIES)}")
        super().__init__(
            nn.ConvTranspose2d(channels, maps, 4, stride=2, padding=1),  # (B,maps,2S,2S)
            NONLINEARITIES[nonlinearity](),
            nn.ConvTranspose2d(maps, 1, 4, stride=2, padding=1),  # (B,1,4S,4S)
            nn.Tanh(),
        )
        self.channels, self.maps = channels, maps


class Decoder(nn.Module):
    """A decoder: ``maps(latent, code)``, which each model computes in its own way, and a painter.

    Parameters
    ----------
    side : side of the image, a multiple of `stride`
    paint : maps (B, C, S, S) → image (B, 1, side, side)
    """

    stride = 4  # side of a cell of the maps, in pixels of the image

    def __init__(self, side: int, paint: nn.Module) -> None:
        super().__init__()
        if side % self.stride:
            raise ValueError(f"the image's side must be a multiple of {self.stride} (a cell of the maps); got {side}")
        self.size = side // self.stride  # side S of the feature maps
        self.paint = paint

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        """Feature maps (B, C, S, S) for latent (B, z) and code (B, code_length)."""
        raise NotImplementedError

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw initial values that the layers do not draw themselves. Does nothing by default."""

    def prepare(self, generator: torch.Generator | None = None) -> None:
        """Called once, before training. Does nothing by default."""

    def learned(self) -> dict[str, list]:
        """What the decoder learned that a reader can interpret: name → plain data. Empty by default."""
        return {}

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        """The image (B, 1, side, side)."""
        return self.paint(self.maps(latent, code))


class CapsuleDecoder(Decoder):
    """A decoder whose maps are written by capsules: ``write`` says where each capsule writes, and what."""

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Addresses (B, N, 2) in index space and activations (B, N, C) of the capsules."""
        raise NotImplementedError

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        addresses, activations = self.write(latent, code)
        return route_by_address(addresses, activations, self.size)


class PerCapsuleLinear(nn.Module):
    """A separate dense layer for each capsule: (B, N, in) → (B, N, out)."""

    def __init__(self, capsules: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(capsules, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(capsules, outputs))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Glorot-uniform weights, with the fans of one capsule's layer; set biases to zero."""
        for weight in self.weight:
            nn.init.xavier_uniform_(weight, generator=generator)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.einsum("bni,nio->bno", inputs, self.weight) + self.bias


class Encoder(nn.Sequential):
    """Two convolutions and two dense layers: images (B, 1, 28, 28) → latent (B, z).

    Parameters
    ----------
    z : length of the latent code
    maps : feature maps of the two convolutions (kernel 4, stride 2)
    hidden : width of the first dense layer
    """

    def __init__(self, z: int, maps: tuple[int, int] = (64, 128), hidden: int = 1024) -> None:
        super().__init__(
            nn.Conv2d(1, maps[0], 4, stride=2, padding=1),  # (B,maps0,14,14)
            nn.LeakyReLU(LEAK),
            nn.Conv2d(maps[0], maps[1], 4, stride=2, padding=1),  # (B,maps1,7,7)
            nn.LeakyReLU(LEAK),
            nn.Flatten(),
            nn.Linear(maps[1] * 49, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, z),
        )


class Autoencoder(nn.Module):
    """An encoder, and a decoder that also gets the transform's code.

    Parameters
    ----------
    encoder : images (B, 1, 28, 28) → latent (B, z)
    decoder : latent (B, z), code (B, code_length) → image (B, 1, side, side)
    z, code_length : lengths of latent and code, to check the input
    """

    def __init__(self, encoder: nn.Module, decoder: Decoder, z: int, code_length: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.z = z
        self.code_length = code_length

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, z) of untransformed images (B, 1, 28, 28) in [-1, 1]."""
        check_images(images)
        if images.shape[2:] != (28, 28):
            raise ValueError(f"the encoder needs images of 28×28 pixels; got {tuple(images.shape)}")
        return self.encoder(images)

    def decode(self, latent: Tensor, code: Tensor) -> Tensor:
        """Images (B, 1, side, side) of latent codes (B, z) under transform codes (B, code_length)."""
        for name, given, length in (("latent", latent, self.z), ("code", code, self.code_length)):
            if given.dim() != 2 or given.shape[1] != length or len(given) == 0:
                raise ValueError(f"{name} must have shape (B, {length}), B ≥ 1; got {tuple(given.shape)}")
        if len(latent) != len(code):
            raise ValueError(f"latent and code must have the same number of rows; got {len(latent)} and {len(code)}")
        return self.decoder(latent, code)

    def prepare(self, generator: torch.Generator | None = None) -> None:
        """Prepare the decoder for training, see `Decoder.prepare`."""
        self.decoder.prepare(generator)

    def forward(self, images: Tensor, code: Tensor) -> Tensor:
        """Draw images (B, 1, 28, 28) under the transforms of code (B, code_length).

        Each image can be drawn several times: with K·B codes, the first K are for the first image.
        """
        return self.decode(self.encode_for(images, code), code)

    def encode_for(self, images: Tensor, code: Tensor) -> Tensor:
        """Latent codes (K·B, z) of images (B, 1, 28, 28), each repeated K times to match the codes (K·B, …)."""
        return self.encode(images).repeat_interleave(len(code) // len(images), 0)
