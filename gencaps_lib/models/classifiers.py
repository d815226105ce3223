"""Capsules that recognise, for comparison: the network with routing by agreement, and a plain network.

Both see the *transformed* image and say which digit it is. They have the same two convolutions. After these, they have
equal numbers of weights: matrices for the votes of primary capsules for digit capsules, or a dense layer.

References
----------
Sabour, Frosst, Hinton (2017), "Dynamic Routing Between Capsules": squash (equation 1), votes and routing (equations 2
and 3, procedure 1), margin loss (equation 4), the network and its decoder (figures 1 and 2).
Jaderberg, Simonyan, Zisserman, Kavukcuoglu (2015), "Spatial Transformer Networks": a network that moves its picture.
Glorot, Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks": the
initial weights.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencaps_lib.models.parts import bias_of
from gencaps_lib.transforms import BACKGROUND, SIDE, Rotation, check_images, inverse, warp

if TYPE_CHECKING:
    from gencaps_lib.tasks import Batch

CLASSES = 10
RECONSTRUCTION_WEIGHT = 0.0005  # weight of the sum of squared errors over pixels in [0, 1]


def squash(vectors: Tensor) -> Tensor:
    r"""Shorten vectors (…, D) to a length below one and keep their direction.

    .. math:: \mathrm{squash}(s) = \frac{|s|^2}{1 + |s|^2} \, \frac{s}{|s|} = \frac{|s|}{1 + |s|^2} \, s

    Equation :eq:`eq-squash`, equation 1 of Sabour et al. (2017). The second form does not divide by the length, so zero
    stays zero and has a gradient. Entries may have any finite value of their dtype.
    """
    # Large vectors are divided by their largest entry g, because the square of their length could overflow. With t =
    # s/g the result is |t| / (1/g² + |t|²) · t. Gradients treat g as a constant.
    scale = vectors.detach().abs().amax(-1, keepdim=True).clamp(min=1)
    small = vectors / scale
    length = torch.linalg.vector_norm(small, dim=-1, keepdim=True)
    return small * length / (scale.reciprocal().square() + length.square())


def route_by_agreement(votes: Tensor, iterations: int = 3) -> tuple[Tensor, Tensor]:
    r"""Dynamic routing: each child is shared among the parents; parents that agree with its vote get a growing share.

    The logits start at :math:`b_{nj} = 0`. Each iteration computes:

    .. math::
        c_{nj} = \frac{\exp b_{nj}}{\sum_{j'} \exp b_{nj'}}, \qquad
        v_j = \mathrm{squash}\Big(\sum_n c_{nj} \hat u_{nj}\Big), \qquad
        b_{nj} \leftarrow b_{nj} + \hat u_{nj} \cdot v_j

    Equations :eq:`eq-votes` and :eq:`eq-agreement`, procedure 1 of Sabour et al. (2017). Gradients treat the
    couplings as constants: they flow only through the last sum and its squash. This is our choice, which halves the
    cost; the paper does not say.

    Parameters
    ----------
    votes : (B, N, J, D), child n's vote :math:`\hat u_{nj}` for the pose of parent j
    iterations : how often the parents are computed; 1 means a plain average without routing

    Returns
    -------
    The parents' vectors :math:`v_j`, (B, J, D), and the couplings :math:`c_{nj}`, (B, N, J).

    Raises
    ------
    ValueError
        Votes of another shape, or fewer than one iteration.
    """
    if votes.dim() != 4 or votes.numel() == 0:
        raise ValueError(f"votes must have shape (B, N, J, D), each size at least 1; got {tuple(votes.shape)}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1; got {iterations}")
    fixed = votes.detach()
    logits = votes.new_zeros(votes.shape[:3])  # (B,N,J)
    for _ in range(iterations - 1):
        parents = _parents(logits, fixed)[0]
        logits = logits + torch.einsum("bnjd,bjd->bnj", fixed, parents)
    return _parents(logits, votes)


def _parents(logits: Tensor, votes: Tensor) -> tuple[Tensor, Tensor]:
    couplings = logits.softmax(2)  # over the PARENTS j: a child's couplings sum to one
    return squash(torch.einsum("bnj,bnjd->bjd", couplings, votes)), couplings  # (B,J,D), (B,N,J)


def margin_loss(
    lengths: Tensor, labels: Tensor, present: float = 0.9, absent: float = 0.1, down: float = 0.5
) -> Tensor:
    r"""The loss of digit capsules' lengths, summed over the digits; the mean over the batch.

    .. math::
        L_j = T_j \max(0, m^+ - |v_j|)^2 + \lambda (1 - T_j) \max(0, |v_j| - m^-)^2

    Equation :eq:`eq-margin-loss`, equation 4 of Sabour et al. (2017). Both margins are squared.

    Parameters
    ----------
    lengths : (B, J), the :math:`|v_j|`
    labels : (B,), the digit in each image: :math:`T_j` is 1 for this digit and 0 for the others
    present, absent : the margins :math:`m^+` and :math:`m^-`
    down : λ, the weight of the absent digits

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    if lengths.dim() != 2 or labels.shape != lengths.shape[:1]:
        raise ValueError(
            f"lengths must have shape (B, J) and labels (B,); got {tuple(lengths.shape)} and {tuple(labels.shape)}"
        )
    there = F.one_hot(labels, lengths.shape[1]).to(lengths.dtype)  # (B,J)
    too_short = (present - lengths).relu().square()
    too_long = (lengths - absent).relu().square()
    return (there * too_short + down * (1 - there) * too_long).sum(1).mean()


