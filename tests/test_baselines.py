"""The baselines: their equations, and which of them move what they draw by the true transform."""

import math

import pytest
import torch

from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import count_parameters
from gencaps_lib.models.baselines import CoordinateDecoder, SpatialBroadcast, WarpedDecoder
from gencaps_lib.models.composed import KnownMatrix
from gencaps_lib.transforms import Rotation, RotationAndShift, Scale, Shear, Shift, rotate, shift, warp

NAMES = ("autoencoder-warp", "coordinate-decoder", "spatial-broadcast")


def scattered(made, generator, std=0.3):
    """A decoder that draws something: all its weights are drawn again."""
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=std, generator=generator)
    return made


@torch.no_grad()
def test_the_warped_decoder_draws_what_the_transform_makes_of_its_drawing(generator):
    latent = torch.randn(5, 3, generator=generator)
    made = scattered(WarpedDecoder(3, Shift(8), channels=4, maps=4, hidden=16), generator)
    own = made.paint(made.maps(latent, torch.zeros(5, 0)))
    assert own.shape == (5, 1, 28, 28)
    offsets = torch.tensor([[0, 0], [8, -8], [-3, 5], [1, 0], [0, -1]])
    moved = made(latent, made.act.transform.code(offsets))
    assert torch.allclose(moved, shift(own, offsets, margin=8), atol=1e-4)
    turning = WarpedDecoder(3, Rotation(), channels=4, maps=4, hidden=16)
    turning.load_state_dict(made.state_dict())
    degrees = torch.tensor([0.0, 90, 180, -90, 90])
    assert torch.allclose(turning(latent, Rotation().code(degrees[:, None])), rotate(own, degrees), atol=1e-4)


@torch.no_grad()
def test_the_coordinate_decoder_equals_naive_loops(generator):
    made = scattered(CoordinateDecoder(3, Rotation(), hidden=8, width=4), generator, std=0.6)
    latent, cos, sin = torch.randn(1, 3, generator=generator), 0.8, -0.6
    image = made(latent, torch.tensor([[cos, sin]]))
    weights = made.first(made.dense(latent))[0].T.tolist()  # (4,3)
    first, last = made.paint[1], made.paint[3]
    for i, j in [(0, 0), (13, 14), (5, 22), (27, 3), (20, 20)]:
        y, x = 2 * i / 27 - 1, 2 * j / 27 - 1
        # The inverse of the counter-clockwise turn [[cos, −sin], [sin, cos]] of (row, column).
        source = (cos * y + sin * x, -sin * y + cos * x)
        hidden = [max(0.0, a * source[0] + b * source[1] + c) for a, b, c in weights]
        second = [
            max(0.0, bias + sum(w * h for w, h in zip(row, hidden, strict=True)))
            for row, bias in zip(first.weight.tolist(), first.bias.tolist(), strict=True)
        ]
        total = last.bias.item() + sum(w * h for w, h in zip(last.weight[0].tolist(), second, strict=True))
        assert image[0, 0, i, j].item() == pytest.approx(math.tanh(total), abs=1e-5)
    assert image.std() > 0.05


@torch.no_grad()
def test_spatial_broadcast_equals_naive_loops(generator):
    made = scattered(SpatialBroadcast(3, 2, 16, channels=2, maps=2, hidden=6, layers=2), generator)
    latent, code = torch.randn(1, 3, generator=generator), torch.tensor([[0.8, -0.6]])
    said = made.dense(torch.cat([latent, code], 1))[0].tolist()
    maps = [[[value] * 4 for _ in range(4)] for value in said]
    maps.append([[2 * i / 3 - 1 for _ in range(4)] for i in range(4)])
    maps.append([[2 * j / 3 - 1 for j in range(4)] for _ in range(4)])
    for layer in (made.convolutions[0], made.convolutions[2]):
        weight, bias = layer.weight.tolist(), layer.bias.tolist()
        maps = [
            [
                [
                    max(
                        0.0,
                        bias[c]
                        + sum(
                            weight[c][k][a][b] * maps[k][i + a - 1][j + b - 1]
                            for k in range(len(maps))
                            for a in range(3)
                            for b in range(3)
                            if 0 <= i + a - 1 < 4 and 0 <= j + b - 1 < 4
                        ),
                    )
                    for j in range(4)
                ]
                for i in range(4)
            ]
            for c in range(2)
        ]
    found = made.maps(latent, code)
    assert found.shape == (1, 2, 4, 4)
    assert found.max() > 0.1
    assert torch.allclose(found[0], torch.tensor(maps), atol=1e-5)


