"""Decoders of two objects in one picture: each object has a matrix of its own, and both write on one picture.

Parts in groups are composed capsules; the control draws a picture for each object, a layer, and moves the layers.

References
----------
Wang, Adelson (1994), "Representing moving images with layers": a picture as layers, each moved by its own affine map.
Both decoders are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gencaps_lib.models.article import ConvDecoder
from gencaps_lib.models.composed import ComposedCapsules, LearnedGenerator, Stamps, draw_act, learned_by
from gencaps_lib.models.parts import bias_of
from gencaps_lib.routing import route_by_address, to_index_space
from gencaps_lib.transforms import BACKGROUND, SIDE, Transform, exponentials, move, warp


class MatrixForEach(LearnedGenerator):
    """Learned generators, and a matrix for each factor of the transform: code → (B, F, 3, 3). They are not multiplied.

    Takes the parameters of `LearnedGenerator`. Factor i takes its own generators only, so it moves object i.
    """

    def forward(self, code: Tensor) -> Tensor:
        parameters = self.transform.parameters(code)
        return torch.stack(exponentials(parameters, self.generators(), self.transform.factors), 1)


class GroupedCapsules(ComposedCapsules):
    r"""Composed capsules in groups of equal size, one for each object; each group is moved by a matrix of its own.

    .. math:: \text{address}_n = A_{g(n)}(t) \, p_n(z)

    Equation :eq:`eq-groups`. All parts write on the same maps, which are painted once. Nobody tells the network which
    part of the picture belongs to which object.

    Parameters
    ----------
    z, transform, channels, hidden : as in `ComposedCapsules`
    capsules : number of parts N, a multiple of the number of groups

    Raises
    ------
    ValueError
        The number of parts is no multiple of the number of groups.
    """

    paint: Stamps

    def __init__(self, z: int, transform: Transform, channels: int = 4, hidden: int = 512, capsules: int = 192) -> None:
        super().__init__(z, transform, channels=channels, hidden=hidden, capsules=capsules)
        self.act, self.groups = MatrixForEach(transform), len(transform.factors)
        if capsules % self.groups:
            raise ValueError(f"the capsules must be a multiple of the {self.groups} groups; got {capsules}")

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        places, activations = self.parts(latent)
        grouped = places.unflatten(1, (self.groups, -1)).flatten(0, 1)  # (B·F,N/F,2)
        moved = move(self.act(code).flatten(0, 1), grouped).reshape_as(places)
        return to_index_space(moved, self.size), activations

    def layers(self, latent: Tensor, code: Tensor) -> Tensor:
        """What each group draws alone, before it is added and painted: ink (B, F, side, side), at least 0."""
        ink = self.paint.painted(self._maps_of_each(latent, code)) - bias_of(self.paint)  # (B·F,1,S,S)
        return ink.clamp(min=0).view(len(latent), self.groups, *ink.shape[2:])

    def _maps_of_each(self, latent: Tensor, code: Tensor) -> Tensor:
        """The maps that each group writes (B·F, C, S, S)."""
        addresses, activations = self.write(latent, code)
        where, what = (each.unflatten(1, (self.groups, -1)).flatten(0, 1) for each in (addresses, activations))
        return route_by_address(where, what, self.size)


class AddedCapsules(GroupedCapsules):
    """Composed capsules in groups, each painted by itself. Their pictures are added as those of `LayeredDecoder`.

    A control of `GroupedCapsules`, whose painter sees all groups at once and does not add as the targets are added.

    Takes the parameters of `GroupedCapsules`.
    """

    def layers(self, latent: Tensor, code: Tensor) -> Tensor:
        """What each group adds to the picture: ink (B, F, side, side), from 0 to 1."""
        pictures = self.paint(self._maps_of_each(latent, code))  # (B·F,1,S,S)
        return (pictures - BACKGROUND).view(len(latent), self.groups, *pictures.shape[2:]) / 2

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        return added(self.layers(latent, code))


class LayeredDecoder(ConvDecoder):
    """The autoencoder's decoder draws a picture for each object, a layer, from z alone; a matrix moves each layer.

    Layers are ink from 0 to 1; moved layers are added, to white at most, as the targets are.

    Parameters
    ----------
    z : length of the latent code
    transform : the task's transform, for reading its code, the number of its factors, and the image's side
    channels, maps, hidden : as in `ConvDecoder`
    """

    paint: nn.Sequential

    def __init__(self, z: int, transform: Transform, channels: int = 64, maps: int = 32, hidden: int = 256) -> None:
        super().__init__(z, 0, SIDE, channels, maps, hidden)
        self.act = MatrixForEach(transform)
        self.margin = (transform.side - SIDE) // 2
        last = nn.ConvTranspose2d(maps, len(transform.factors), 4, stride=2, padding=1)
        self.paint = nn.Sequential(self.paint[0], self.paint[1], last, nn.Sigmoid())

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw an initial generator, and start with faint layers: where the sum is above white, nothing is learned."""
        draw_act(self.act, generator)
        nn.init.constant_(bias_of(self.paint[2]), -2)

    def learned(self) -> dict[str, list]:
        """What was learned of the transform, see `composed.learned_by`."""
        return learned_by(self.act)

    def layers(self, latent: Tensor, code: Tensor) -> Tensor:
        """What each layer adds to the picture: ink (B, F, side, side), from 0 to 1."""
        drawn = super().forward(latent, code[:, :0])  # (B,F,28,28)
        matrices = self.act(code)
        flat = 2 * drawn.flatten(0, 1)[:, None] + BACKGROUND  # (B·F,1,28,28)
        moved = warp(flat, matrices.flatten(0, 1), self.margin)
        return (moved[:, 0] - BACKGROUND).view(*drawn.shape[:2], *moved.shape[2:]) / 2

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        return added(self.layers(latent, code))


def added(layers: Tensor) -> Tensor:
    """The picture (B, 1, S, S) of layers of ink (B, F, S, S): their sum, to white at most."""
    return 2 * layers.sum(1, keepdim=True).clamp(max=1) + BACKGROUND
