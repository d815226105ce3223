"""Capsules whose addresses are moved by the transform's matrix: poses that compose.

In the article's decoders the transform's code enters the network, which can only memorise its effect. Here the network
sees only the latent code and computes where the object's parts are and what they draw. The transform moves all parts by
the same matrix, which acts in the same way on addresses that were not seen in training.

References
----------
Hinton, Krizhevsky, Wang (2011), "Transforming auto-encoders": a known transform acts on the poses of capsules.
Rao, Ruderman (1999), "Learning Lie groups for invariant visual perception": learned generators.
The decoder is ours, and so are places with a coordinate that no picture shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencaps_lib.models.parts import Autoencoder, CapsuleDecoder, bias_of
from gencaps_lib.routing import to_index_space
from gencaps_lib.transforms import Transform, affine, exponential, move

if TYPE_CHECKING:
    from gencaps_lib.tasks import Batch

INKED = 20  # side of the box that a digit fills, in pixels


class Stamps(nn.Module):
    r"""One convolution with a Gaussian stamp for each map: maps (B, C, S, S) → image (B, 1, S, S) in (-1, 1).

    .. math:: I = \tanh \Bigl( b + \sum_c M_c * k_c \Bigr), \qquad k_c(d) = h_c \, e^{-|d|^2 / 2 w_c^2}

    Equation :eq:`eq-stamps`. A stamp is the same in all directions, so it need not turn with the object.

    Parameters
    ----------
    channels : number of feature maps C
    reach : size of a stamp, in pixels on either side of its centre; it is cut off there

    Attributes
    ----------
    log_width, amplitude : (C,), the logarithm of w, in pixels, and h
    bias : (1,), b
    """

    squared_distance: Tensor

    def __init__(self, channels: int, reach: int = 3) -> None:
        super().__init__()
        self.log_width = nn.Parameter(torch.empty(channels))
        self.amplitude = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(1))
        squares = torch.arange(-reach, reach + 1.0).square()
        self.register_buffer("squared_distance", squares[:, None] + squares, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with widths from 0.6 to 1.4 pixels, faint stamps, and a dark background, not black: it still learns."""
        with torch.no_grad():
            self.log_width.copy_(torch.linspace(0.6, 1.4, len(self.log_width)).log())
        nn.init.constant_(self.amplitude, 0.25)
        nn.init.constant_(self.bias, -1.5)

    def kernels(self) -> Tensor:
        """The stamps (C, 7, 7), for a reach of 3."""
        spread = 2 * (2 * self.log_width).exp()[:, None, None]
        return self.amplitude[:, None, None] * (-self.squared_distance / spread).exp()

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.kernels()[None], self.bias, padding="same").tanh()


class KnownMatrix(nn.Module):
    """The true group: from the code (B, code_length) to the transform's true matrix (B, 3, 3)."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, code: Tensor) -> Tensor:
        return self.transform.matrix(self.transform.parameters(code))


class LearnedGenerator(nn.Module):
    r"""The group law is given, but not the generator: :math:`A(t) = e^{tG}` with a learned G.

    A transform with several parameters has one generator for each, see `matrices.exponential`.

    Parameters
    ----------
    transform : for reading its code
    coordinates : number of coordinates D of a place; those after row and column are drawn by no picture

    Attributes
    ----------
    upper : (K, D, D + 1), the generators without their last row, which is zero
    """

    def __init__(self, transform: Transform, coordinates: int = 2) -> None:
        super().__init__()
        self.transform = transform
        self.upper = nn.Parameter(torch.empty(transform.dimensions, coordinates, coordinates + 1))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start from 0.1·N(0, 1): at first, the transform does almost nothing."""
        nn.init.normal_(self.upper, std=0.1, generator=generator)

    def generators(self) -> Tensor:
        """The learned generators (K, D + 1, D + 1)."""
        return F.pad(self.upper, (0, 0, 0, 1))

    def imbalance(self) -> Tensor:
        r"""How far the generators are from letting nothing shrink or grow: a scalar, at least 0.

        .. math:: \sum_{k \text{ odd}} \Bigl( \tfrac{1}{k} \operatorname{tr} G^k \Bigr)^2, \qquad k \le D

        Equation :eq:`eq-balance`. It is 0 if and only if the eigenvalues come in pairs λ, −λ, up to zeros: seen
        backwards, the group has the same rates as forwards. For D = 3 and tr G = 0, it is (det G)². It says nothing of
        an axis, a plane or a speed.
        """
        power = linear = self.upper[..., :-1]  # (K,D,D)
        total = linear.diagonal(dim1=1, dim2=2).sum(1).square()
        for k in range(3, linear.shape[-1] + 1, 2):
            power = power @ linear @ linear
            total = total + (power.diagonal(dim1=1, dim2=2).sum(1) / k).square()
        return total.sum()

    def forward(self, code: Tensor) -> Tensor:
        return exponential(self.transform.parameters(code), self.generators(), self.transform.factors)


