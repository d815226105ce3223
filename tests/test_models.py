"""The models: sizes of the reference, shapes, and the equations of their decoders."""

import math

import pytest
import torch
from small import SIZES, build

from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import ConvDecoder, DigitCapsules, count_parameters, make
from gencaps_lib.models import build as build_at
from gencaps_lib.models.adversarial import Critic
from gencaps_lib.models.registry import ARCHITECTURES
from gencaps_lib.routing import route_by_address

SHIFT = EXPERIMENTS["shift-transfer"]


def decoder_size(name, experiment):
    with torch.device("meta"):
        return count_parameters(experiment.build(name).decoder)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        # Weights and biases, layer by layer, from the reference's description.
        (
            "autoencoder",
            [12 * 1024 + 1024, 1024 * 73984 + 73984, 256 * 128 * 16 + 128, 128 * 16 + 1],
        ),
        (
            "continuous-capsules",
            [12 * 1024 + 1024, 1024 * 256 + 256, 1024 * 4096 + 4096, 32 * 16 * 16 + 16, 16 * 16 + 1],
        ),
        (
            "digit-capsules",
            [
                12 * 2000 + 2000,
                20 * (10 * 128 + 128 + 128 * 2 + 2),
                20 * (10 * 128 + 128 + 128 * 32 + 32),
                32 * 32 * 16 + 32,
                32 * 16 + 1,
            ],
        ),
    ],
)
def test_decoders_have_the_sizes_of_the_reference(name, parts):
    assert decoder_size(name, SHIFT) == sum(parts)


def test_encoder_has_the_sizes_of_the_reference():
    with torch.device("meta"):
        encoder = SHIFT.build("autoencoder").encoder
    assert count_parameters(encoder) == 64 * 17 + 128 * (64 * 16 + 1) + 1024 * 6273 + 10 * 1025


def test_matched_autoencoder_has_the_size_of_the_capsules():
    for profile in ("quick", "full"):
        task = SHIFT.at(profile)
        ratio = decoder_size("autoencoder-matched", task) / decoder_size("continuous-capsules", task)
        assert ratio == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes_range_and_that_forward_is_decode_of_encode(name, task, digits):
    model = build(name, task)
    images = digits.images[:3]
    values = task.sample(digits.labels[:3])
    code = task.code(values)
    drawn = model(images, code)
    assert drawn.shape == task.target(images, values).shape
    # A warp brings in background, which is -1, and layers add up to white; a tanh never gets to either.
    reached = name.startswith(("autoencoder-warp", "autoencoder-layers"))
    assert drawn.abs().max() <= 1 if reached else drawn.abs().max() < 1
    assert drawn.std() > 0
    assert torch.equal(drawn, model.decode(model.encode(images), code))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_learns(name, task, digits):
    model = build(name, task)
    values = task.sample(digits.labels[:64], torch.Generator().manual_seed(0))
    model(digits.images[:64], task.code(values)).square().mean().backward()
    for parameter_name, parameter in model.named_parameters():
        # A rival learns by a loss of its own, and what a preliminary training made is held fixed.
        if parameter_name.startswith("rival.") or not parameter.requires_grad:
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_seed_fixes_the_weights_and_leaves_the_global_generator_alone(name, task):
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one, same, other = build(name, task, 1), build(name, task, 1), build(name, task, 2)
    assert torch.equal(torch.rand(3), expected)
    for (key, weight), again in zip(one.state_dict().items(), same.state_dict().values(), strict=True):
        assert torch.equal(weight, again), key
    assert not torch.equal(one.encoder[0].weight, other.encoder[0].weight)


def test_a_seed_fixes_parameters_of_one_s_own_too(monkeypatch):
    assemble, make_decoder = ARCHITECTURES["continuous-capsules"]

    def with_a_home(*arguments, **sizes):
        decoder = make_decoder(*arguments, **sizes)
        decoder.home = torch.nn.Parameter(torch.randn(3))
        return decoder

    monkeypatch.setitem(ARCHITECTURES, "own", (assemble, with_a_home))
    homes = []
    for seed in (0, 0, 1):
        torch.rand(1)
        homes.append(make("own", SHIFT.at("smoke").task.transform, seed, capsules=4).decoder.home)
    assert torch.equal(homes[0], homes[1])
    assert not torch.equal(homes[0], homes[2])


def test_weights_are_glorot_uniform_and_biases_zero():
    model = SHIFT.at("quick").build("continuous-capsules")
    weight = model.decoder.activation[0].weight.detach()
    bound = (6 / sum(weight.shape)) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert all((parameter == 0).all() for name, parameter in model.named_parameters() if name.endswith("bias"))


@torch.no_grad()
@pytest.mark.equation("eq-digit-capsules")
def test_digit_capsules_equal_naive_loops(task):
    """Each part: weighted vote of the wholes → its own two networks → a stamp on the map."""
    model = build("digit-capsules", task)
    decoder, side = model.decoder, model.decoder.size
    for parameter in decoder.parameters():
        parameter.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(0))
    latent, code = torch.linspace(-1, 1, 16)[None], torch.tensor([[0.5, -0.5]])
    categories, pose = latent[0, :10], torch.cat([latent[0, 10:], code[0]])
    total = sum(value.exp() for value in categories)
    maps = torch.zeros(4, side, side)
    for n in range(8):
        part = sum(
            categories[k].exp() / total * (decoder.parts.weight[k, n] @ pose + decoder.parts.bias[k, n])
            for k in range(10)
        )

        def network(layers, value, n=n):
            hidden = (value @ layers[0].weight[n] + layers[0].bias[n]).clamp(min=0)
            return hidden @ layers[2].weight[n] + layers[2].bias[n]

        row, column = ((network(decoder.address, part) + 1) * (side - 1) / 2).tolist()
        activation = 1 / (1 + (-network(decoder.activation, part)).exp())
        for i in range(side):
            for j in range(side):
                maps[:, i, j] += activation * max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j))
    assert torch.allclose(decoder.maps(latent, code)[0], maps, atol=1e-5)


