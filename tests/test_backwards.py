"""A network that draws, run backwards: its search, and that to name changes nothing of what it draws."""

import math

import pytest
import torch
from small import SIZES
from torch import nn

from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import BACKWARDS, Backwards, SurestUpright, make
from gencaps_lib.tasks import draw_batch
from gencaps_lib.transforms import Rotation, RotationAndShift, Scale, Shift, inverse, rotate, warp

TASK = EXPERIMENTS["rotation-backwards"].at("smoke").task


def small(name="capsules-backwards", seed=0, transform=Rotation()):  # noqa: B008, it is frozen
    return make(name, transform, seed, z=8, **SIZES[BACKWARDS[name]])


class Perfect(nn.Module):
    """It draws upright whatever it was shown in its own way: a dark picture where the shown one is not a bar on top."""

    z = 28 * 28

    def __init__(self, upright, transform=Rotation()):  # noqa: B008, it is frozen
        super().__init__()
        self.register_buffer("upright", upright)
        self.decoder = nn.Module()
        self.decoder.act = make("composed-capsules-known", transform, **SIZES["composed-capsules"]).decoder.act
        self.margin = (transform.side - 28) // 2

    def encode(self, images):
        return images.flatten(1)

    def decode(self, latent, code):
        return warp(self.upright.expand(len(latent), -1, -1, -1), self.decoder.act(code), self.margin)


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
            upright = model.drawer.decoder.act(Rotation().code(torch.zeros(1, 1)))
            back = warp(images[b, None], upright @ inverse(model.drawer.decoder.act(code)))
            latent = model.drawer.encode(back)
            difference = model.drawer.decode(latent, code)[0, 0] - images[b, 0]
            mean = sum(value**2 for row in difference.tolist() for value in row) / 28**2
            assert errors[b, place].item() == pytest.approx(mean, rel=1e-4)
            assert torch.allclose(latents[b, place], latent[0], atol=1e-4)


@torch.no_grad()
def test_a_matrix_that_draws_upright_digits_from_parts_of_another_size_magnifies_nothing(digits):
    model = small("capsules-backwards-linear").eval()
    act, seen = model.drawer.decoder.act, []
    act.upper.copy_(0.6 * torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, -1, 0], [1, 0, 0]]]))  # 0.6 times a rotation
    model.drawer.encode = lambda images: seen.append(images) or torch.zeros(len(images), model.drawer.z)
    images = digits.images[:2]
    turned = rotate(images, torch.tensor([90.0, 90.0]))
    model.search(turned)
    back = seen[0].unflatten(0, (2, -1))[:, 27]  # of 90°
    assert (back - images).abs().mean() < 0.01


@torch.no_grad()
def test_the_angle_is_found_by_one_that_can_draw_the_upright_digit_only(digits):
    upright = digits.of(4).images[:1]
    model = Backwards(Perfect(upright))
    for angle in (-150.0, -40, 0, 90, 130):
        errors = model.search(rotate(upright, torch.tensor([angle]))).errors
        assert -180 + 10 * errors[0].argmin().item() == angle


@torch.no_grad()
@pytest.mark.parametrize("transform", [Shift(8), RotationAndShift(8)], ids=lambda each: type(each).__name__)
def test_on_a_canvas_the_error_of_a_candidate_is_that_of_its_own_drawing(transform, digits):
    model = small(transform=transform).eval()
    values = transform.along_grid(torch.tensor([0.5]))
    image = transform.apply(digits.images[:1], values)
    latents, errors = model.search(image)
    first = transform.candidates()[0]
    assert latents.shape[1] == errors.shape[1] == sum(map(len, transform.candidates())) <= 102
    for place in (0, len(first) // 2, len(first) - 1):
        code = transform.code(first[place, None])
        back = warp(image, inverse(model.drawer.decoder.act(code)))[..., 8:36, 8:36]
        latent = model.drawer.encode(back)
        assert torch.allclose(latents[0, place], latent[0], atol=1e-4)
        error = (model.drawer.decode(latent, code) - image).square().mean()
        assert errors[0, place].item() == pytest.approx(error.item(), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("transform", "values"),
    [
        (Shift(8), [(-7, 3), (0, 0), (5, -6)]),
        (RotationAndShift(8), [(110, -4, 6), (-150, 3, -7), (30, 0, 1)]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_coarse_to_fine_finds_the_shift_and_the_angle(transform, values, digits):
    """At these values: a search that keeps one candidate for the next round may lose the best at others."""
    upright = digits.of(4).images[:1]
    model = Backwards(Perfect(upright, transform))
    tried, decode = [], model.drawer.decode
    model.drawer.decode = lambda latent, code: (tried.append(code), decode(latent, code))[1]
    for value in torch.tensor(values):
        tried.clear()
        errors = model.search(transform.apply(upright, value[None])).errors[0]
        apart = torch.cat(tried)[errors.argmin()] - transform.code(value[None])[0]
        assert apart.abs().max() <= 1 / 16  # half a pixel, and less than half of 10°
        assert errors.min() < errors[: len(transform.candidates()[0])].min()


def test_a_transform_without_candidates_is_refused():
    with pytest.raises(ValueError, match="Scale has no candidates"):
        small(transform=Scale())


def test_shifts_are_searched_to_the_pixel_and_angles_by_turns():
    first, *later = Shift(8).candidates()
    assert sorted({row for row, _ in first.tolist()}) == [-6, -2, 2, 6]
    reached = {
        (first[a] + later[0][b] + later[1][c]).int().tolist()[0] for a in range(16) for b in range(9) for c in range(9)
    }
    assert reached >= set(range(-8, 9))
    first, *later = RotationAndShift(8).candidates()
    assert first[:, 0].unique().tolist() == [-120, 0, 120]
    assert [len(around) for around in (first, *later)] == [48, 9, 18, 9, 18]
    for around, moved in zip(later, ((1, 2), (0,), (1, 2), (0,)), strict=True):
        assert [axis for axis in range(3) if around[:, axis].any()] == list(moved)
    turned = torch.cat([later[1], later[3]])[:, 0].sort().values
    assert turned.tolist() == list(range(-180, 180, 10))


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
