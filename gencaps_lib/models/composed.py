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

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencaps_lib.models.parts import Autoencoder, CapsuleDecoder, bias_of
from gencaps_lib.routing import to_index_space
from gencaps_lib.transforms import Transform, affine, exponential, inverse, move

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

    def painted(self, maps: Tensor) -> Tensor:
        """What the stamps and the background add up to, (B, 1, S, S), before the tanh."""
        return F.conv2d(maps, self.kernels()[None], self.bias, padding="same")

    def forward(self, maps: Tensor) -> Tensor:
        return self.painted(maps).tanh()


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
        r"""How far growing and shrinking are from cancelling: a scalar, at least 0.

        .. math:: \sum_{k \text{ odd}} \Bigl( \tfrac{1}{k} \operatorname{tr} G^k \Bigr)^2, \qquad k \le D

        Equation :eq:`eq-balance`. It is 0 if and only if the eigenvalues come in pairs λ, −λ, up to zeros: seen
        backwards, the group has the same rates as forwards. For D = 3 and tr G = 0, it is (det G)². For an
        odd D one direction stays; which one it does not say, and it says nothing of a plane or a speed.
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
        self.transform = transform
        self.network = nn.Sequential(nn.Linear(transform.code_length, hidden), nn.ReLU(), nn.Linear(hidden, 6))

    def forward(self, code: Tensor) -> Tensor:
        linear, offset = self.network(code).split([4, 2], 1)  # (B,4), (B,2)
        identity = torch.eye(2, dtype=code.dtype, device=code.device)
        return affine(identity + linear.unflatten(1, (2, 2)), offset)


class LearnedLinear(nn.Module):
    """No group law is given, and no network: the matrix is linear in the code, and its numbers are learned.

    Where the code of the identity is zero, as that of a shift is, a linear map could not give the identity. So there a
    1 is put before the code. The true matrix is linear in this sense for rotation, shift and shear, not for scale.

    Parameters
    ----------
    transform : for reading its code
    constant : put a 1 before the code in any case

    Attributes
    ----------
    upper : (L, 2, 3), the upper rows of a matrix for each number of the code, and for the 1 if there is one
    start : (L,), the code of the identity, with the 1 if there is one
    """

    start: Tensor

    def __init__(self, transform: Transform, constant: bool = False) -> None:
        super().__init__()
        self.transform = transform
        # Its value is read, also where a model is built without memory, on the device "meta".
        with torch.device("cpu"):
            code = transform.code(transform.along_grid(torch.zeros(1)))[0]
            self.with_one = constant or not code.any()
            start = torch.cat([torch.ones(1), code]) if self.with_one else code
        self.register_buffer("start", start.to(torch.get_default_device()), persistent=False)
        self.upper = nn.Parameter(torch.empty(len(self.start), 2, 3))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start with the identity at the code of the identity, plus 0.1·N(0, 1)."""
        nn.init.normal_(self.upper, std=0.1, generator=generator)
        with torch.no_grad():
            self.upper.add_(self.start[:, None, None] * torch.eye(2, 3) / self.start.square().sum())

    def forward(self, code: Tensor) -> Tensor:
        if self.with_one:
            code = F.pad(code, (1, 0), value=1)
        rows = torch.einsum("bk,kij->bij", code, self.upper)  # (B,2,3)
        return affine(rows[..., :2], rows[..., 2])


def known_coordinates(transform: Transform) -> int:
    """How many coordinates a transform's true matrix moves: two, or three if it turns what has depth."""
    with torch.device("cpu"):  # the shape is read, also where a model is built on the device "meta"
        code = transform.code(transform.along_grid(torch.zeros(1)))
        return transform.matrix(transform.parameters(code)).shape[-1] - 1


ACTIONS: dict[str, Callable[[Transform], nn.Module]] = {
    "known": KnownMatrix,
    "generator": LearnedGenerator,
    "map": LearnedMap,
    "linear": LearnedLinear,
    "affine": partial(LearnedLinear, constant=True),
}


def act_of(action: str, transform: Transform) -> nn.Module:
    """A new module of `ACTIONS`: code (B, code_length) → matrices (B, 3, 3). A ValueError for an unknown action."""
    if action not in ACTIONS:
        raise ValueError(f"unknown action {action!r}: choose one of {', '.join(ACTIONS)}")
    return ACTIONS[action](transform)


