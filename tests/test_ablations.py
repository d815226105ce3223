"""Continuous capsules with one part changed: each change is that change, and nothing else."""

import math

import pytest
import torch
from small import SIZES

from gencaps_lib.models import build
from gencaps_lib.models.ablations import route_by_gaussian

PLAIN = SIZES["continuous-capsules"]


def decoder(task, **changes):
    return build("changed-capsules", task, 3, **PLAIN, **changes).decoder


@pytest.fixture
def inputs(generator):
    latent = torch.randn(3, 10, generator=generator)
    return latent, torch.randn(3, 2, generator=generator)


def test_without_a_change_they_are_the_continuous_capsules(task, inputs):
    plain = build("continuous-capsules", task, 3, **PLAIN).decoder
    torch.testing.assert_close(decoder(task)(*inputs), plain(*inputs), rtol=0, atol=0)


def test_the_gaussian_kernel_equals_naive_loops(generator):
    r = 4 * torch.rand(2, 3, 2, generator=generator)
    a = torch.rand(2, 3, 5, generator=generator)
    maps = route_by_gaussian(r, a, 4, width=0.7)
    for b, c, i, j in ((0, 0, 0, 0), (1, 4, 2, 3), (0, 2, 3, 1)):
        expected = sum(
            a[b, n, c].item() * math.exp(-((r[b, n, 0].item() - i) ** 2 + (r[b, n, 1].item() - j) ** 2) / (2 * 0.7**2))
            for n in range(3)
        )
        assert maps[b, c, i, j].item() == pytest.approx(expected, rel=1e-4)


def test_linear_addresses_move_in_proportion_to_the_code_and_alike_for_every_image(task, inputs):
    latent, code = inputs
    linear, free = decoder(task, linear=True), decoder(task)
    for made, proportional in ((linear, True), (free, False)):
        home, once, twice = (made.write(latent, times * code)[0] for times in (0, 1, 2))
        assert torch.allclose(twice - home, 2 * (once - home), atol=1e-4) == proportional
        moved = [made.write(latent, code[:1].expand(3, -1))[0][k] - home[k] for k in range(3)]
        assert torch.allclose(moved[0], moved[1], atol=1e-4) == proportional


def test_still_activations_do_not_see_the_code(task, inputs):
    latent, code = inputs
    still, free = decoder(task, linear=True, still=True), decoder(task, linear=True)
    assert torch.equal(still.write(latent, code)[1], still.write(latent, -code)[1])
    assert not torch.equal(free.write(latent, code)[1], free.write(latent, -code)[1])


def test_relu_activations_can_be_zero_and_more_than_one(task, inputs):
    made = decoder(task, relu=True)
    activations = made.write(100 * inputs[0], inputs[1])[1]
    assert activations.min() == 0
    assert activations.max() > 1