class _Classifier(nn.Module):
    """The common part: two convolutions with a ReLU between them, and initial weights that depend on a seed."""

    def __init__(self, maps: int, kernel: int, types: int, pose: int, digit_pose: int, image: int) -> None:
        super().__init__()
        side = (image - 2 * (kernel - 1) - 1) // 2 + 1  # of the map of primary capsules
        if min(maps, kernel, types, pose, digit_pose, side) < 1:
            raise ValueError(
                f"sizes must be at least 1, and the kernel must fit two convolutions of {image}×{image} pixels; "
                f"got maps {maps}, kernel {kernel}, types {types}, pose {pose}, digit_pose {digit_pose}"
            )
        self.side = image
        self.primaries = types * side**2  # number of primary capsules N
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, maps, kernel),
            nn.ReLU(),
            nn.Conv2d(maps, types * pose, kernel, stride=2),  # (B,types·pose,side,side)
        )

    def _draw_weights(self, seed: int) -> None:
        """Draw Glorot-uniform float32 weights, with the fans of one matrix for votes; set biases to zero."""
        self.float()  # PyTorch's default dtype may be another
        generator = torch.Generator().manual_seed(operator.index(seed))
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(bias_of(module))
            elif isinstance(module, CapsNet):
                *_, outputs, inputs = module.weight.shape
                bound = (6 / (inputs + outputs)) ** 0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)

    def features(self, images: Tensor) -> Tensor:
        """The convolutions' maps (B, types · P, S, S) for images (B, 1, side, side)."""
        check_images(images)
        side = self.side
        if images.shape[2:] != (side, side):
            raise ValueError(f"this classifier needs images of {side}×{side} pixels; got {tuple(images.shape)}")
        return self.convolutions(images)