@torch.no_grad()
@pytest.mark.equation("eq-continuous-capsules")
def test_continuous_capsules_equal_naive_loops(task):
    model = build("continuous-capsules", task)
    decoder, side = model.decoder, model.decoder.size
    for parameter in decoder.parameters():
        parameter.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(0))
    latent, code = torch.linspace(-1, 1, 10)[None], torch.tensor([[0.5, -0.5]])
    given = torch.cat([latent[0], code[0]])
    hidden = [max(0.0, float(row @ given + bias)) for row, bias in zip(*decoder.dense[0].parameters(), strict=True)]

    def output(layer, unit):
        return float(layer.bias[unit]) + sum(w * h for w, h in zip(layer.weight[unit].tolist(), hidden, strict=True))

    addresses, activations = decoder.write(latent, code)
    for n in range(8):
        for axis in range(2):
            expected = (output(decoder.address[0], 2 * n + axis) + 1) * (side - 1) / 2
            assert addresses[0, n, axis].item() == pytest.approx(expected, abs=1e-4)
        for c in range(4):
            expected = 1 / (1 + math.exp(-output(decoder.activation[0], 4 * n + c)))
            assert activations[0, n, c].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["continuous-capsules", "digit-capsules"])
def test_capsules_write_what_they_say(name, task, digits):
    model = build(name, task)
    latent = model.encode(digits.images[:2])
    code = torch.zeros(2, 2)
    addresses, activations = model.decoder.write(latent, code)
    assert addresses.shape[:2] == activations.shape[:2]
    maps = route_by_address(addresses, activations, model.decoder.size)
    assert torch.equal(model.decoder.paint(maps), model.decode(latent, code))


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda model, task: build_at("gan", task), "choose one of autoencoder"),
        (lambda model, task: make("autoencoder", task.transform, z=0), "'z' of a model must be at least 1; got 0"),
        (lambda model, task: make("autoencoder", task.transform, encoder={"maps": (4, 0)}), r"got \(4, 0\)"),
        (lambda model, task: model.encode(torch.zeros(2, 28, 28)), "images must have shape"),
        (lambda model, task: model.encode(torch.zeros(2, 1, 32, 32)), "28×28"),
        (lambda model, task: model.encode(torch.zeros(0, 1, 28, 28)), "empty"),
        (lambda model, task: model.decode(torch.zeros(2, 9), torch.zeros(2, 2)), "latent must have shape"),
        (lambda model, task: model.decode(torch.zeros(2, 10), torch.zeros(2, 3)), "code must have shape"),
        (lambda model, task: model.decode(torch.zeros(2, 10), torch.zeros(3, 2)), "same number of rows; got 2 and 3"),
        (lambda model, task: model.decode(torch.zeros(0, 10), torch.zeros(0, 2)), "B ≥ 1"),
        (lambda model, task: DigitCapsules(10, 2, 28), "greater than the number of wholes"),
        (lambda model, task: ConvDecoder(10, 2, 30), "multiple of 4"),
    ],
)
def test_bad_input_gets_one_clear_error(call, complaint, task):
    with pytest.raises(ValueError, match=complaint):
        call(build("autoencoder", task), task)


def test_a_choice_that_is_off_is_no_size_below_1(task):
    """False is 0, and a size must not be."""
    made = make("changed-capsules", task.transform, **SIZES["continuous-capsules"], gaussian=False, relu=True)
    assert made.decoder.route is route_by_address


def test_critic_loss_equals_naive_loops(generator):
    critic = Critic(3, hidden=8)
    latent = torch.randn(5, 3, generator=generator)
    loss = critic.loss(latent, torch.Generator().manual_seed(7))
    again = torch.Generator().manual_seed(7)
    prior = torch.rand(5, 3, generator=again) * 2 - 1
    mix = torch.rand(5, 1, generator=again)
    expected = 0.0
    for b in range(5):
        point = (prior[b] + mix[b] * (latent[b] - prior[b])).requires_grad_()
        (slope,) = torch.autograd.grad(critic(point[None])[0], point)
        steepness = sum(float(value) ** 2 for value in slope) ** 0.5
        scores = critic(latent[b : b + 1])[0] - critic(prior[b : b + 1])[0]
        expected += (scores.item() + 10 * (steepness - 1) ** 2) / 5
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_rival_is_no_part_of_the_decoder(task):
    plain, rivalled = build("autoencoder", task), build("adversarial-autoencoder", task)
    assert count_parameters(plain.decoder) == count_parameters(rivalled.decoder)
    assert count_parameters(rivalled.rival) == 10 * 16 + 16 + 16 * 16 + 16 + 16 + 1


def test_a_model_of_the_registry_is_known_by_its_task(monkeypatch):
    experiment = EXPERIMENTS["rotation-long-code"].at("smoke")
    with torch.device("meta"):
        assert build_at("continuous-capsules-z128", experiment.task).z == 128
        at_quick = build_at("continuous-capsules-z128", experiment.at("quick").task)
        monkeypatch.setenv("GENCAPS_PROFILE", "smoke")
        at_smoke = build_at("continuous-capsules-z128", experiment.task)
        assert count_parameters(at_smoke) < count_parameters(at_quick)
        assert count_parameters(at_smoke) == count_parameters(experiment.build("continuous-capsules-z128"))


def test_images_of_whole_numbers_are_refused(task):
    with pytest.raises(TypeError, match="floating point"):
        build("autoencoder", task).encode(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
