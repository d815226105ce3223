"""A network that draws, run backwards: its search, and that to name changes nothing of what it draws."""

import math

import pytest
import torch
from small import SIZES
from torch import nn

from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import BACKWARDS, Backwards, SurestUpright, make
from gencaps_lib.tasks import draw_batch
from gencaps_lib.transforms import Rotation, inverse, rotate, warp

TASK = EXPERIMENTS["rotation-backwards"].at("smoke").task


def small(name="capsules-backwards", seed=0):
    return make(name, Rotation(), seed, z=8, **SIZES[BACKWARDS[name]])


class Perfect(nn.Module):
    """It draws upright whatever it was shown in its own way: a dark picture where the shown one is not a bar on top."""

    z = 28 * 28

    def __init__(self, upright):
        super().__init__()
        self.register_buffer("upright", upright)
        self.decoder = nn.Module()
        self.decoder.act = make("composed-capsules-known", Rotation(), **SIZES["composed-capsules"]).decoder.act

    def encode(self, images):
        return images.flatten(1)

    def decode(self, latent, code):
        return warp(self.upright.expand(len(latent), -1, -1, -1), self.decoder.act(code))


@torch.no_grad()
@pytest.mark.equation("eq-candidate")
@pytest.mark.parametrize("name", BACKWARDS)
def test_the_error_of_a_candidate_is_that_of_its_own_drawing(name, digits):
    model = small(name).eval()
    images = rotate(digits.images[:2], torch.tensor([40.0, -70.0]))
    latents, errors = model.search(images)
    assert latents.shape == (2, 36, 8)
    for place in (1, 9, 20):  # not -180°, which is 180°, too
        code = Rotation().code(torch.tensor([[-180.0 + 10 * place]]))
        for b in range(2):
            back = warp(images[b, None], inverse(model.drawer.decoder.act(code)))
            latent = model.drawer.encode(back)
            difference = model.drawer.decode(latent, code)[0, 0] - images[b, 0]
            mean = sum(value**2 for row in difference.tolist() for value in row) / 28**2
            assert errors[b, place].item() == pytest.approx(mean, rel=1e-4)
            assert torch.allclose(latents[b, place], latent[0], atol=1e-4)


@torch.no_grad()
def test_the_angle_is_found_by_one_that_can_draw_the_upright_digit_only(digits):
    upright = digits.of(4).images[:1]
    model = Backwards(Perfect(upright))
    for angle in (-150.0, -40, 0, 90, 130):
        errors = model.search(rotate(upright, torch.tensor([angle]))).errors
        assert -180 + 10 * errors[0].argmin().item() == angle


@torch.no_grad()
def test_it_names_the_latent_code_of_the_best_candidate(digits):
    model = small().eval()
    images = digits.images[:45]  # more than are searched at once
    latents, errors = model.search(images)
    best = torch.stack([latents[b, errors[b].argmin()] for b in range(45)])
    assert torch.allclose(model(images), model.namer(best), atol=1e-4)


def test_naming_changes_nothing_of_the_encoder_and_the_drawing_nothing_of_the_naming(digits):
    model = small()
    batch = draw_batch(TASK, digits.of(*TASK.digits), 16, torch.Generator().manual_seed(0), draws=2)
    minimised, recorded = model.loss(batch)
    drawn = model.drawer(batch.images, batch.code)
    assert recorded.item() == pytest.approx((drawn - batch.target).square().mean().item(), rel=1e-5)
    scores = model.namer(model.drawer.encode(batch.images)).log_softmax(1)
    named = -sum(scores[b, batch.labels[2 * b]].item() for b in range(8)) / 8
    assert (minimised - recorded).item() == pytest.approx(named, rel=1e-4)
    assert not recorded.requires_grad
    (minimised - (drawn - batch.target).square().mean()).backward()
    assert all(weight.grad is None or weight.grad.abs().max() < 1e-6 for weight in model.drawer.parameters())
    assert all(weight.grad.abs().max() > 0 for weight in model.namer.parameters())


def test_the_seed_alone_determines_the_weights():
    before = torch.random.get_rng_state()
    first, again, other = (small(seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["namer.1.weight"], other["namer.1.weight"])
    assert not torch.equal(first["drawer.decoder.act.upper"], other["drawer.decoder.act.upper"])


@torch.no_grad()
def test_the_surest_network_sees_a_quarter_turn_as_no_turn_and_learns_from_upright_digits(digits):
    model = SurestUpright(maps=6, types=3, pose=4, digit_pose=8).eval()
    images = digits.images[:3]
    quarter = rotate(images, torch.tensor([90.0]).expand(3))
    assert torch.allclose(model(images), model(quarter), atol=1e-4)
    assert torch.allclose(model(images).sum(1), torch.ones(3), atol=1e-5)
    batch = draw_batch(TASK, digits.of(*TASK.digits), 4, torch.Generator().manual_seed(0))
    scores = super(SurestUpright, model).forward(batch.images)
    expected = -sum(math.log(scores.softmax(1)[b, batch.labels[b]].item()) for b in range(4)) / 4
    assert model.loss(batch)[0].item() == pytest.approx(expected, rel=1e-4)
