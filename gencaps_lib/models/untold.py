"""A generator learned from pairs of pictures alone: how far apart two pictures are is read off them, and never told.

References
----------
Rao, Ruderman (1999), "Learning Lie groups for invariant visual perception": the generator and each pair's amount are
learned together, from small differences.
Bepler, Zhong, Kelley, Brignole, Berger (2019), "Explicitly disentangling image content from translation and rotation
with spatial-VAE": an encoder guesses the angle, and the group is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencaps_lib.models.composed import LearnedGenerator
from gencaps_lib.models.parts import LEAK, Autoencoder, Decoder

if TYPE_CHECKING:
    from gencaps_lib.tasks import Batch


class Reader(nn.Module):
    r"""Reads off two pictures (B, 1, 28, 28) how far the second is moved from the first: (B, 1), in a unit of its own.

    .. math:: \tau(x, x_t) = h(x, x_t) - h(x_t, x)

    Equation :eq:`eq-reading`. So nothing lies between a picture and itself, and the way back is as long as the way.
    Without this, every picture may have a zero of its own: its parts lie turned, and τ turns them less.

    Parameters
    ----------
    maps : feature maps of h's two convolutions (kernel 4, stride 2)
    hidden : width of its dense layer
    odd : whether the way back is subtracted; otherwise τ is h
    """

    def __init__(self, maps: tuple[int, int] = (16, 32), hidden: int = 128, odd: bool = True) -> None:
        super().__init__()
        self.odd = odd
        self.compare = nn.Sequential(  # h
            nn.Conv2d(2, maps[0], 4, stride=2, padding=1),  # (B,maps0,14,14)
            nn.LeakyReLU(LEAK),
            nn.Conv2d(maps[0], maps[1], 4, stride=2, padding=1),  # (B,maps1,7,7)
            nn.LeakyReLU(LEAK),
            nn.Flatten(),
            nn.Linear(maps[1] * 49, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, 1),
        )

    def forward(self, images: Tensor, moved: Tensor) -> Tensor:
        there = torch.cat([images, moved], 1)  # (B,2,28,28)
        if not self.odd:
            return self.compare(there)
        one, other = self.compare(torch.cat([there, there.flip(1)])).chunk(2)
        return one - other


class UntoldAutoencoder(Autoencoder):
    r"""An autoencoder that is given pairs of pictures, and reads the code off each pair.

    .. math:: \mathrm{mean}\,\bigl(D(E(x), \tau(x, x_t)) - x_t\bigr)^2

    Equation :eq:`eq-untold`. Only :math:`\tau G` enters the drawing, so the unit and the sign of τ are free. After the
    training they are fixed by G alone, see `speed`, and the model draws any code as others do.

    Takes the parameters of `Autoencoder`. The decoder has ``act``, a `composed.LearnedGenerator` or, where the group is
    known, a `composed.KnownMatrix`; its transform turns pictures of 28×28 pixels, and its code is proportional to the
    angle, as that of `transforms.RawRotation` is.
    """

    odd = True  # whether the way back is subtracted, see `Reader`

    def __init__(self, encoder: nn.Module, decoder: Decoder, z: int, code_length: int) -> None:
        super().__init__(encoder, decoder, z, code_length)
        self.reader = Reader(odd=self.odd)

    def read(self, images: Tensor, moved: Tensor) -> Tensor:
        """The codes (B, 1) that lie between pictures and moved ones, both (B, 1, 28, 28), in the transform's unit."""
        return self.reader(images, moved) * self.speed()

    def generators(self) -> Tensor | None:
        """The learned generator in the transform's unit, (1, 3, 3); None where the group is known."""
        act = self.decoder.act
        return act.generators() / self.speed() if isinstance(act, LearnedGenerator) else None

    def speed(self) -> Tensor:
        r"""The angle by which the matrix turns when τ grows by one, in units of the code: a scalar.

        It is the size of G's imaginary eigenvalues, so it needs no angle: a full turn is a full turn. Its sign is that
        of :math:`G_{21} - G_{12}`, so that counter-clockwise is positive; that is a convention. It is 1 where the group
        is known. G may turn nothing, before the training; then a tenth of its size is taken.
        """
        act = self.decoder.act
        if not isinstance(act, LearnedGenerator):
            return torch.ones((), device=next(self.parameters()).device)
        (a, b), (c, d) = (row.unbind() for row in act.generators()[0, :2, :2].unbind())
        square = a * d - b * c - (a + d).square() / 4  # of the eigenvalues' imaginary part
        least = (a**2 + b**2 + c**2 + d**2) / 100
        return torch.where(c >= b, 1.0, -1.0) * torch.maximum(square, least).sqrt()

    def decode(self, latent: Tensor, code: Tensor) -> Tensor:
        """As `Autoencoder.decode`: the code is the transform's, and is drawn by the learned generator in its unit."""
        return super().decode(latent, code / self.speed())

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean squared error of the moved pictures, twice. Of the batch's code, only the length is used."""
        images = batch.images.repeat_interleave(len(batch.target) // len(batch.images), 0)
        latent = self.encode_for(batch.images, batch.code)
        error = F.mse_loss(self.decoder(latent, self.reader(images, batch.target)), batch.target)
        return error, error.detach()


class OneWayAutoencoder(UntoldAutoencoder):
    """The same with a reader that may put a zero of its own on every picture: only the pair's own drawing is asked."""

    odd = False