@pytest.mark.parametrize(
    "transform",
    [Shift(8), Rotation(), Scale(), Shear(), RotationAndShift(8)],
    ids=lambda transform: type(transform).__name__,
)
@pytest.mark.parametrize("kind", [WarpedDecoder, CoordinateDecoder, SpatialBroadcast])
@torch.no_grad()
def test_only_decoders_that_are_given_the_matrix_are_equivariant(kind, transform, generator):
    """In the middle of the picture, into which nothing comes from outside."""
    told = kind is SpatialBroadcast
    made = kind(3, transform.code_length, transform.side) if told else kind(3, transform)
    scattered(made, generator, std=0.1)
    if kind is CoordinateDecoder:
        made.reset_parameters(generator)
    latent = 3 * torch.randn(4, 3, generator=generator)
    reach = {"Shift": 3, "Rotation": 150}.get(type(transform).__name__, 0.2)
    values = transform.along_grid(torch.linspace(-1, 1, 4) * reach)
    code, identity = transform.code(values), transform.code(transform.along_grid(torch.zeros(4)))
    side = transform.side
    middle = slice(side // 2 - 6, side // 2 + 6)
    drawn = made(latent, code)[..., middle, middle]
    moved = warp(made(latent, identity), KnownMatrix(transform)(code))[..., middle, middle]
    assert drawn.shape == (4, 1, 12, 12)
    error = (drawn - moved).square().mean() / moved.var(0).mean()
    assert error > 0.3 if told else error < 0.02


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("experiment", ["shift-extrapolation", "rotation-one-shot", "rotation-extrapolation"])
@pytest.mark.parametrize("profile", ["quick", "full"])
def test_codes_are_as_long_as_those_of_the_capsules_and_decoders_about_as_large(name, experiment, profile):
    entry = EXPERIMENTS[experiment].at(profile)
    with torch.device("meta"):
        capsules, baseline = entry.build("composed-capsules"), entry.build(name)
    assert baseline.z == capsules.z == 32
    ratio = count_parameters(baseline.decoder) / count_parameters(capsules.decoder)
    assert 0.8 < ratio < 1.2


@pytest.mark.parametrize("kind", [WarpedDecoder, CoordinateDecoder])
@torch.no_grad()
def test_a_baseline_with_a_learned_generator_moves_by_it_and_says_so(kind, generator):
    """With the true generator it draws what it draws with the true matrix; and G is drawn anew from the seed."""
    known, made = (kind(3, Rotation(), action=action) for action in ("known", "generator"))
    scattered(made, generator, std=0.1)
    known.load_state_dict({name: value for name, value in made.state_dict().items() if name != "act.upper"})
    made.act.upper.copy_(Rotation().generators()[:, :2])
    latent, code = torch.randn(4, 3, generator=generator), Rotation().code(torch.tensor([[-150.0], [0], [40], [170]]))
    assert torch.allclose(made(latent, code), known(latent, code), atol=1e-4)
    assert made.learned() == {"generators": Rotation().generators().tolist()}
    assert known.learned() == {}
    made.reset_parameters(torch.Generator().manual_seed(1))
    assert 0.01 < made.act.upper.abs().max() < 0.5
