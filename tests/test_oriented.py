"""Oriented parts: the ring of orientations, the turned stamps, and what rotations do to both."""

import math

import pytest
import torch

from gencaps_lib.evaluation import equivariance_error
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import ComposedCapsules, count_parameters
from gencaps_lib.models.composed import Stamps
from gencaps_lib.models.oriented import OrientedCapsules, OrientedStamps, route_by_orientation, turn
from gencaps_lib.transforms import Rotation, Shear, affine, rotate, rotation

STEP = 180 / 8  # degrees between neighbouring orientations


def decoder(transform, action="known", elongation=4):
    """Bars all over the middle, on a black ground; latent codes of length 3 choose their places and directions."""
    generator = torch.Generator().manual_seed(0)
    made = OrientedCapsules(3, transform, action, channels=2, hidden=16, capsules=30)
    for module in made.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3, generator=generator)
            torch.nn.init.normal_(module.bias, std=0.1, generator=generator)
    made.reset_parameters(generator)
    torch.nn.init.zeros_(made.address[0].weight)
    torch.nn.init.uniform_(made.address[0].bias, -0.4, 0.4, generator=generator)
    torch.nn.init.constant_(made.paint.bias, -4)
    torch.nn.init.constant_(made.paint.amplitude, 4)
    torch.nn.init.constant_(made.paint.log_width, math.log(0.8))
    torch.nn.init.constant_(made.paint.log_length, math.log(0.8 * elongation))
    return made


@pytest.mark.parametrize("orientations", [2, 3, 8])
def test_shares_of_orientations_equal_naive_loops(orientations, generator):
    angles = 20 * torch.rand(2, 50, generator=generator) - 10
    angles[0, :3] = torch.tensor([0.0, math.pi, -math.pi])
    shares = route_by_orientation(angles, orientations)
    assert shares.shape == (2, 50, orientations)
    for b in range(2):
        for n in range(50):
            for k in range(orientations):
                apart = min(
                    abs(orientations * angles[b, n].item() / math.pi - k - turns * orientations)
                    for turns in range(-6, 7)
                )
                assert shares[b, n, k].item() == pytest.approx(max(0, 1 - apart), abs=1e-4)
    assert torch.allclose(shares.sum(2), torch.ones(2, 50), atol=1e-4)


def test_a_turn_by_a_step_moves_every_share_one_on(generator):
    angles = 10 * torch.rand(1, 50, generator=generator)
    turned = turn(rotation(torch.tensor([math.radians(STEP)])), angles)
    shares = route_by_orientation(angles, 8)
    assert torch.allclose(route_by_orientation(turned, 8), shares.roll(1, 2), atol=1e-4)
    assert not torch.allclose(shares, shares.roll(1, 2), atol=0.5)


def test_a_line_turns_as_the_points_on_it_do(generator):
    linear = torch.eye(2) + 0.7 * torch.randn(6, 2, 2, generator=generator)
    matrices = affine(linear, torch.randn(6, 2, generator=generator))
    angles = 6 * torch.rand(6, 5, generator=generator)
    found = turn(matrices, angles)
    for b in range(6):
        for n in range(5):
            start = torch.tensor([0.3, -0.2])
            end = start + torch.tensor([angles[b, n].cos(), angles[b, n].sin()])
            moved = [linear[b] @ point + matrices[b, :2, 2] for point in (start, end)]
            row, column = (moved[1] - moved[0]).tolist()
            assert math.cos(found[b, n].item() - math.atan2(column, row)) == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_turned_stamps_equal_naive_loops(generator):
    stamps = OrientedStamps(2, orientations=3)
    for parameter in stamps.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    maps = torch.rand(1, 6, 9, 9, generator=generator)
    image = stamps(maps)
    assert image.shape == (1, 1, 9, 9)
    for i in range(9):
        for j in range(9):
            total = stamps.bias.item()
            for c in range(2):
                length, width = stamps.log_length[c].exp().item(), stamps.log_width[c].exp().item()
                for k in range(3):
                    cos, sin = math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)
                    for row in range(max(0, i - 4), min(9, i + 5)):
                        for column in range(max(0, j - 4), min(9, j + 5)):
                            along = (row - i) * cos + (column - j) * sin
                            across = (column - j) * cos - (row - i) * sin
                            stamp = math.exp(-(along**2) / (2 * length**2) - across**2 / (2 * width**2))
                            total += maps[0, 3 * c + k, row, column].item() * stamps.amplitude[c].item() * stamp
            assert image[0, 0, i, j].item() == pytest.approx(math.tanh(total), abs=1e-5)