class CapsNet(_Classifier):
    """The capsule network of Sabour et al. (2017): images (B, 1, side, side) → lengths of ten digit capsules (B, 10).

    The second convolution gives the primary capsules: one of each type at each place of its map. A primary capsule has
    a matrix for each digit capsule, with which it votes for that capsule's pose; the votes are routed by agreement. A
    small decoder draws the image from the capsule of the correct digit, as a regulariser. Default sizes are the
    paper's.

    Parameters
    ----------
    maps, kernel : feature maps of the first convolution, and side of both kernels; the second convolution has stride 2
    types, pose : number of types of primary capsules, and length P of their vectors
    digit_pose : length D of a digit capsule's vector
    iterations : iterations of the routing
    decoder : widths of the decoder's two hidden layers
    seed : seed of the weights; the global generator is not changed
    side : side of the images, in pixels

    Attributes
    ----------
    weight : (N, 10, D, P), the matrices that turn primary capsules into votes
    """

    def __init__(
        self,
        maps: int = 256,
        kernel: int = 9,
        types: int = 32,
        pose: int = 8,
        digit_pose: int = 16,
        iterations: int = 3,
        decoder: tuple[int, int] = (512, 1024),
        seed: int = 0,
        side: int = SIDE,
    ) -> None:
        # PyTorch's layers draw initial weights from the global generator; `_draw_weights` draws them again.
        with torch.random.fork_rng(devices=[]):
            super().__init__(maps, kernel, types, pose, digit_pose, side)
            self.weight = nn.Parameter(torch.empty(self.primaries, CLASSES, digit_pose, pose))
            self.decoder = nn.Sequential(
                nn.Linear(CLASSES * digit_pose, decoder[0]),
                nn.ReLU(),
                nn.Linear(decoder[0], decoder[1]),
                nn.ReLU(),
                nn.Linear(decoder[1], side**2),
                nn.Sigmoid(),
                nn.Unflatten(1, (1, side, side)),
            )
        self.iterations = iterations
        self._draw_weights(seed)

    def primary_capsules(self, images: Tensor) -> Tensor:
        """The vectors (B, N, P) of the primary capsules."""
        vectors = self.features(images).unflatten(1, (-1, self.weight.shape[3]))  # (B,types,P,S,S)
        return squash(vectors.movedim(2, -1).flatten(1, 3))  # (B,types·S·S,P)

    def digit_capsules(self, images: Tensor) -> Tensor:
        """The vectors (B, 10, D) of the digit capsules, by :eq:`eq-votes`; long if the digit is present."""
        votes = torch.einsum("bnp,njdp->bnjd", self.primary_capsules(images), self.weight)  # (B,N,10,D)
        return route_by_agreement(votes, self.iterations)[0]

    def forward(self, images: Tensor) -> Tensor:
        """The lengths (B, 10) of the digit capsules."""
        return torch.linalg.vector_norm(self.digit_capsules(images), dim=2)

    def reconstruct(self, capsules: Tensor, labels: Tensor) -> Tensor:
        """Draw images (B, 1, side, side) in [-1, 1], each from the capsule, of (B, 10, D), of its label (B,)."""
        there = F.one_hot(labels, CLASSES).to(capsules.dtype)
        return self.decoder((capsules * there[..., None]).flatten(1)) * 2 - 1

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """To minimise, the margin loss + 0.0005 × the reconstruction's squared errors; to record, the margin loss."""
        capsules = self.digit_capsules(batch.target)
        margin = margin_loss(torch.linalg.vector_norm(capsules, dim=2), batch.labels)
        # The paper's pixels are in [0, 1]: errors are half as large as here, and their squares a quarter.
        error = (self.reconstruct(capsules, batch.labels) - batch.target).square().sum((1, 2, 3)).mean() / 4
        return margin + RECONSTRUCTION_WEIGHT * error, margin.detach()


