"""Two objects in one picture: how pairs are made and moved, parts in groups, layers, and what is sorted."""

import math

import pytest
import torch

from gencaps_lib.evaluation import share_on_own, sorted_ink, sorting
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import AddedCapsules, ComposedCapsules, GroupedCapsules, LayeredDecoder, make
from gencaps_lib.routing import route_by_address
from gencaps_lib.tasks import draw_batch
from gencaps_lib.training import Trainer
from gencaps_lib.transforms import RotationAndShift, TwoObjects, exponential, exponentials, shift

PAIR = TwoObjects()
TASK = EXPERIMENTS["two-objects"].at("smoke").task
SMALL = {"z": 3, "encoder": {"maps": (4, 8), "hidden": 16}}
PARTS = {"hidden": 16, "capsules": 12, "channels": 2}
LAYERS = {"hidden": 8, "channels": 4, "maps": 4}


def grid(*points):
    return PAIR.along_grid(torch.tensor(points))


def test_a_digit_is_paired_with_the_one_half_the_list_further_on(digits):
    few = digits.first(1)
    pairs = few.paired()
    assert pairs.images.shape == (10, 2, 28, 28)
    assert torch.equal(pairs.images[:, :1], few.images)
    assert torch.equal(pairs.images[:, 1:], few.images[[5, 6, 7, 8, 9, 0, 1, 2, 3, 4]])
    assert torch.equal(pairs.labels, few.labels)
    assert pairs.paired() is pairs
    assert pairs.of(4).images.shape == (1, 2, 28, 28)
    assert TASK.scenes(few).images.equal(pairs.images)
    assert EXPERIMENTS["shift-transfer"].task.scenes(few) is few


@pytest.mark.equation("eq-two-objects")
def test_targets_equal_naive_loops(digits):
    """Each pixel of the canvas looks up where it comes from in either digit, and adds the ink that it finds."""
    images, values = digits.paired().images[:2], torch.tensor([[50.0, -3, 6], [-120.0, 8, 0]])
    drawn, size = PAIR.apply(images, values), 0.7

    def ink(picture, row, column):
        """Bilinear, and none outside."""
        total = 0.0
        for i in range(math.floor(row), math.floor(row) + 2):
            for j in range(math.floor(column), math.floor(column) + 2):
                if 0 <= i < 28 and 0 <= j < 28:
                    total += (1 - abs(row - i)) * (1 - abs(column - j)) * (picture[i, j].item() + 1) / 2
        return total

    for b, (degrees, down, right) in enumerate(values.tolist()):
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        for i in range(44):
            for j in range(44):
                # From the middle of the digit that turns, and of the one that shifts; 21.5 is the canvas's middle.
                r, q = i - 21.5, j - 21.5 + 3.5
                turned = ink(images[b, 0], 13.5 + (r * cos + q * sin) / size, 13.5 + (q * cos - r * sin) / size)
                r, q = i - 21.5 - down, j - 21.5 - 3.5 - right
                shifted = ink(images[b, 1], 13.5 + r / size, 13.5 + q / size)
                expected = 2 * min(1, turned + shifted) - 1
                assert drawn[b, 0, i, j].item() == pytest.approx(expected, abs=1e-3), (b, i, j)


def test_one_digit_turns_about_its_middle_and_the_other_shifts(digits):
    images, further = digits.paired().images[:3], TwoObjects(apart=8.0)  # so that pixels fall on pixels
    still, moved = (further.moved(images, grid(*[point] * 3)) for point in (0.0, 0.5))
    assert torch.allclose(2 * moved[:, 1:] - 1, shift(2 * still[:, 1:] - 1, torch.tensor([[4, 4]] * 3), 0), atol=1e-5)
    # A quarter turn about the middle of the left digit, which lies 4 pixels to the left of the canvas's.
    around = still[:, 0, 8:36, 4:32]
    assert torch.allclose(moved[:, 0, 8:36, 4:32], torch.rot90(around, 1, (1, 2)), atol=1e-4)


def test_a_picture_at_rest_is_the_middle_of_the_target_at_zero_and_the_digits_overlap_in_it(digits):
    images = digits.paired().images[:50]
    at_rest = PAIR.at_rest(images)
    assert at_rest.shape == (50, 1, 28, 28)
    assert torch.equal(at_rest, PAIR.apply(images, grid(*[0.0] * 50))[..., 8:36, 8:36])
    one, other = PAIR.moved(images, grid(*[0.0] * 50)).unbind(1)
    both = ((one > 0.1) & (other > 0.1)).flatten(1).any(1)
    assert both.float().mean() > 0.5
    assert at_rest.max() == 1
    assert (one + other).max() > 1.2  # so white cuts off what is added


