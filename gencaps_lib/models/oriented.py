"""Parts with an orientation, as a third address: each map has an orientation and is drawn by stamps turned to it.

A round stamp need not turn with the object, but a stroke is long and thin. Here a part has a place and a direction, and
the transform's matrix moves both. The orientation is routed like a place, by a kernel between neighbouring cells; these
cells form a ring.

References
----------
Freeman, Adelson (1991), "The design and use of steerable filters": any turned copy of a filter from a few fixed ones.
Cohen, Welling (2016), "Group equivariant convolutional networks": feature maps with an orientation as well as a place.
The decoder is ours.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencaps_lib.models.composed import ComposedCapsules
from gencaps_lib.routing import to_index_space
from gencaps_lib.transforms import Transform, move


def route_by_orientation(angles: Tensor, orientations: int) -> Tensor:
    r"""The weight of a part on each of M orientations, by the address kernel on a ring.

    .. math:: w_k(\varphi) = [1 - d_k(\varphi)]_+, \qquad d_k = \min_{j \in \mathbb Z} |M \varphi / \pi - k - jM|

    A line is the same after half a turn, so the ring's M cells, at angles k π / M, cover half a turn. An angle between
    two cells is shared by both; the weights of a part sum to one.

    Parameters
    ----------
    angles : (…), in radians; any value
    orientations : M, at least 2

    Returns
    -------
    (…, M)

    Raises
    ------
    ValueError
        Fewer than two orientations.
    """
    if orientations < 2:
        raise ValueError(f"orientations must be at least 2; got {orientations}")
    cells = torch.arange(orientations, dtype=angles.dtype, device=angles.device)
    apart = angles[..., None] * (orientations / math.pi) - cells
    half = orientations / 2
    return (1 - ((apart + half).remainder(orientations) - half).abs()).relu()


def turn(matrices: Tensor, angles: Tensor) -> Tensor:
    r"""The angles of lines after an affine map A: the direction of A's linear part times the line's direction.

    .. math:: \varphi' = \operatorname{atan2}(v_2, v_1), \qquad v = A \, (\cos \varphi, \sin \varphi)^T

    Angles are measured from the row axis, which points down, towards the column axis: a rotation by θ adds θ.

    Parameters
    ----------
    matrices : (B, 3, 3), invertible
    angles : (B, N), in radians

    Returns
    -------
    (B, N), in radians
    """
    directions = torch.stack([angles.cos(), angles.sin()], 2)  # (B,N,2)
    rows, columns = (directions @ matrices[:, :2, :2].transpose(1, 2)).unbind(2)
    return torch.atan2(columns, rows)


class OrientedStamps(nn.Module):
    r"""One convolution in which each map's stamp is a bar, a Gaussian with two widths, turned to the map's orientation.

    .. math::
        I = \tanh \Bigl( b + \sum_{c,k} M_{ck} * s_{ck} \Bigr), \qquad
        s_{ck}(d) = h_c \exp \Bigl( -\frac{(d \cdot u_k)^2}{2 l_c^2} - \frac{(d \cdot v_k)^2}{2 w_c^2} \Bigr)

    with :math:`u_k = (\cos, \sin)(k \pi / M)` along the bar and :math:`v_k` across it. If both widths are equal,
    this is `composed.Stamps` on the sum of the maps over k.

    Parameters
    ----------
    channels : number of kinds of stamps C
    orientations : number of orientations M
    reach : size of a stamp, in pixels on either side of its centre; it is cut off there

    Attributes
    ----------
    log_length, log_width, amplitude : (C,), the logarithms of l and w, in pixels, and h
    bias : (1,), b
    """

    along: Tensor
    across: Tensor

    def __init__(self, channels: int, orientations: int = 8, reach: int = 4) -> None:
        super().__init__()
        self.log_length = nn.Parameter(torch.empty(channels))
        self.log_width = nn.Parameter(torch.empty(channels))
        self.amplitude = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(1))
        span = torch.arange(-reach, reach + 1.0)
        rows, columns = span[:, None], span[None]
        angles = torch.arange(orientations)[:, None, None] * (math.pi / orientations)
        along = (rows * angles.cos() + columns * angles.sin()).square()  # (M,9,9)
        self.register_buffer("along", along, persistent=False)
        self.register_buffer("across", rows.square() + columns.square() - along, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with bars 0.6 to 1.1 pixels wide and twice as long; the rest is as in `composed.Stamps`."""
        with torch.no_grad():
            self.log_width.copy_(torch.linspace(0.6, 1.1, len(self.log_width)).log())
            self.log_length.copy_(self.log_width + math.log(2))
        nn.init.constant_(self.amplitude, 0.25)
        nn.init.constant_(self.bias, -1.5)

    def kernels(self) -> Tensor:
        """The stamps (C·M, 9, 9), for a reach of 4; the orientations of one kind follow each other."""
        length, width = (2 * (2 * log[:, None, None, None]).exp() for log in (self.log_length, self.log_width))
        bars = (-self.along / length - self.across / width).exp()  # (C,M,9,9)
        return (self.amplitude[:, None, None, None] * bars).flatten(0, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.kernels()[None], self.bias, padding="same").tanh()


class OrientedCapsules(ComposedCapsules):
    r"""Parts in the object's frame with a place and an orientation, both moved by the transform's matrix.

    .. math:: \text{address}_n = A(t) \, p_n(z), \quad \varphi'_n \text{ as turn gives it}, \quad
        \text{activation}_{nck} = \sigma_{nc}(z) \, w_k(\varphi'_n)

    For rotations, this is exact. Shear and scale also make a bar longer or thicker; these stamps do not change with
    them.

    Parameters
    ----------
    z, transform, action, channels, hidden, capsules : as in `ComposedCapsules`
    orientations : number of orientations M; each kind of stamp has one map for each orientation
    """

    def __init__(
        self,
        z: int,
        transform: Transform,
        action: str = "generator",
        channels: int = 1,
        hidden: int = 512,
        capsules: int = 192,
        orientations: int = 8,
    ) -> None:
        super().__init__(z, transform, action, channels, hidden, capsules)
        self.orientations = orientations
        self.paint = OrientedStamps(channels, orientations)
        self.angle = nn.Linear(hidden, capsules)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """As in `ComposedCapsules`; the parts start with random orientations."""
        super().reset_parameters(generator)
        nn.init.uniform_(self.angle.bias, 0, math.pi, generator=generator)

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Addresses (B, N, 2) in index space, and activations (B, N, C·M) in the order of the stamps' maps."""
        hidden, matrices = self.dense(latent), self.act(code)
        shares = route_by_orientation(turn(matrices, self.angle(hidden)), self.orientations)  # (B,N,M)
        activations = (self.activation(hidden)[..., None] * shares[:, :, None]).flatten(2)  # (B,N,C·M)
        return to_index_space(move(matrices, self.address(hidden)), self.size), activations