@torch.no_grad()
def test_activations_equal_naive_loops(generator):
    made, latent = decoder(Rotation()), torch.randn(2, 3, generator=generator)
    codes = Rotation().code(torch.tensor([[40.0], [-100]]))
    addresses, activations = made.write(latent, codes)
    plain_addresses, plain = ComposedCapsules.write(made, latent, codes)
    angles = made.angle(made.dense(latent))
    assert torch.equal(addresses, plain_addresses)
    assert activations.shape == (2, 30, 16)
    for b, degrees in enumerate((40, -100)):
        for n in range(30):
            place = 8 * (angles[b, n].item() / math.pi + degrees / 180)
            for c in range(2):
                for k in range(8):
                    apart = min(abs(place - k - 8 * turns) for turns in range(-9, 10))
                    expected = plain[b, n, c].item() * max(0, 1 - apart)
                    assert activations[b, n, 8 * c + k].item() == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_equal_widths_are_round_stamps(generator):
    oriented, round_stamps = OrientedStamps(2, reach=3), Stamps(2)
    oriented.log_length.copy_(round_stamps.log_width)
    oriented.log_width.copy_(round_stamps.log_width)
    shares = route_by_orientation(10 * torch.rand(5, 1, 1, generator=generator), 8)  # (5,1,1,8)
    maps = torch.rand(5, 2, 12, 12, generator=generator)
    spread = (maps[:, :, None] * shares[:, :, 0, :, None, None]).flatten(1, 2)
    assert torch.allclose(oriented(spread), round_stamps(maps), atol=1e-5)
    oriented.log_length.add_(0.5)
    assert not torch.allclose(oriented(spread), round_stamps(maps), atol=1e-2)


@torch.no_grad()
def test_a_rotation_turns_the_drawing(generator):
    made, latent = decoder(Rotation()), torch.randn(4, 3, generator=generator)
    upright = Rotation().code(torch.zeros(4, 1))
    drawn = made(latent, upright)
    assert drawn.std() > 0.2
    right = torch.tensor([90.0, 180, -90, 90])  # pixels fall on pixels, orientations on orientations
    assert torch.allclose(made(latent, Rotation().code(right[:, None])), rotate(drawn, right), atol=1e-3)
    for degrees in (STEP, 3 * STEP, -5 * STEP):
        code = Rotation().code(torch.full((4, 1), degrees))
        assert equivariance_error(made, latent, code, upright) < 0.05
        # Bars that stay as they are while their places turn give another picture.
        made.write = lambda z, t: (OrientedCapsules.write(made, z, t)[0], OrientedCapsules.write(made, z, upright)[1])
        assert equivariance_error(made, latent, code, upright) > 0.08
        del made.write


def test_a_shear_leans_the_bars(generator):
    """Bars along the rows, one below the other: sheared, they lean as the line of their places does."""
    made = decoder(Shear())
    latent = torch.zeros(1, 3)
    torch.nn.init.zeros_(made.angle.weight)
    torch.nn.init.zeros_(made.angle.bias)
    code = torch.tensor([[math.tan(math.radians(STEP))]])
    share = made.write(latent, code)[1].unflatten(2, (2, 8)).sum((0, 1, 2))
    assert share.argmax() == 1
    assert share[1] > 0.99 * share.sum()


def test_places_and_directions_move_the_generator(generator):
    made = decoder(Rotation(), "generator")
    latent, code = torch.randn(4, 3, generator=generator), Rotation().code(torch.full((4, 1), 30.0))

    def pull(loss):
        made.zero_grad()
        loss.backward()
        return made.act.upper.grad[0, :, :2].abs().max(), made.angle.weight.grad.abs().max()

    generator_pull, angle_pull = pull(made(latent, code).square().mean())
    assert generator_pull > 1e-4
    assert angle_pull > 1e-5
    assert pull(made.write(latent, code)[1].square().sum())[0] > 1e-2  # through the directions alone


def test_size_is_like_that_of_round_parts():
    for profile in ("quick", "full"):
        experiment = EXPERIMENTS["rotation-extrapolation"].at(profile)
        with torch.device("meta"):
            oriented, plain = (
                count_parameters(experiment.build(name).decoder)
                for name in ("composed-capsules-oriented", "composed-capsules")
            )
        assert 0.7 < oriented / plain < 1.1


def test_parts_start_in_every_orientation():
    experiment = EXPERIMENTS["rotation-extrapolation"].at("quick")
    bias = experiment.build("composed-capsules-oriented").decoder.angle.bias
    assert bias.min() < 0.2
    assert bias.max() > math.pi - 0.2


def test_a_ring_of_one_is_refused():
    with pytest.raises(ValueError, match="orientations must be at least 2"):
        route_by_orientation(torch.zeros(3), 1)