class PlainClassifier(_Classifier):
    """The same network without capsules: a dense layer and ReLUs; images (B, 1, side, side) → scores (B, 10).

    Takes the sizes of `CapsNet`. The dense layer has 10 · `digit_pose` units, one for each number in the digit
    capsules. So it has as many weights as the matrices for the votes.
    """

    def __init__(
        self,
        maps: int = 256,
        kernel: int = 9,
        types: int = 32,
        pose: int = 8,
        digit_pose: int = 16,
        seed: int = 0,
        side: int = SIDE,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            super().__init__(maps, kernel, types, pose, digit_pose, side)
            self.dense = nn.Sequential(
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(self.primaries * pose, CLASSES * digit_pose),
                nn.ReLU(),
                nn.Linear(CLASSES * digit_pose, CLASSES),
            )
        self._draw_weights(seed)

    def forward(self, images: Tensor) -> Tensor:
        """The scores (B, 10): logits of the digits."""
        return self.dense(self.features(images))

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The cross-entropy, twice: to minimise, and to record."""
        loss = F.cross_entropy(self(batch.target), batch.labels)
        return loss, loss.detach()


class SpatialTransformer(PlainClassifier):
    """A plain network that first moves its picture, by an affine map that it computes from the picture itself.

    Its loss is that of the names alone, so nobody tells it how a picture is turned. Takes the sizes of
    `PlainClassifier`.

    Attributes
    ----------
    locate : images (B, 1, side, side) → the six numbers (B, 6) that the map differs by from the identity
    """

    def __init__(self, maps: int = 256, seed: int = 0, side: int = SIDE, **sizes: int) -> None:
        with torch.random.fork_rng(devices=[]):
            super().__init__(maps, **sizes, seed=seed, side=side)
            rest = ((side - 4) // 2 - 4) // 2  # side of the maps after both convolutions and halvings
            self.locate = nn.Sequential(
                nn.Conv2d(1, 20, 5),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Conv2d(20, 20, 5),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(20 * rest**2, 32),
                nn.ReLU(),
                nn.Linear(32, 6),
            )
        self._draw_weights(seed)
        with torch.no_grad():  # at first it hardly moves anything
            cast(nn.Linear, self.locate[-1]).weight.mul_(0.1)

    def moved(self, images: Tensor) -> Tensor:
        """The images (B, 1, side, side) as the network moves them before it names them."""
        check_images(images)
        identity = torch.eye(2, 3, dtype=images.dtype, device=images.device)
        grid = F.affine_grid(
            identity + self.locate(images).unflatten(1, (2, 3)), list(images.shape), align_corners=True
        )
        return F.grid_sample(images - BACKGROUND, grid, align_corners=True) + BACKGROUND

    def forward(self, images: Tensor) -> Tensor:
        """The scores (B, 10): logits of the digits."""
        return super().forward(self.moved(images))


class SurestUpright(PlainClassifier):
    """A control of `backwards.Backwards`: it knows upright digits only, and turns back to where it is surest.

    A picture is turned back by the same candidates, with the true matrix. The answer is that for the candidate at
    which one digit has the largest share. Nothing is drawn. Takes the sizes of `PlainClassifier`.
    """

    at_once = 200  # pictures searched at once

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The cross-entropy for the *untransformed* digits, twice: to minimise, and to record."""
        draws = len(batch.labels) // len(batch.images)
        loss = F.cross_entropy(super().forward(batch.images), batch.labels[::draws])
        return loss, loss.detach()

    def forward(self, images: Tensor) -> Tensor:
        """The digits' shares (B, 10) for the candidate at which the network is surest."""
        check_images(images)
        return torch.cat([self._surest(piece) for piece in images.split(self.at_once)])

    def _surest(self, images: Tensor) -> Tensor:
        (degrees,) = Rotation().candidates()
        degrees = degrees.to(images)
        back = inverse(Rotation().matrix(degrees.deg2rad())).repeat(len(images), 1, 1)  # (B·T,3,3)
        turned = warp(images.repeat_interleave(len(degrees), 0), back)
        shares = super().forward(turned).softmax(1).unflatten(0, (-1, len(degrees)))  # (B,T,10)
        surest = shares.amax(2).argmax(1)
        return shares[torch.arange(len(images), device=images.device), surest]


CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "capsnet": CapsNet,
    "plain-classifier": PlainClassifier,
    "spatial-transformer": SpatialTransformer,
    "surest-upright": SurestUpright,
}
