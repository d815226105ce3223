"""Capsules whose poses compose: their equations, and that a transform moves what is drawn."""

import math

import pytest
import torch
from small import build

from gencaps_lib.evaluation import equivariance_error, generator_error
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import ComposedCapsules, GrowingCapsules, count_parameters
from gencaps_lib.models.composed import ACTIONS, LearnedGenerator, LearnedLinear, LearnedMap, MovedStamps, Stamps
from gencaps_lib.transforms import RawRotation, Rotation, RotationAndShift, Scale, Shear, Shift, rotate, shift, warp


def decoder(transform, action="known", parts=30, spread=0.5):
    """A decoder with parts all over the middle, on a black ground; latent codes of length 3."""
    generator = torch.Generator().manual_seed(0)
    made = ComposedCapsules(3, transform, action, channels=2, hidden=16, capsules=parts)
    for module in made.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3, generator=generator)
            torch.nn.init.normal_(module.bias, std=0.1, generator=generator)
    made.reset_parameters(generator)
    torch.nn.init.zeros_(made.address[0].weight)
    torch.nn.init.uniform_(made.address[0].bias, -spread, spread, generator=generator)
    torch.nn.init.constant_(made.paint.bias, -10)
    torch.nn.init.constant_(made.paint.amplitude, 10)
    return made


def identity_code(transform, count):
    return transform.code(transform.along_grid(torch.zeros(count)))


