"""A sheet that turns in depth: its views, places with a coordinate that is not drawn, and what helps to learn it."""

import math

import pytest
import torch

from gencaps_lib.evaluation import spectrum_error
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import ComposedCapsules, LearnedLinear, LinearParts, WarpedDecoder, make
from gencaps_lib.models.composed import LearnedGenerator
from gencaps_lib.tasks import Batch, draw_batch
from gencaps_lib.training import Optimiser, Trainer, fit
from gencaps_lib.transforms import Sheet, cells, exponential, in_the_plane, move, warp

FLAT, BENT = Sheet(), Sheet(bend=0.5)
SMALL = {"z": 3, "hidden": 16, "capsules": 12, "channels": 2, "encoder": {"maps": (4, 8), "hidden": 16}}


def at(degrees, count):
    return torch.full((count, 1), float(degrees))


@pytest.mark.parametrize("sheet", [FLAT, BENT])
def test_from_the_front_it_is_the_picture_and_from_behind_its_mirror_image(sheet, digits):
    images = digits.images[:5]
    assert torch.allclose(sheet.apply(images, at(0, 5)), images, atol=1e-4)
    assert torch.allclose(sheet.apply(images, at(180, 5)), images.flip(3), atol=1e-3)


@pytest.mark.parametrize("sheet", [FLAT, BENT])
def test_the_half_behind_mirrors_the_half_in_front(sheet, digits):
    """What is asked out of range is as hard as what was seen."""
    images = digits.images[:5]
    front, behind = (sheet.apply(images, at(angle, 5)) for angle in (-35, 180 + 35))
    assert torch.allclose(behind, sheet.apply(images, at(35, 5)).flip(3), atol=1e-3)
    assert (front - behind).abs().max() > 0.5


@pytest.mark.equation("eq-sheet")
@pytest.mark.parametrize("bend", [0.0, 0.5])
def test_views_equal_naive_loops(bend, digits):
    images = digits.images[:2]
    angles = [40.0, -110.0]
    views = Sheet(bend=bend).apply(images, torch.tensor(angles)[:, None])
    for b, angle in enumerate(angles):
        t, written = math.radians(angle), [[0.0] * 28 for _ in range(28)]
        for i in range(28):
            for j in range(28):
                q = 2 * j / 27 - 1
                seen = (q * math.cos(t) + bend * math.sin(math.pi * q) * math.sin(t) + 1) * 27 / 2
                for column in range(28):
                    share = max(0.0, 1 - abs(seen - column))
                    written[i][column] += share * (images[b, 0, i, j].item() + 1) / 2
        expected = 2 * torch.tensor(written).clamp(max=1) - 1
        assert torch.allclose(views[b, 0], expected, atol=1e-3)


def test_the_turn_in_space_is_the_exponential_of_its_generator():
    """And the first two of its coordinates are where a pixel is seen."""
    radians = torch.linspace(-3, 3, 7)[:, None]
    matrices = BENT.matrix(radians)
    assert torch.allclose(exponential(radians, BENT.generators(), (1,)), matrices, atol=1e-5)
    places = cells(28)
    solid = torch.cat([places, BENT.depth(places[:, 1:])], 1).expand(7, -1, -1)  # (7,784,3)
    moved = move(matrices, solid)
    seen = places[:, 1] * radians.cos() + 0.5 * (math.pi * places[:, 1]).sin() * radians.sin()
    assert torch.allclose(moved[..., 0], places[:, 0].expand(7, -1), atol=1e-5)
    assert torch.allclose(moved[..., 1], seen, atol=1e-5)