class LearnedMap(nn.Module):
    """No group law is given: a network computes the matrix from the code alone, so it is the same for every image."""

    def __init__(self, transform: Transform, hidden: int = 64) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(transform.code_length, hidden), nn.ReLU(), nn.Linear(hidden, 6))

    def forward(self, code: Tensor) -> Tensor:
        linear, offset = self.network(code).split([4, 2], 1)  # (B,4), (B,2)
        identity = torch.eye(2, dtype=code.dtype, device=code.device)
        return affine(identity + linear.unflatten(1, (2, 2)), offset)


ACTIONS = {"known": KnownMatrix, "generator": LearnedGenerator, "map": LearnedMap}


def learned_by(act: nn.Module) -> dict[str, list]:
    """The ``"generators"`` of an action, as plain data, if it learned them."""
    return {"generators": act.generators().tolist()} if isinstance(act, LearnedGenerator) else {}


class ComposedCapsules(CapsuleDecoder):
    r"""Parts in the object's frame, moved by the transform's matrix, and drawn by radially symmetric stamps.

    .. math:: \text{address}_n = A(t) \, p_n(z), \qquad \text{activation}_n = \sigma_n(z)

    Equation :eq:`eq-composed`. A place may have more than two coordinates: the matrix moves all of them, and the first
    two of the moved place are drawn, equation :eq:`eq-hidden`. Addresses are converted to index space as in
    `ContinuousCapsules`; the map is as large as the image.

    Parameters
    ----------
    z : length of the latent code
    transform : the task's transform, for reading its code, and the image's side
    action : how the matrix A is computed from the code, one of `ACTIONS`: ``"known"``, ``"generator"`` or ``"map"``
    channels : number of feature maps C, with one stamp each
    hidden : width of the two dense layers
    capsules : number of parts N
    coordinates : number of coordinates D of a place; more than two need a generator that is learned
    balance : weight of the generator's imbalance in the loss of a `BalancedAutoencoder`

    Attributes
    ----------
    act : code (B, code_length) → matrices (B, D + 1, D + 1)

    Raises
    ------
    ValueError
        The action is unknown, or has not so many coordinates.
    """

    stride = 1

    def __init__(
        self,
        z: int,
        transform: Transform,
        action: str = "generator",
        channels: int = 4,
        hidden: int = 512,
        capsules: int = 192,
        coordinates: int = 2,
        balance: float = 1.0,
    ) -> None:
        if action not in ACTIONS:
            raise ValueError(f"unknown action {action!r}: choose one of {', '.join(ACTIONS)}")
        learned = action == "generator"
        if coordinates < 2 or (coordinates > 2 and not learned):
            raise ValueError(f"places have two coordinates, or more if the generator is learned; got {coordinates}")
        super().__init__(transform.side, Stamps(channels))
        self.balance = balance
        self.act = LearnedGenerator(transform, coordinates) if learned else ACTIONS[action](transform)
        self.dense = nn.Sequential(nn.Linear(z, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.address = nn.Sequential(
            nn.Linear(hidden, capsules * coordinates), nn.Unflatten(1, (capsules, coordinates))
        )
        self.activation = nn.Sequential(
            nn.Linear(hidden, capsules * channels), nn.Sigmoid(), nn.Unflatten(1, (capsules, channels))
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw initial generators, and initial places of the parts all over the box that a digit fills."""
        if isinstance(self.act, LearnedGenerator):
            self.act.reset_parameters(generator)
        edge = INKED / (self.size - 1)
        nn.init.uniform_(bias_of(self.address[0]), -edge, edge, generator=generator)

    def parts(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B, N, D) in the object's frame and activations (B, N, C), from the latent code alone."""
        hidden = self.dense(latent)  # (B,hidden)
        return self.address(hidden), self.activation(hidden)

    def learned(self) -> dict[str, list]:
        """The ``"generators"`` (K, D + 1, D + 1) of the transform, if they are learned."""
        return learned_by(self.act)

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        places, activations = self.parts(latent)
        return to_index_space(move(self.act(code), places)[..., :2], self.size), activations


class BalancedAutoencoder(Autoencoder):
    """An autoencoder of composed capsules that are asked to learn a group in which nothing shrinks or grows."""

    decoder: ComposedCapsules

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """To minimise, the squared error + balance · `LearnedGenerator.imbalance`; to record, the squared error."""
        error = F.mse_loss(self(batch.images, batch.code), batch.target)
        return error + self.decoder.balance * self.decoder.act.imbalance(), error.detach()
