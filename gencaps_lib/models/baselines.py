"""Baselines without capsules: decoders that get the transform in well-known ways.

Two get the transform's matrix, by any of `composed.ACTIONS`. By default it is the true one, and they are equivariant by
construction. With a learned generator they are the controls of the composed capsules. One moves the picture that it has
drawn, the other moves the coordinates of the pixels. The third gets the code, as the article's models do.

References
----------
Jaderberg, Simonyan, Zisserman, Kavukcuoglu (2015), "Spatial Transformer Networks": a differentiable layer that
samples an image at moved places.
Bepler, Zhong, Kelley, Brignole, Berger (2019), "Explicitly disentangling image content from translation and rotation
with spatial-VAE": a decoder as a function of moved coordinates and of the latent code.
Watters, Matthey, Burgess, Lerchner (2019), "Spatial Broadcast Decoder": the latent code repeated over a grid, with
each cell's coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencaps_lib.models.article import ConvDecoder
from gencaps_lib.models.composed import act_of, draw_act, learned_by
from gencaps_lib.models.parts import Decoder, Painter, bias_of
from gencaps_lib.transforms import SIDE, Transform, cells, in_the_plane, inverse, move, warp


class WarpedDecoder(ConvDecoder):
    """The autoencoder's decoder draws the untransformed image from z alone, and a matrix moves this image.

    Pixels from outside are background and interpolation is bilinear, as in the targets. A picture has no depth: of a
    matrix that has, `transforms.in_the_plane` is left.

    Parameters
    ----------
    z : length of the latent code
    transform : the task's transform, for reading its code, its matrix, and the image's side
    channels, maps, hidden : as in `ConvDecoder`
    action : how the matrix is computed from the code, one of `composed.ACTIONS`
    """

    def __init__(
        self,
        z: int,
        transform: Transform,
        channels: int = 64,
        maps: int = 32,
        hidden: int = 256,
        action: str = "known",
    ) -> None:
        super().__init__(z, 0, SIDE, channels, maps, hidden)
        self.act = act_of(action, transform)
        self.margin = (transform.side - SIDE) // 2

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw an initial generator, if it is learned."""
        draw_act(self.act, generator)

    def learned(self) -> dict[str, list]:
        """What was learned of the transform, see `composed.learned_by`."""
        return learned_by(self.act)

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        drawn = super().forward(latent, code[:, :0])  # (B,1,28,28)
        return warp(drawn, in_the_plane(self.act(code)), self.margin)


class CoordinateDecoder(Decoder):
    r"""A small network computes each pixel separately, from the place in the object that the transform moves there.

    .. math:: I(p) = f \bigl( W(z) \, A(t)^{-1} p + b(z) \bigr)

    W and b come from dense layers. In spatial-VAE only b depends on z. Here W does, too, so a small f is enough;
    f runs once for each pixel of a batch.

    Parameters
    ----------
    z : length of the latent code
    transform : the task's transform, for reading its code, its matrix, and the image's side
    hidden : width of the two dense layers
    width : width of f, which has two layers; length of W·p + b
    action : how the matrix A is computed from the code, one of `composed.ACTIONS`
    """

    stride = 1
    pixels: Tensor

    def __init__(
        self, z: int, transform: Transform, hidden: int = 768, width: int = 128, action: str = "known"
    ) -> None:
        paint = nn.Sequential(  # f, for each pixel: (B,side²,width) → (B,1,side,side)
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 1),
            nn.Tanh(),
            nn.Flatten(1),
            nn.Unflatten(1, (1, transform.side, transform.side)),
        )
        super().__init__(transform.side, paint)
        self.act = act_of(action, transform)
        self.dense = nn.Sequential(nn.Linear(z, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.first = nn.Sequential(nn.Linear(hidden, width * 3), nn.Unflatten(1, (3, width)))  # W and b
        self.register_buffer("pixels", cells(self.size), persistent=False)  # (side²,2)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the first layer's biases from [-3, 3], so that units start all over the picture."""
        nn.init.uniform_(bias_of(self.first[0]), -3, 3, generator=generator)
        draw_act(self.act, generator)

    def learned(self) -> dict[str, list]:
        """What was learned of the transform, see `composed.learned_by`."""
        return learned_by(self.act)

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        """W·p + b, one row for each pixel: (B, side², width). In other decoders the maps are (B, C, S, S)."""
        places = move(inverse(self.act(code)), self.pixels.expand(len(code), -1, -1))  # (B,side²,2)
        slopes, thresholds = self.first(self.dense(latent)).split([2, 1], 1)  # (B,2,width), (B,1,width)
        return torch.baddbmm(thresholds, places, slopes)


class SpatialBroadcast(Decoder):
    """Dense layers compute numbers from [z, code]; every cell gets these and its row and column; convolutions follow.

    In the paper z itself is repeated, on a grid as fine as the image. Here dense layers first mix z with the code, and
    the grid is coarse: the painter of the article's models brings the maps to the image's size.

    Parameters
    ----------
    z, code_length : lengths of the latent code and of the transform's code
    side : side of the image, a multiple of 4
    channels : how many numbers are repeated, and feature maps of each convolution (kernel 3)
    maps : feature maps between the painter's two layers
    hidden : width of the two dense layers
    layers : number of convolutions
    """

    paint: Painter
    coordinates: Tensor

    def __init__(
        self,
        z: int,
        code_length: int,
        side: int,
        channels: int = 128,
        maps: int = 64,
        hidden: int = 512,
        layers: int = 3,
    ) -> None:
        super().__init__(side, Painter(channels, maps))
        self.dense = nn.Sequential(
            nn.Linear(z + code_length, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )
        inputs = [channels + 2] + [channels] * (layers - 1)
        self.convolutions = nn.Sequential(
            *(layer for count in inputs for layer in (nn.Conv2d(count, channels, 3, padding="same"), nn.ReLU()))
        )
        coordinates = cells(self.size).T.unflatten(1, (self.size, self.size))
        self.register_buffer("coordinates", coordinates.contiguous(), persistent=False)  # (2,S,S)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start with a dark background: all cells share weights, so learning it would darken the digit, too."""
        nn.init.constant_(bias_of(self.paint[2]), -1)

    def maps(self, latent: Tensor, code: Tensor) -> Tensor:
        repeated = self.dense(torch.cat([latent, code], 1))[..., None, None].expand(-1, -1, self.size, self.size)
        coordinates = self.coordinates.expand(len(latent), -1, -1, -1)
        return self.convolutions(torch.cat([repeated, coordinates], 1))  # (B,C,S,S)
