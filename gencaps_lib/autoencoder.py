"""The autoencoder: an encoder that sees the untransformed image, and a decoder that is told the transform.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencaps_lib.decoders import LEAK, Decoder
from gencaps_lib.transforms import check_images


class Encoder(nn.Sequential):
    """Two convolutions and two dense layers: images (B, 1, 28, 28) → latent (B, z).

    Parameters
    ----------
    z : length of the latent code
    maps : feature maps of the two convolutions (kernel 4, stride 2)
    hidden : width of the dense layer
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
    """An encoder and a decoder that is told the transform.

    Parameters
    ----------
    encoder : images (B, 1, 28, 28) → latent (B, z)
    decoder : latent (B, z), code (B, code_length) → image (B, 1, side, side)
    z, code_length : the lengths, for checking what comes in
    """

    def __init__(self, encoder: nn.Module, decoder: Decoder, z: int, code_length: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.z = z
        self.code_length = code_length

    def encode(self, images: Tensor) -> Tensor:
        """Latent code (B, z) of untransformed images (B, 1, 28, 28) in [-1, 1]."""
        check_images(images)
        if images.shape[2:] != (28, 28):
            raise ValueError(f"the encoder sees images of 28×28 pixels; got {tuple(images.shape)}")
        return self.encoder(images)

    def decode(self, latent: Tensor, code: Tensor) -> Tensor:
        """Image (B, 1, side, side) of a latent code (B, z) under a transform's code (B, code_length)."""
        for name, given, length in (("latent", latent, self.z), ("code", code, self.code_length)):
            if given.dim() != 2 or given.shape[1] != length or len(given) == 0:
                raise ValueError(f"{name} must have shape (B, {length}), B ≥ 1; got {tuple(given.shape)}")
        if len(latent) != len(code):
            raise ValueError(f"latent and code must be as many; got {len(latent)} and {len(code)}")
        return self.decoder(latent, code)

    def prepare(self, generator: torch.Generator | None = None) -> None:
        """Prepare the decoder for training, see `Decoder.prepare`."""
        self.decoder.prepare(generator)

    def forward(self, images: Tensor, code: Tensor) -> Tensor:
        """Reconstruct images (B, 1, 28, 28) under the transform of code (B, code_length).

        Each image can be drawn several times: with K·B codes, the first K of them are for the first image.
        """
        return self.decode(self.encode_for(images, code), code)

    def encode_for(self, images: Tensor, code: Tensor) -> Tensor:
        """Latent codes (K·B, z) of images (B, 1, 28, 28), K of each, one for each transform's code (K·B, …)."""
        return self.encode(images).repeat_interleave(len(code) // len(images), 0)