def test_each_object_has_the_exponential_of_its_generators():
    values = torch.tensor([[170.0, -8, 3], [-35.0, 5, 8]])
    parameters = PAIR.parameters(PAIR.code(values))
    each = torch.stack(exponentials(parameters, PAIR.generators(), PAIR.factors), 1)
    assert torch.allclose(each, PAIR.matrices(parameters), atol=1e-5)
    product = exponential(parameters, RotationAndShift(8).generators(), (1, 2))
    assert torch.allclose(product, RotationAndShift(8).matrix(parameters), atol=1e-5)
    with pytest.raises(ValueError, match="a matrix each"):
        PAIR.matrix(parameters)


def test_single_digits_are_refused_with_a_word_on_what_to_do(digits):
    with pytest.raises(ValueError, match=r"need pairs of digits, shape \(B, 2, 28, 28\), as Task.scenes makes them"):
        PAIR.apply(digits.images[:2], grid(0.0, 0.5))


def test_the_model_is_shown_the_sum_only(digits, generator):
    """And never the two digits; that holds for batches and for trainers, also with several draws of a picture."""
    pairs = TASK.scenes(digits)
    batch = draw_batch(TASK, pairs, 12, generator, draws=3)
    assert batch.images.shape == (4, 1, 28, 28)
    assert batch.target.shape == (12, 1, 44, 44)
    still = batch.target[..., 8:36, 8:36]
    assert not torch.equal(still[::3], batch.images)
    trainer = Trainer(make("autoencoder", PAIR, **SMALL, **LAYERS), TASK, digits, 3, batch=4)
    assert trainer.draw().images.shape == (4, 1, 28, 28)
    values = torch.zeros(4, 3)
    again = PAIR.apply(pairs.images[:4], values)[..., 8:36, 8:36]
    assert torch.equal(again, TASK.picture(pairs.images[:4]))


@torch.no_grad()
@pytest.mark.equation("eq-groups")
def test_each_group_is_moved_by_its_own_matrix_as_in_naive_loops(generator):
    made = GroupedCapsules(3, PAIR, **PARTS)
    torch.nn.init.normal_(made.act.upper, std=0.5, generator=generator)
    latent, values = torch.randn(2, 3, generator=generator), torch.tensor([[100.0, 3, -8], [-20.0, 0, 5]])
    places, activations = made.parts(latent)
    addresses, same = made.write(latent, PAIR.code(values))
    assert torch.equal(activations, same)
    uppers = torch.cat([made.act.upper, torch.zeros(3, 1, 3)], 1).double()
    for b, (degrees, down, right) in enumerate(values.tolist()):
        turn = torch.linalg.matrix_exp(math.radians(degrees) * uppers[0])
        move = torch.linalg.matrix_exp(down / 8 * uppers[1] + right / 8 * uppers[2])
        for n in range(12):
            matrix = (turn if n < 6 else move).tolist()
            place = [*places[b, n].tolist(), 1]
            for axis in range(2):
                moved = sum(matrix[axis][k] * place[k] for k in range(3))
                assert addresses[b, n, axis].item() == pytest.approx((moved + 1) * 43 / 2, abs=1e-3)


@torch.no_grad()
def test_what_the_groups_draw_alone_adds_up_to_the_picture(generator):
    made = GroupedCapsules(3, PAIR, **PARTS)
    made.reset_parameters(generator)
    latent, code = torch.randn(2, 3, generator=generator), PAIR.code(torch.tensor([[30.0, 3, 4], [0.0, 0, 0]]))
    ink = made.layers(latent, code)
    assert ink.shape == (2, 2, 44, 44)
    assert (ink.flatten(2).sum(2) > 0).all()
    assert torch.allclose((ink.sum(1, keepdim=True) + made.paint.bias).tanh(), made(latent, code), atol=1e-5)
    # The turn moves the first group only, and the shift the second.
    turned = made.layers(latent, PAIR.code(torch.tensor([[90.0, 3, 4], [90.0, 0, 0]])))
    assert torch.allclose(turned[:, 1], ink[:, 1], atol=1e-6)
    assert not torch.allclose(turned[:, 0], ink[:, 0], atol=1e-2)