def test_exponentials_of_larger_generators_are_exact(generator):
    power = torch.randn(6, 4, 4, generator=generator, dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    for each in power:
        found = exponential(one, each[None], (1,))[0]
        assert torch.allclose(found, torch.linalg.matrix_exp(each), rtol=1e-6, atol=1e-8)


def test_of_a_turn_in_space_the_plane_keeps_the_cosine(digits):
    matrices = FLAT.matrix(torch.tensor([[0.5], [2.5]]))
    plane = in_the_plane(matrices)
    expected = torch.diag_embed(torch.tensor([[1, math.cos(0.5), 1], [1, math.cos(2.5), 1]]))
    assert torch.allclose(plane, expected)
    assert in_the_plane(plane).equal(plane)
    made = WarpedDecoder(3, FLAT, channels=4, maps=4, hidden=8)
    latent, code = torch.ones(2, 3), FLAT.code(torch.tensor([[0.0], [60.0]]))
    upright, squeezed = made(latent, code)
    half = torch.diag(torch.tensor([1, 0.5, 1]))[None]
    assert torch.allclose(squeezed, warp(upright[None], half)[0], atol=1e-4)


@torch.no_grad()
@pytest.mark.equation("eq-hidden")
def test_all_coordinates_are_moved_and_the_first_two_are_drawn(generator):
    made = ComposedCapsules(3, FLAT, channels=2, hidden=16, capsules=5, coordinates=3)
    torch.nn.init.normal_(made.act.upper, std=0.5, generator=generator)
    latent, degrees = torch.randn(2, 3, generator=generator), torch.tensor([[50.0], [-170.0]])
    places, _ = made.parts(latent)
    assert places.shape == (2, 5, 3)
    addresses, _ = made.write(latent, FLAT.code(degrees))
    assert addresses.shape == (2, 5, 2)
    for b in range(2):
        power = math.radians(degrees[b].item()) * torch.cat([made.act.upper[0], torch.zeros(1, 4)]).double()
        matrix = torch.linalg.matrix_exp(power).tolist()
        for n in range(5):
            place = [*places[b, n].tolist(), 1]
            for axis in range(2):
                moved = sum(matrix[axis][k] * place[k] for k in range(4))
                assert addresses[b, n, axis].item() == pytest.approx((moved + 1) * 27 / 2, abs=1e-3)


def test_parts_can_change_places_only_through_the_coordinate_that_is_not_drawn():
    """A part in front and one behind, in one place of the picture, go apart as the sheet turns."""
    made = ComposedCapsules(3, FLAT, capsules=2, coordinates=3)
    with torch.no_grad():
        made.act.upper.copy_(FLAT.generators()[:, :3])
        made.parts = lambda latent: (torch.tensor([[[0, 0.2, 0.3], [0, 0.2, -0.3]]]), torch.ones(1, 2, 4))
        first, second = made.write(torch.zeros(1, 3), FLAT.code(at(90, 1)))[0][0, :, 1].tolist()
    assert (first, second) == pytest.approx((1.3 * 13.5, 0.7 * 13.5), abs=1e-3)


@torch.no_grad()
@pytest.mark.equation("eq-linear-parts")
def test_addresses_of_parts_without_a_law_equal_naive_loops(generator):
    made = LinearParts(3, FLAT, channels=2, hidden=16, capsules=5)
    latent, degrees = torch.randn(2, 3, generator=generator), torch.tensor([[50.0], [-170.0]])
    coefficients = made.address(made.dense(latent))  # (B,N,2,3)
    addresses, activations = made.write(latent, FLAT.code(degrees))
    assert addresses.shape == (2, 5, 2) == activations.shape
    for b in range(2):
        told = [1, math.cos(math.radians(degrees[b])), math.sin(math.radians(degrees[b]))]
        for n in range(5):
            for axis in range(2):
                place = sum(k * c for k, c in zip(coefficients[b, n, axis].tolist(), told, strict=True))
                assert addresses[b, n, axis].item() == pytest.approx((place + 1) * 27 / 2, abs=1e-3)


@torch.no_grad()
def test_parts_without_a_law_start_all_over_the_box_at_every_angle():
    made = make("linear-parts", FLAT, **SMALL | {"capsules": 200}).decoder
    addresses, _ = made.write(torch.zeros(2, 3), FLAT.code(torch.tensor([[0.0], [150.0]])))
    assert torch.equal(addresses[0], addresses[1])
    assert addresses.min() < 13.5 - 9 < 13.5 + 9 < addresses.max()
    assert (addresses - 13.5).abs().max() <= 10
    spread = (addresses[0] - 13.5).std(0)
    assert ((spread > 5) & (spread < 6.5)).all()  # of numbers uniform within ±10: 5.8


@torch.no_grad()
def test_with_a_constant_a_linear_act_can_be_every_matrix_of_a_flat_sheet():
    code = FLAT.code(torch.linspace(-180, 180, 13)[:, None])
    true = in_the_plane(FLAT.matrix(FLAT.parameters(code)))
    for constant in (True, False):
        act = LearnedLinear(FLAT, constant)
        told = torch.cat([torch.ones(13, 1), code], 1) if constant else code
        fitted = torch.linalg.lstsq(told, true[:, :2].flatten(1), driver="gelsd").solution
        act.upper.copy_(fitted.unflatten(1, (2, 3)))
        off = (act(code) - true).abs().max()
        assert off < 1e-5 if constant else off > 0.5


@torch.no_grad()
def test_the_known_turn_in_space_is_that_of_the_true_generator(generator):
    told = ComposedCapsules(3, FLAT, "known", capsules=5, coordinates=3)
    learned = ComposedCapsules(3, FLAT, capsules=5, coordinates=3)
    learned.load_state_dict({**told.state_dict(), "act.upper": FLAT.generators()[:, :3]})
    latent, code = torch.randn(2, 3, generator=generator), FLAT.code(torch.tensor([[50.0], [-170.0]]))
    assert torch.allclose(told.write(latent, code)[0], learned.write(latent, code)[0], atol=1e-4)


@pytest.mark.parametrize("given", [{"action": "known", "coordinates": 4}, {"action": "map"}, {"coordinates": 1}])
def test_what_has_no_third_coordinate_is_refused(given):
    with pytest.raises(ValueError, match="two coordinates, or more if the generator is learned"):
        ComposedCapsules(3, FLAT, **{"coordinates": 3, **given})


@torch.no_grad()
@pytest.mark.equation("eq-balance")
@pytest.mark.parametrize("coordinates", [2, 3, 5])
def test_the_imbalance_equals_naive_loops(coordinates, generator):
    act = LearnedGenerator(FLAT, coordinates)
    torch.nn.init.normal_(act.upper, generator=generator)
    linear = act.upper[0, :, :-1].double()
    expected, power = 0.0, torch.eye(coordinates).double()
    for k in range(1, coordinates + 1):
        power = power @ linear
        expected += (sum(power[i, i].item() for i in range(coordinates)) / k) ** 2 if k % 2 else 0
    assert act.imbalance().item() == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_nothing_shrinks_or_grows_in_a_turn_and_much_does_in_a_spiral(generator):
    act = LearnedGenerator(FLAT, 3)
    frame = torch.randn(3, 3, generator=generator)  # any frame: the parts choose it
    for rates, least, most in (((0.0, 0.0), 0, 1e-6), ((-0.07, 0.0), 0.01, 1), ((-0.07, 0.14), 0.01, 1)):
        shrink, axis = rates
        block = torch.tensor([[axis, 0, 0], [0, shrink, 1], [0, -1, shrink]])
        act.upper[0, :, :3] = frame @ block @ torch.linalg.inv(frame)
        assert least <= act.imbalance().item() <= most, rates
    trace_free = act.upper[0, :, :3] - torch.eye(3) * act.upper[0, :, :3].trace() / 3
    act.upper[0, :, :3] = trace_free
    assert act.imbalance().item() == pytest.approx(torch.linalg.det(trace_free).item() ** 2, rel=1e-3, abs=1e-6)


def test_the_loss_counts_the_imbalance_and_records_the_error_alone(digits, generator):
    task = EXPERIMENTS["flat-sheet"].at("smoke").task
    batch: Batch = draw_batch(task, digits, 8, generator)
    model = make("composed-capsules-balanced", FLAT, **SMALL, coordinates=3)
    error = (model(batch.images, batch.code) - batch.target).square().mean()
    to_minimise, recorded = model.loss(batch)
    assert recorded.item() == pytest.approx(error.item())
    assert to_minimise.item() == pytest.approx((error + model.decoder.act.imbalance()).item())
    assert model.decoder.act.imbalance() > 0


def test_a_decoder_finds_the_turn_in_depth_from_pictures(generator):
    """A teacher's parts lie at many depths; a pupil with its places, but a generator to learn, finds the turn."""
    teacher, pupil = (ComposedCapsules(3, FLAT, channels=2, hidden=16, capsules=30, coordinates=3) for _ in range(2))
    teacher.reset_parameters(generator)
    pupil.load_state_dict(teacher.state_dict())
    with torch.no_grad():
        teacher.act.upper.copy_(FLAT.generators()[:, :3])
    start = spectrum_error(pupil.act.generators(), FLAT.generators())
    adapt = torch.optim.Adam(pupil.act.parameters(), 0.05)
    for _ in range(120):  # half as many are enough for most of the weights that may be drawn
        latent = torch.randn(8, 3, generator=generator)
        code = FLAT.code(120 * torch.rand(8, 1, generator=generator) - 60)
        adapt.zero_grad()
        (pupil(latent, code) - teacher(latent, code).detach()).square().mean().backward()
        adapt.step()
    assert start > 0.5
    assert spectrum_error(pupil.act.generators(), FLAT.generators()) < 0.1


def test_the_spectrum_does_not_depend_on_the_frame_of_the_parts(generator):
    true = FLAT.generators()
    frame = torch.eye(4)
    frame[2] = torch.tensor([0.3, -0.5, 2.0, 0.1])  # another coordinate that is not drawn
    elsewhere = torch.linalg.inv(frame) @ true @ frame
    assert (elsewhere - true).abs().max() > 0.5
    assert spectrum_error(elsewhere, true) < 1e-3
    assert spectrum_error(0.87 * true, true) == pytest.approx(0.13, abs=1e-3)
    assert spectrum_error(torch.zeros(1, 3, 3), true) == pytest.approx(1)  # a plane that does not move
    with pytest.raises(ValueError, match="one generator each"):
        spectrum_error(true.repeat(2, 1, 1), true)


@pytest.mark.parametrize("spoiled", [0, 5])
def test_a_generator_that_is_not_finite_has_no_spectrum(spoiled):
    learned = torch.zeros(1, 3, 3)
    learned.view(-1)[spoiled] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        spectrum_error(learned, torch.zeros(1, 3, 3))


@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
def test_some_parameters_learn_at_a_rate_of_their_own(schedule, digits):
    experiment = EXPERIMENTS["flat-sheet"].at("smoke")
    model = experiment.build("composed-capsules-depth")
    adam = Optimiser("adam", 1e-3, schedule)
    trainer = Trainer(model, experiment.task, digits, 10, optimiser=adam, batch=8, faster={"act.upper": 7.5})
    usual, own = trainer.optimiser.param_groups
    assert [each is model.decoder.act.upper for each in own["params"]] == [True]
    assert len(usual["params"]) == len(list(model.parameters())) - 1
    before = model.decoder.act.upper.detach().clone()
    trainer.step()
    assert own["lr"] == pytest.approx(7.5 * usual["lr"])
    # The first step of Adam is as long as the rate.
    assert (model.decoder.act.upper - before).abs().max().item() == pytest.approx(own["lr"], rel=1e-2)
    with pytest.raises(ValueError, match="no parameter that is left has 'nowhere'"):
        fit(model, experiment.task, digits, 1, faster={"nowhere": 2.0})


def test_the_experiments_ask_for_the_rate_and_for_small_angles_first():
    for name in ("flat-sheet", "bent-sheet"):
        experiment = EXPERIMENTS[name]
        options = experiment.fit_options(torch.device("cpu"), "composed-capsules-depth")
        assert options["faster"] == {"act.upper": 7.5}
        assert options["growth"] == 0.3
        assert experiment.build("composed-capsules-depth").decoder.act.upper.shape == (1, 3, 4)
        assert experiment.build("composed-capsules").decoder.act.upper.shape == (1, 2, 3)
        task = experiment.at("quick").task
        inside, outside = ([p for p in task.grid if counts(p)] for counts in (task.is_inside, task.is_outside))
        assert sorted(180 - p if p > 0 else -180 - p for p in outside) == sorted(inside)
