"""A generator learned from pairs alone: what is read off a pair, that no angle is used, and how the unit is found."""

import math
from dataclasses import replace

import pytest
import torch
from small import SIZES

from gencaps_lib.evaluation import readings
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import UNTOLD, Reader, make
from gencaps_lib.tasks import draw_batch
from gencaps_lib.transforms import RawRotation, exponential, rotate

TASK = EXPERIMENTS["rotation-untold"].at("smoke").task
TURN = RawRotation().generators()  # (1,3,3)


def small(name="untold-capsules", seed=0):
    return make(name, RawRotation(), seed, z=8, **SIZES[UNTOLD[name][1]])


def with_generator(name, generator):
    """A model whose learned generator is the given one, (3, 3)."""
    model = small(name)
    with torch.no_grad():
        model.decoder.act.upper.copy_(generator[None, :2])
    return model


def pairs(digits, count=6, draws=1):
    return draw_batch(TASK, digits, count, torch.Generator().manual_seed(0), draws=draws)


@torch.no_grad()
@pytest.mark.equation("eq-reading")
def test_a_reading_is_what_h_says_of_the_pair_less_what_it_says_of_the_way_back(digits):
    torch.manual_seed(0)
    reader = Reader()
    batch = pairs(digits, 3)
    read = reader(batch.images, batch.target)
    assert read.shape == (3, 1)
    for b in range(3):
        one, other = batch.images[b], batch.target[b]
        there, back = (reader.compare(torch.stack(pair, 1))[0, 0] for pair in ((one, other), (other, one)))
        assert read[b, 0].item() == pytest.approx((there - back).item(), abs=1e-5)
    assert read.abs().min() > 1e-4
    assert torch.allclose(reader(batch.target, batch.images), -read, atol=1e-6)
    assert reader(batch.images, batch.images).abs().max() < 1e-6


@torch.no_grad()
def test_without_the_way_back_a_picture_may_have_a_zero_of_its_own(digits):
    model = small("untold-capsules-one-way")
    images = digits.images[:4]
    read = model.reader(images, images)
    assert torch.equal(read, model.reader.compare(torch.cat([images, images], 1)))
    assert read.abs().min() > 1e-4
    assert read.std() > 1e-4