@torch.no_grad()
def test_groups_that_are_painted_apart_are_added_as_the_targets_are(generator):
    made = AddedCapsules(3, PAIR, **PARTS)
    made.reset_parameters(generator)
    torch.nn.init.constant_(made.paint.amplitude, 8)  # so that some places are above white
    latent, code = torch.randn(2, 3, generator=generator), PAIR.code(torch.tensor([[30.0, 3, 4], [0.0, 0, 0]]))
    addresses, activations = made.write(latent, code)
    ink = [  # of the first six parts alone, and of the last
        (made.paint(route_by_address(addresses[:, part], activations[:, part], made.size)) + 1) / 2
        for part in (slice(0, 6), slice(6, 12))
    ]
    assert torch.allclose(made.layers(latent, code), torch.cat(ink, 1), atol=1e-6)
    assert (sum(ink) > 1).any()
    assert torch.allclose(made(latent, code), 2 * sum(ink).clamp(max=1) - 1, atol=1e-6)


def test_parts_that_cannot_be_shared_out_are_refused():
    with pytest.raises(ValueError, match="a multiple of the 2 groups; got 7"):
        GroupedCapsules(3, PAIR, capsules=7)


@pytest.mark.parametrize("option", [{"action": "map"}, {"coordinates": 3}], ids=str)
@pytest.mark.parametrize("kind", [GroupedCapsules, AddedCapsules])
def test_what_groups_do_not_offer_is_refused(kind, option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(option))}'"):
        kind(3, PAIR, **PARTS, **option)


@torch.no_grad()
def test_layers_are_warped_by_their_own_matrices_and_added_to_white(generator):
    made = LayeredDecoder(3, PAIR, **LAYERS)
    made.act.upper.copy_(PAIR.generators()[:, :2])
    torch.nn.init.constant_(made.paint[2].bias, 1)
    latent, values = torch.randn(2, 3, generator=generator), torch.tensor([[90.0, 4, -8], [0.0, 0, 0]])
    ink = made.layers(latent, PAIR.code(values))
    assert ink.shape == (2, 2, 44, 44)
    still = made.layers(latent, PAIR.code(torch.zeros(2, 3)))
    assert torch.allclose(still[..., 8:36, 8:36], made.paint(made.maps(latent, latent[:, :0])), atol=1e-5)
    assert not still[..., :8].any()
    moved = shift(2 * still[:, 1:] - 1, torch.tensor([[4, -8], [0, 0]]), 0)
    assert torch.allclose(2 * ink[:, 1:] - 1, moved, atol=1e-3)
    image = made(latent, PAIR.code(values))
    assert image.max() == 1
    assert torch.allclose(image, 2 * ink.sum(1, keepdim=True).clamp(max=1) - 1)


def test_the_share_that_its_own_group_draws():
    objects = torch.zeros(1, 2, 4, 4)
    objects[0, 0, 0], objects[0, 1, 1] = 1, 0.5  # lines from left to right: half of each lies across the middle
    objects[0, :, 2] = 0.7  # as much of both: no matter
    assert share_on_own(objects, objects) == [1, 1]
    assert share_on_own(objects.flip(1), objects) == [0, 0]
    ink = torch.ones(1, 2, 4, 4)
    assert share_on_own(ink, objects) == [0.5, 0.5]
    ink[0, 0, 0, 2:] = 3  # the first object's group draws more of it, across the middle
    assert share_on_own(ink, objects) == pytest.approx([12 / 20, 8 / 12])
    by_half = torch.zeros(1, 2, 4, 4)
    by_half[0, 0, :, :2] = by_half[0, 1, :, 2:] = 1
    assert share_on_own(by_half, objects) == [0.5, 0]


@torch.no_grad()
def test_ink_is_sorted_by_a_model_that_draws_the_true_objects(digits, monkeypatch):
    model = make("composed-capsules-groups", PAIR, **SMALL, **PARTS)
    few = digits.first(2)
    truth = PAIR.moved(TASK.scenes(few).images, torch.zeros(20, 3))
    monkeypatch.setattr(model.decoder, "layers", lambda latent, code: truth)
    everywhere, across = sorted_ink(model, TASK, few)
    assert 0.5 < across < everywhere < 1  # where they overlap, each has ink where the other has more
    over = truth * (truth > truth.flip(1))
    monkeypatch.setattr(model.decoder, "layers", lambda latent, code: over)
    assert sorted_ink(model, TASK, few) == [1, 1]
    monkeypatch.setattr(model.decoder, "layers", lambda latent, code: over.flip(1))
    assert sorted_ink(model, TASK, few) == [0, 0]
    assert list(sorting(model, TASK, few)) == ["sorted"]
    plain = make("composed-capsules", PAIR, **SMALL, **PARTS)
    assert type(plain.decoder) is ComposedCapsules
    assert sorting(plain, TASK, few) == {}
    with pytest.raises(ValueError, match="groups of parts or layers"):
        sorted_ink(plain, TASK, few)
