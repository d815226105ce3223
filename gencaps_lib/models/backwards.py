"""A network that draws, run backwards: it names what a turned or shifted picture shows by drawing it again.

The transform is undone for each of some candidate values, what comes out is encoded, and drawn under this value. The
candidate whose drawing differs least from the picture wins, and its latent code is named. The network that draws is
trained as always, from upright digits and values; the network that names is trained beside it, on latent codes of
upright digits only, and does not change them.

References
----------
Revow, Williams, Hinton (1996), "Using generative models for handwritten digit recognition": a digit is named by the
model that draws it best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencaps_lib.models.parts import Autoencoder
from gencaps_lib.transforms import SIDE, inverse, warp

if TYPE_CHECKING:
    from gencaps_lib.tasks import Batch

HIDDEN = 128  # width of the network that names
AT_ONCE = 10  # pictures searched at once


class Candidates(NamedTuple):
    """What B pictures are at T candidates each, of all rounds of the search, one after another."""

    latents: Tensor  #: (B, T, z), of the pictures with the transform undone
    errors: Tensor  #: (B, T), mean squared differences of the drawings from the pictures


class Backwards(nn.Module):
    r"""A model that draws, and a small network that names digits from its latent code.

    .. math:: \varepsilon(\theta) = \mathrm{mean}\,(D(E(A(0) \, A(\theta)^{-1} x), \theta) - x)^2

    Equation :eq:`eq-candidate`, in which A(0) is the identity. Of what is moved by the inverse, the encoder gets the
    middle, 28×28 pixels.

    Parameters
    ----------
    drawer : an autoencoder whose decoder has ``act``, code → matrices; its transform has ``candidates``
    seed : seed of the naming network's weights; the global generator is not changed

    Attributes
    ----------
    rounds : what is tried, coarse to fine, see `Rotation.candidates`

    Raises
    ------
    ValueError
        The transform has no candidates.
    """

    def __init__(self, drawer: nn.Module, seed: int = 0) -> None:
        super().__init__()
        self.drawer = cast(Autoencoder, drawer)
        z = self.drawer.z
        with torch.random.fork_rng(devices=[]):
            dense = nn.Linear(z, HIDDEN), nn.Linear(HIDDEN, 10)
        generator = torch.Generator().manual_seed(seed)
        for layer in dense:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        self.namer = nn.Sequential(nn.BatchNorm1d(z, affine=False), dense[0], nn.ReLU(), dense[1])
        transform = self._act.transform
        if not hasattr(transform, "candidates"):
            raise ValueError(
                f"{type(transform).__name__} has no candidates to search: use Rotation, Shift or RotationAndShift, or "
                "give it a method `candidates`"
            )
        self.margin = (transform.side - SIDE) // 2
        self.rounds: list[Tensor] = transform.candidates()

    @property
    def _act(self) -> Any:
        """The decoder's matrices: code (B, code_length) → (B, 3, 3)."""
        return self.drawer.decoder.act

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """To minimise, the drawing's mean squared error + the cross-entropy of names; to record, the first alone."""
        latents = self.drawer.encode_for(batch.images, batch.code)
        error = F.mse_loss(self.drawer.decode(latents, batch.code), batch.target)
        # Detached: the names change nothing of the encoder.
        naming = F.cross_entropy(self.namer(latents.detach()), batch.labels)
        return error + naming, error.detach()

    @torch.no_grad()
    def search(self, images: Tensor) -> Candidates:
        """Try all candidates on pictures (B, 1, side, side)."""
        pieces = [self._search(piece) for piece in images.split(AT_ONCE)]
        return Candidates(*map(torch.cat, zip(*pieces, strict=True)))

    def _search(self, images: Tensor) -> Candidates:
        first, *later = (values.to(images.device) for values in self.rounds)
        values = first.expand(len(images), -1, -1)  # (B,T,dimensions)
        found = self._try(images, values)
        for around in later:
            best = values.take_along_dim(found.errors.argmin(1)[:, None, None], 1)  # (B,1,dimensions)
            new = best + around
            values = torch.cat([values, new], 1)
            found = Candidates(*(torch.cat(pair, 1) for pair in zip(found, self._try(images, new), strict=True)))
        return found

    def _try(self, images: Tensor, values: Tensor) -> Candidates:
        """Try the values (B, T, dimensions), each on its own picture."""
        count, tried, _ = values.shape
        images = images.repeat_interleave(tried, 0)  # (B·T,1,side,side)
        code = self._act.transform.code
        codes = code(values.flatten(0, 1))  # (B·T,code_length)
        # Of a group it is the identity. A matrix that is learned for each code by itself may draw upright digits, too,
        # from parts in another frame.
        upright = self._act(code(torch.zeros_like(values[:1, 0])))  # (1,3,3)
        back = F.pad(warp(images, upright @ inverse(self._act(codes))), (-self.margin,) * 4)  # (B·T,1,28,28)
        latents = self.drawer.encode(back)
        errors = (self.drawer.decode(latents, codes) - images).square().mean((1, 2, 3))
        return Candidates(latents.unflatten(0, (count, tried)), errors.unflatten(0, (count, tried)))

    def forward(self, images: Tensor) -> Tensor:
        """The scores (B, 10) of the digits, for the candidate whose drawing fits best."""
        latents, errors = self.search(images)
        return self.namer(latents[torch.arange(len(images), device=images.device), errors.argmin(1)])