@torch.no_grad()
@pytest.mark.equation("eq-stamps")
def test_stamps_equal_naive_loops(generator):
    stamps = Stamps(2)
    for parameter in stamps.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    maps = torch.rand(1, 2, 9, 9, generator=generator)
    image = stamps(maps)
    assert image.shape == (1, 1, 9, 9)
    for i in range(9):
        for j in range(9):
            total = stamps.bias.item()
            for c in range(2):
                width, height = stamps.log_width[c].exp().item(), stamps.amplitude[c].item()
                for row in range(max(0, i - 3), min(9, i + 4)):
                    for column in range(max(0, j - 3), min(9, j + 4)):
                        squared = (row - i) ** 2 + (column - j) ** 2
                        total += maps[0, c, row, column].item() * height * math.exp(-squared / (2 * width**2))
            assert image[0, 0, i, j].item() == pytest.approx(math.tanh(total), abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.equation("eq-composed")
def test_addresses_and_activations_equal_naive_loops(action):
    made, code = decoder(Rotation(), action), torch.tensor([[0.8, -0.6]])
    torch.nn.init.normal_(made.address[0].weight, std=0.3, generator=torch.Generator().manual_seed(1))
    latent = torch.tensor([[0.3, -1.0, 2.0]])

    def layer(linear, inputs):
        return [
            sum(w * x for w, x in zip(row, inputs, strict=True)) + b
            for row, b in zip(linear.weight.tolist(), linear.bias.tolist(), strict=True)
        ]

    def relu(values):
        return [max(0.0, value) for value in values]

    if action == "known":
        matrix = [[0.8, 0.6, 0], [-0.6, 0.8, 0]]
    elif action == "map":
        out = layer(made.act.network[2], relu(layer(made.act.network[0], code[0].tolist())))
        matrix = [[1 + out[0], out[1], out[4]], [out[2], 1 + out[3], out[5]]]
    elif action == "linear":
        matrix = (0.8 * made.act.upper[0] - 0.6 * made.act.upper[1]).tolist()
    elif action == "affine":
        matrix = (made.act.upper[0] + 0.8 * made.act.upper[1] - 0.6 * made.act.upper[2]).tolist()
    else:
        power = math.atan2(-0.6, 0.8) * torch.cat([made.act.upper[0], torch.zeros(1, 3)]).double()
        matrix = torch.linalg.matrix_exp(power).tolist()
    hidden = relu(layer(made.dense[2], relu(layer(made.dense[0], latent[0].tolist()))))
    places, activations = layer(made.address[0], hidden), layer(made.activation[0], hidden)
    found_addresses, found_activations = made.write(latent, code)
    for n in range(30):
        part = [places[2 * n], places[2 * n + 1], 1]
        for axis in range(2):
            moved = sum(a * p for a, p in zip(matrix[axis], part, strict=True))
            assert found_addresses[0, n, axis].item() == pytest.approx((moved + 1) * 27 / 2, abs=1e-3)
        for c in range(2):
            expected = 1 / (1 + math.exp(-activations[2 * n + c]))
            assert found_activations[0, n, c].item() == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_the_known_matrix_draws_what_a_shift_makes_of_the_drawing(generator):
    transform = Shift(8)
    made, latent = decoder(transform), torch.randn(20, 3, generator=generator)
    offsets = torch.randint(-8, 9, (20, 2), generator=generator)
    offsets[0] = torch.tensor([8, -8])
    drawn = made(latent, identity_code(transform, 20))
    assert drawn.std() > 0.2
    assert torch.allclose(made(latent, transform.code(offsets)), shift(drawn, offsets, margin=0), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("transform", [Rotation(), RawRotation()])
def test_the_known_matrix_draws_what_a_rotation_makes_of_the_drawing(transform, generator):
    made, latent = decoder(transform), torch.randn(4, 3, generator=generator)
    drawn = made(latent, identity_code(transform, 4))
    right = torch.tensor([0.0, 90, 180, -90])
    assert torch.allclose(made(latent, transform.code(right[:, None])), rotate(drawn, right), atol=1e-3)
    oblique = torch.tensor([30.0, -45, 100, 170])
    turned, expected = made(latent, transform.code(oblique[:, None])), rotate(drawn, oblique)
    assert (turned - expected).square().mean() < 0.1 * expected.var()
    assert (turned - rotate(drawn, -oblique)).square().mean() > 0.5 * expected.var()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "transform", [Shift(8), Rotation(), Shear(), RotationAndShift(8)], ids=lambda transform: type(transform).__name__
)
def test_every_action_is_equivariant_to_its_own_matrix(action, transform, generator):
    made = decoder(transform, action, spread=0.4)
    if action == "map":  # a smaller map than at the start, so that parts stay on the canvas
        torch.nn.init.normal_(made.act.network[2].weight, std=0.02, generator=generator)
    latent = torch.randn(8, 3, generator=generator)
    reach = {"Shift": 8, "Rotation": 180}.get(type(transform).__name__, 1)
    values = transform.along_grid(torch.linspace(-0.5, 0.5, 8) * reach)
    if action in ("linear", "affine"):  # near the true numbers: at its start it has no inverse a quarter turn on
        own = transform.code(values)
        told = torch.cat([torch.ones(8, 1), own], 1) if made.act.with_one else own
        true = transform.matrix(transform.parameters(own))[:, :2].flatten(1)
        fitted = torch.linalg.lstsq(told.double(), true.double(), driver="gelsd").solution.unflatten(1, (2, 3))
        made.act.load_state_dict({"upper": fitted.float() + 0.02 * torch.randn(fitted.shape, generator=generator)})
    code, identity = transform.code(values), identity_code(transform, 8)
    assert equivariance_error(made, latent, code, identity) < 0.1
    # A decoder that lets the transform choose what is drawn is not.
    torch.nn.init.normal_(made.address[0].weight, std=0.1, generator=generator)
    made.write = lambda z, t: ComposedCapsules.write(made, z + 3 * t.sum(1, keepdim=True), t)
    assert equivariance_error(made, latent, code, identity) > 0.3


@torch.no_grad()
@pytest.mark.parametrize("name", ["composed-capsules", "composed-capsules-map", "composed-capsules-known"])
def test_one_matrix_moves_the_parts_of_every_class(name, task, generator):
    made = build(name, task).decoder
    latent = torch.randn(20, 10, generator=generator)
    (before, activations), (after, same) = (
        made.write(latent, torch.tensor([code]).expand(20, 2)) for code in ([0.0, 0.5], [1.0, -0.5])
    )
    assert torch.equal(activations, same)
    places = torch.cat([before, torch.ones(20, 8, 1)], 2).flatten(0, 1).double()
    matrix = torch.linalg.lstsq(places, after.flatten(0, 1).double()).solution
    assert (after - before).abs().max() > 0.1
    assert torch.allclose(places @ matrix, after.flatten(0, 1).double(), atol=1e-4)


@pytest.mark.parametrize("transform", [Shift(8), Rotation(), Scale(), RotationAndShift(8)])
def test_a_learned_generator_starts_small_and_is_the_identity_at_zero(transform):
    act = LearnedGenerator(transform)
    assert act.generators().shape == (transform.dimensions, 3, 3)
    assert (act.generators()[:, 2] == 0).all()
    assert act.upper.std() < 0.3
    assert torch.equal(act(identity_code(transform, 1))[0], torch.eye(3))


def test_a_learned_map_starts_near_the_identity():
    act = LearnedMap(Rotation())
    torch.nn.init.zeros_(act.network[2].weight)
    torch.nn.init.zeros_(act.network[2].bias)
    assert torch.equal(act(torch.ones(2, 2)), torch.eye(3).expand(2, 3, 3))


def test_a_decoder_finds_the_generator_from_pictures(generator):
    """A teacher turns by the true matrix, up to ±45°; a pupil with its parts, but a generator to learn, finds it."""
    teacher, pupil = decoder(Rotation()), decoder(Rotation(), "generator")
    pupil.load_state_dict(teacher.state_dict(), strict=False)
    for made in (teacher, pupil):
        torch.nn.init.constant_(made.paint.amplitude, 0.5)
        torch.nn.init.constant_(made.paint.bias, -1)
        torch.nn.init.constant_(made.paint.log_width, 0.5)
    true = Rotation().generators()
    start = generator_error(pupil.act.generators(), true)[0]
    adapt = torch.optim.Adam(pupil.act.parameters(), 0.05)
    for _ in range(50):
        latent = torch.randn(8, 3, generator=generator)
        code = Rotation().code(90 * torch.rand(8, 1, generator=generator) - 45)
        adapt.zero_grad()
        (pupil(latent, code) - teacher(latent, code).detach()).square().mean().backward()
        adapt.step()
    assert start > 0.8
    assert generator_error(pupil.act.generators(), true)[0] < 0.05


def test_sizes_of_the_trial():
    with torch.device("meta"):
        made = EXPERIMENTS["rotation-extrapolation"].build("composed-capsules")
    layers = [32 * 512 + 512, 512 * 512 + 512, 512 * 384 + 384, 512 * 768 + 768]
    assert count_parameters(made.decoder) == sum(layers) + 9 + 6
    assert made.z == 32


@pytest.mark.parametrize("name", ["shift-extrapolation", "rotation-one-shot", "rotation-extrapolation"])
def test_the_article_s_capsules_beside_them_are_about_as_large(name):
    experiment = EXPERIMENTS[name]
    beside = ["continuous-capsules-z32", "composed-capsules-map", "composed-capsules", "composed-capsules-known"]
    assert [model for model in experiment.models if model in beside] == beside
    with torch.device("meta"):
        sizes = [count_parameters(experiment.build(model).decoder) for model in beside]
    assert max(sizes) < 1.1 * min(sizes)


def test_an_unknown_action_is_refused():
    with pytest.raises(ValueError, match="choose one of known, generator, map"):
        ComposedCapsules(3, Rotation(), "guess")


@torch.no_grad()
@pytest.mark.parametrize(
    ("transform", "zero"),
    [(Rotation(), False), (RotationAndShift(8), False), (Shift(8), True), (Shear(), True), (Scale(), True)],
    ids=lambda part: type(part).__name__,
)
def test_a_linear_act_starts_near_the_identity_and_can_be_every_true_matrix_that_is_linear_in_the_code(transform, zero):
    act = LearnedLinear(transform)
    act.reset_parameters(torch.Generator().manual_seed(0))
    assert act.with_one == zero
    assert act.upper.shape == (transform.code_length + zero, 2, 3)
    assert (act(identity_code(transform, 1))[0] - torch.eye(3)).abs().max() < 0.4
    values = transform.along_grid(
        torch.linspace(-1, 1, 9) * {"Rotation": 170.0, "Shift": 8.0}.get(type(transform).__name__, 1.0)
    )
    code = transform.code(values)
    true = transform.matrix(transform.parameters(code))
    told = torch.cat([torch.ones(len(code), 1), code], 1) if zero else code
    fitted = torch.linalg.lstsq(told.double(), true[:, :2].flatten(1).double(), driver="gelsd").solution
    act.upper.copy_(fitted.unflatten(1, (2, 3)))
    off = (act(code) - true).abs().max()
    assert off > 0.05 if isinstance(transform, Scale) else off < 1e-4


@torch.no_grad()
def test_moved_stamps_equal_naive_loops(generator):
    stamps = MovedStamps(2, reach=4)
    for parameter in stamps.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    maps = torch.rand(2, 2, 9, 9, generator=generator)
    linear = torch.tensor([[[1.2, 0.3], [-0.1, 0.8]], [[0.7, 0.0], [0.5, 1.1]]])
    image = stamps.moved(maps, linear)
    for b, back in enumerate(torch.linalg.inv(linear).tolist()):
        for i, j in [(0, 0), (4, 4), (8, 2), (3, 7)]:
            total = stamps.bias.item()
            for c in range(2):
                width, height = stamps.log_width[c].exp().item(), stamps.amplitude[c].item()
                for row in range(max(0, i - 4), min(9, i + 5)):
                    for column in range(max(0, j - 4), min(9, j + 5)):
                        d = (i - row, j - column)
                        squared = sum((line[0] * d[0] + line[1] * d[1]) ** 2 for line in back)
                        total += maps[b, c, row, column].item() * height * math.exp(-squared / (2 * width**2))
            assert image[b, 0, i, j].item() == pytest.approx(math.tanh(total), abs=1e-5)


@torch.no_grad()
def test_moved_stamps_are_round_under_a_rotation_and_twice_as_wide_at_twice_the_size(generator):
    maps = torch.zeros(1, 1, 25, 25)
    maps[0, 0, 12, 12] = 1
    wide, stamps = Stamps(1, reach=6), MovedStamps(1, reach=6)
    turned = Rotation().matrix(torch.tensor([[0.7]]))[:, :2, :2]
    assert torch.allclose(stamps.moved(maps, turned), wide(maps), atol=1e-5)
    wide.log_width += math.log(2)
    assert torch.allclose(stamps.moved(maps, 2 * torch.eye(2)[None]), wide(maps), atol=1e-5)


@torch.no_grad()
def test_growing_capsules_draw_an_object_of_another_size_as_the_warp_of_their_drawing():
    """Which round stamps do not."""
    transform, errors = Scale(), {}
    for kind in (ComposedCapsules, GrowingCapsules):
        made = kind(3, transform, action="known", channels=1, hidden=16, capsules=40)
        made.reset_parameters(torch.Generator().manual_seed(0))
        torch.nn.init.zeros_(made.address[0].weight)
        made.paint.log_width.fill_(0.4)
        made.paint.amplitude.fill_(10)
        made.paint.bias.fill_(-8)  # a black ground, as the warp brings in
        latent, one = torch.zeros(2, 3), torch.ones(2, 1)
        code, identity = torch.tensor([[0.7], [-0.5]]), 0 * one
        moved = warp(made(latent, identity), made.act(code))
        errors[kind] = ((made(latent, code) - moved).square().mean() / moved.var()).item()
    assert errors[GrowingCapsules] < 0.3 * errors[ComposedCapsules]