def draw_act(act: nn.Module, generator: torch.Generator | None) -> None:
    """Draw the initial numbers of a module of `ACTIONS` that no other layer draws."""
    if isinstance(act, (LearnedGenerator, LearnedLinear)):
        act.reset_parameters(generator)


def learned_by(act: nn.Module) -> dict[str, list]:
    """What a module of `ACTIONS` learned: ``"generators"`` (K, D + 1, D + 1), ``"linear"`` (L, 2, 3), or nothing."""
    if isinstance(act, LearnedGenerator):
        return {"generators": act.generators().tolist()}
    return {"linear": act.upper.tolist()} if isinstance(act, LearnedLinear) else {}


class _Parts(CapsuleDecoder):
    """Dense layers make the parts from the latent code alone; stamps draw them."""

    stride = 1

    def _layers(self, z: int, hidden: int, capsules: int, channels: int, *numbers: int) -> None:
        """Make the layers; a part has activations for the channels, and for its address numbers of this shape."""
        self.dense = nn.Sequential(nn.Linear(z, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.address = nn.Sequential(
            nn.Linear(hidden, capsules * math.prod(numbers)), nn.Unflatten(1, (capsules, *numbers))
        )
        self.activation = nn.Sequential(
            nn.Linear(hidden, capsules * channels), nn.Sigmoid(), nn.Unflatten(1, (capsules, channels))
        )

    def parts(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B, N, D) in the object's frame, or other numbers for addresses, and activations (B, N, C)."""
        hidden = self.dense(latent)  # (B,hidden)
        return self.address(hidden), self.activation(hidden)


class ComposedCapsules(_Parts):
    r"""Parts in the object's frame, moved by the transform's matrix, and drawn by radially symmetric stamps.

    .. math:: \text{address}_n = A(t) \, p_n(z), \qquad \text{activation}_n = \sigma_n(z)

    Equation :eq:`eq-composed`. A place may have more than two coordinates: the matrix moves all of them, and the first
    two of the moved place are drawn, equation :eq:`eq-hidden`. Addresses are converted to index space as in
    `ContinuousCapsules`; the map is as large as the image.

    Parameters
    ----------
    z : length of the latent code
    transform : the task's transform, for reading its code, and the image's side
    action : how the matrix A is computed from the code, one of `ACTIONS`: ``"known"``, ``"generator"``, ``"linear"``,
        ``"affine"`` (linear, with a constant) or ``"map"``
    channels : number of feature maps C, with one stamp each
    hidden : width of the two dense layers
    capsules : number of parts N
    coordinates : number of coordinates D of a place; more than two need a generator that is learned, or a known matrix
        that moves as many

    Attributes
    ----------
    act : code (B, code_length) → matrices (B, D + 1, D + 1)

    Raises
    ------
    ValueError
        The action is unknown, or has not so many coordinates.
    """

    def __init__(
        self,
        z: int,
        transform: Transform,
        action: str = "generator",
        channels: int = 4,
        hidden: int = 512,
        capsules: int = 192,
        coordinates: int = 2,
    ) -> None:
        learned = action == "generator"
        moved = known_coordinates(transform) if action == "known" else 2
        if coordinates < 2 or (coordinates not in (2, moved) and not learned):
            raise ValueError(
                "places have two coordinates, or more if the generator is learned or the known matrix moves as many; "
                f"got {coordinates}"
            )
        super().__init__(transform.side, Stamps(channels))
        self.act = LearnedGenerator(transform, coordinates) if learned else act_of(action, transform)
        self._layers(z, hidden, capsules, channels, coordinates)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw initial generators, and initial places of the parts all over the box that a digit fills."""
        draw_act(self.act, generator)
        edge = INKED / (self.size - 1)
        nn.init.uniform_(bias_of(self.address[0]), -edge, edge, generator=generator)

    def learned(self) -> dict[str, list]:
        """What was learned of the transform, see `learned_by`."""
        return learned_by(self.act)

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        places, activations = self.parts(latent)
        return to_index_space(move(self.act(code), places)[..., :2], self.size), activations


class LinearParts(_Parts):
    r"""Parts that obey no common law: the address of each is linear in the code, with coefficients of its own.

    .. math:: \text{address}_n = P_n(z) \, (1, c)

    Equation :eq:`eq-linear-parts`. A control of `ComposedCapsules` with a hidden coordinate: where c is the cosine and
    the sine of an angle, a part's row and column in any view of a turn in space are of this form.

    Parameters
    ----------
    z : length of the latent code
    transform : the task's transform, for the length of its code, and the image's side
    channels, hidden, capsules : as in `ComposedCapsules`
    """

    def __init__(self, z: int, transform: Transform, channels: int = 4, hidden: int = 512, capsules: int = 192) -> None:
        super().__init__(transform.side, Stamps(channels))
        self.numbers = 1 + transform.code_length
        self._layers(z, hidden, capsules, channels, 2, self.numbers)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw initial places of the parts all over the box that a digit fills, at every code."""
        edge = INKED / (self.size - 1)
        constants = bias_of(self.address[0])[:: self.numbers]
        nn.init.uniform_(constants, -edge, edge, generator=generator)

    def write(self, latent: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        coefficients, activations = self.parts(latent)  # (B,N,2,1+L), (B,N,C)
        told = F.pad(code, (1, 0), value=1)  # (B,1+L)
        addresses = (coefficients @ told[:, None, :, None])[..., 0]  # (B,N,2)
        return to_index_space(addresses, self.size), activations


class MovedStamps(Stamps):
    r"""Stamps that the transform moves, too: maps (B, C, S, S) and its linear parts L (B, 2, 2) → image (B, 1, S, S).

    .. math:: k_c(d) = h_c \, e^{-|L^{-1} d|^2 / 2 w_c^2}

    A stamp grows with an object that grows and leans with one that leans; under a rotation it stays as it is. Takes the
    parameters of `Stamps`.

    References
    ----------
    Kerbl, Kopanas, Leimkühler, Drettakis (2023), "3D Gaussian Splatting for Real-Time Radiance Field Rendering":
    Gaussians whose shape a linear map moves.
    """

    offsets: Tensor

    def __init__(self, channels: int, reach: int = 6) -> None:
        super().__init__(channels, reach)
        steps = torch.arange(-reach, reach + 1.0)
        self.register_buffer("offsets", torch.cartesian_prod(steps, steps), persistent=False)  # (side²,2), d

    def moved(self, maps: Tensor, linear: Tensor) -> Tensor:
        """The image (B, 1, S, S) of maps (B, C, S, S), with stamps moved by linear parts (B, 2, 2)."""
        back = self.offsets @ inverse(affine(linear, torch.zeros_like(linear[..., 0])))[:, :2, :2].mT  # (B,side²,2)
        spread = 2 * (2 * self.log_width).exp()[:, None]
        kernels = self.amplitude[:, None] * (-back.square().sum(2)[:, None] / spread).exp()  # (B,C,side²)
        reach, size = len(self.squared_distance) // 2, maps.shape[-1]
        # Every picture has its own stamps, so the convolution is a product of Fourier transforms, padded by the reach.
        padded = (size + 2 * reach, size + 2 * reach)
        stamps = kernels.unflatten(2, self.squared_distance.shape)
        product = (torch.fft.rfft2(maps, padded) * torch.fft.rfft2(stamps, padded)).sum(1, keepdim=True)
        painted = torch.fft.irfft2(product, padded)[..., reach : reach + size, reach : reach + size]
        return (painted + self.bias).tanh()


class GrowingCapsules(ComposedCapsules):
    """Composed capsules whose stamps are moved by the transform's matrix as their addresses are.

    Takes the parameters of `ComposedCapsules`.
    """

    paint: MovedStamps

    def __init__(self, z: int, transform: Transform, **sizes: Any) -> None:
        super().__init__(z, transform, **sizes)
        self.paint = MovedStamps(len(self.paint.log_width))

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        return self.paint.moved(self.maps(latent, code), self.act(code)[:, :2, :2])


class BalancedAutoencoder(Autoencoder):
    """An autoencoder of composed capsules that are asked to learn a group in which growing and shrinking cancel."""

    decoder: ComposedCapsules

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """To minimise, the squared error + `LearnedGenerator.imbalance`; to record, the squared error."""
        error = F.mse_loss(self(batch.images, batch.code), batch.target)
        act = cast(LearnedGenerator, self.decoder.act)
        return error + act.imbalance(), error.detach()