@pytest.mark.equation("eq-untold")
@pytest.mark.parametrize("name", UNTOLD)
@pytest.mark.parametrize("draws", [1, 2])
def test_the_loss_is_that_of_drawing_the_second_picture_of_each_pair(name, draws, digits):
    model = small(name)
    batch = pairs(digits, 4, draws)
    minimised, recorded = model.loss(batch)
    total = 0.0
    for b in range(4):
        image, moved = batch.images[b // draws, None], batch.target[b, None]
        drawn = model.decoder(model.encode(image), model.reader(image, moved))[0, 0]
        total += sum(value**2 for row in (drawn - moved[0, 0]).tolist() for value in row) / 28**2
    assert recorded.item() == pytest.approx(total / 4, rel=1e-4)
    assert minimised.item() == recorded.item()
    assert not recorded.requires_grad
    minimised.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0 or parameter_name == "reader.compare.7.bias", parameter_name


@pytest.mark.parametrize("name", UNTOLD)
def test_no_angle_and_no_name_enters_the_loss(name, digits):
    model, batch = small(name), pairs(digits)
    lied_to = replace(batch, code=torch.full_like(batch.code, math.nan), labels=torch.full_like(batch.labels, -1))
    assert model.loss(lied_to)[0].item() == model.loss(batch)[0].item()


@torch.no_grad()
@pytest.mark.parametrize("times", [2.5, -0.4])
@pytest.mark.parametrize("name", ["untold-capsules", "untold-warp"])
def test_unit_and_sign_are_free_and_are_fixed_by_the_generator_alone(name, times, digits):
    """G times a number, and the readings over it: the same loss, the same readings in degrees, the same drawings."""
    model = with_generator(name, 0.3 * TURN[0])
    batch = pairs(digits)
    code = TASK.code(torch.tensor([[-170.0], [-60], [0], [33], [60], [150]]))

    def seen():
        return (
            model.loss(batch)[0],
            model.read(batch.images, batch.target),
            model.generators(),
            model(batch.images, code),
        )

    before = seen()
    model.decoder.act.upper.mul_(times)
    model.reader.compare[-1].weight.div_(times)
    for one, other in zip(before, seen(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert torch.allclose(before[2], TURN, atol=1e-5)


@torch.no_grad()
def test_a_unit_takes_no_frame_and_no_centre():
    """A rotation about another point, seen in a leaning frame: a full turn is a full turn."""
    frame = torch.tensor([[1.5, 0.4, 0.3], [-0.2, 0.8, -0.1], [0, 0, 1.0]])
    for rate in (0.7, -3.0):
        model = with_generator("untold-capsules", frame @ (rate * TURN[0]) @ torch.linalg.inv(frame))
        assert model.speed().item() == pytest.approx(rate, rel=1e-4)
        whole = exponential(torch.tensor([[2 * math.pi]]), model.generators(), (1,))
        assert torch.allclose(whole[0], torch.eye(3), atol=1e-3)


@torch.no_grad()
def test_a_matrix_that_turns_nothing_stays_finite(digits):
    for generator in (torch.diag(torch.tensor([1.0, -2, 0])), torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])):
        model = with_generator("untold-capsules", generator)
        assert model.speed().abs().item() == pytest.approx(0.1 * generator.norm().item(), rel=1e-4)
        drawn = model(digits.images[:2], TASK.code(torch.tensor([[-180.0], [180.0]])))
        assert drawn.isfinite().all()


@torch.no_grad()
def test_a_known_group_has_its_own_unit(digits):
    model, told = (
        small("untold-capsules-known"),
        make("composed-capsules-known", RawRotation(), z=8, **SIZES["composed-capsules"]),
    )
    told.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("reader.")})
    assert model.generators() is None
    batch = pairs(digits)
    assert torch.equal(model(batch.images, batch.code), told(batch.images, batch.code))
    assert torch.equal(model.read(batch.images, batch.target), model.reader(batch.images, batch.target))


def test_readings_are_of_every_image_at_every_point_in_degrees(digits):
    class Clock:
        """It reads the right angle, by trying."""

        def read(self, images, moved):
            tried = torch.arange(-180.0, 180, 9)
            turned = torch.stack([rotate(images, angle.expand(len(images))) for angle in tried], 1)
            return tried[(turned - moved[:, None]).square().mean((2, 3, 4)).argmin(1)][:, None] / 180

    some = digits.of(2, 4).first(2)
    read = readings(Clock(), TASK, some, batch=3)
    assert torch.allclose(read, torch.tensor(TASK.grid, dtype=torch.float32).expand(4, -1))


@torch.no_grad()
@pytest.mark.parametrize("name", UNTOLD)
def test_a_result_keeps_the_generator_in_its_unit_and_the_readings(name, digits):
    experiment = EXPERIMENTS["rotation-untold"].at("smoke")
    model = experiment.build(name)
    learned = experiment.kind(name).learned(model, TASK, digits.first(12))
    assert len(learned["read"]) == 100  # 10 of each digit
    expected = readings(model, TASK, digits.first(10))
    assert torch.allclose(torch.tensor(learned["read"]), expected, atol=0.051)
    if name == "untold-capsules-known":
        assert set(learned) == {"read"}
    else:
        assert torch.allclose(torch.tensor(learned["generators"]), model.generators(), atol=1e-6)
        assert learned["generators"][0][1][0] >= learned["generators"][0][0][1]  # counter-clockwise


def test_the_seed_alone_determines_the_weights():
    before = torch.random.get_rng_state()
    first, again, other = (small(seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["reader.compare.0.weight"], other["reader.compare.0.weight"])
    with pytest.raises(ValueError, match="untold-warp"):
        make("untold", RawRotation())
