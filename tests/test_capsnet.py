"""Capsules that recognise: every equation against naive loops, and that both networks learn."""

import math

import pytest
import torch
from torch import nn

from gencaps_lib.evaluation import accuracy_curve, answers
from gencaps_lib.models import (
    CLASSIFIERS,
    CapsNet,
    PlainClassifier,
    SpatialTransformer,
    margin_loss,
    route_by_agreement,
    squash,
)
from gencaps_lib.tasks import Batch, Task, training_ranges
from gencaps_lib.transforms import Rotation

B, N, J, D = 3, 5, 4, 6
SMALL = {"maps": 6, "types": 3, "pose": 4, "digit_pose": 8}


@pytest.fixture
def votes(generator):
    return torch.randn(B, N, J, D, generator=generator)


@pytest.fixture
def turn():
    return Task(
        "turn", Rotation(), training_ranges((-180, 180), {3: (-45, 45)}), (-90, 0, 90), inside=(-45, 45), outside=60
    )


def batch_of(digits, count):
    """A batch as the training loop makes it: what classifiers see is `target`, here of the same images."""
    chosen = slice(0, count)
    return Batch(-digits.images[chosen], digits.labels[chosen], torch.zeros(count, 2), digits.images[chosen])


def naive_squash(vector):
    """Equation 1, a number at a time: a plain list of floats in and out."""
    square = sum(value**2 for value in vector)
    return [square / (1 + square) * value / math.sqrt(square) for value in vector]


def naive_routing(votes, iterations):
    """Procedure 1 for one image, in lists: votes[n][j][d] → vectors of the parents, couplings."""
    logits = [[0.0] * J for _ in range(N)]
    for _ in range(iterations):
        couplings = []
        for n in range(N):
            total = sum(math.exp(logits[n][j]) for j in range(J))  # over the parents of one child
            couplings.append([math.exp(logits[n][j]) / total for j in range(J)])
        parents = []
        for j in range(J):
            parents.append(naive_squash([sum(couplings[n][j] * votes[n][j][d] for n in range(N)) for d in range(D)]))
        for n in range(N):
            for j in range(J):
                logits[n][j] += sum(votes[n][j][d] * parents[j][d] for d in range(D))
    return parents, couplings


@pytest.mark.equation("eq-squash")
def test_squash_equals_equation_1(votes):
    expected = [naive_squash(vector) for vector in votes.flatten(0, 2).tolist()]
    assert torch.allclose(squash(votes).flatten(0, 2), torch.tensor(expected), atol=1e-6)


def test_squash_keeps_direction_and_bounds_the_length_and_has_a_gradient_at_zero():
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3e4, 4e4], [3e-4, 4e-4]], requires_grad=True)
    short = squash(vectors)
    lengths = torch.linalg.vector_norm(short, dim=1)
    assert torch.allclose(lengths, torch.tensor([0.0, 25 / 26, 1.0, 2.5e-7]), atol=1e-8)
    assert torch.allclose(short[1:] / lengths[1:, None], torch.tensor([0.6, 0.8]).expand(3, 2))
    short.sum().backward()
    assert vectors.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_squash_bears_what_its_type_can_hold(dtype):
    """The square of a length may overflow, and the length itself may, too."""
    largest = torch.finfo(dtype).max
    vectors = torch.tensor([[largest] * 16, [-largest / 32] + [0] * 15], dtype=dtype, requires_grad=True)
    short = squash(vectors)
    assert torch.allclose(short, torch.tensor([[0.25] * 16, [-1.0] + [0] * 15], dtype=dtype))
    short.sum().backward()
    assert vectors.grad.isfinite().all()


def test_gradients_of_squash_are_right_for_long_vectors_too(generator):
    vectors = torch.randn(3, 5, dtype=torch.float64, generator=generator) * torch.tensor([[0.1], [1], [30]])
    assert torch.autograd.gradcheck(squash, vectors.requires_grad_())


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.equation("eq-votes")
@pytest.mark.equation("eq-agreement")
def test_routing_equals_procedure_1(votes, iterations):
    parents, couplings = route_by_agreement(votes, iterations)
    for b in range(B):
        for result, expected in zip((parents, couplings), naive_routing(votes[b].tolist(), iterations), strict=True):
            assert torch.allclose(result[b], torch.tensor(expected), atol=1e-5)


def test_gradients_of_routing_treat_the_couplings_as_given(votes):
    votes.requires_grad_()
    parents, couplings = route_by_agreement(votes)
    expected = squash((couplings.detach()[..., None] * votes).sum(1))
    found, wanted = (torch.autograd.grad(each[..., 0].sum(), votes)[0] for each in (parents, expected))
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.equation("eq-margin-loss")
def test_margin_loss_equals_equation_4(generator):
    lengths = torch.rand(B, J, generator=generator)
    labels = torch.tensor([0, 3, 1])
    total = 0.0
    for b in range(B):
        for j in range(J):
            length = lengths[b, j].item()
            if labels[b] == j:
                total += max(0, 0.9 - length) ** 2
            else:
                total += 0.5 * max(0, length - 0.1) ** 2
    assert margin_loss(lengths, labels).item() == pytest.approx(total / B, abs=1e-6)


def test_both_margins_are_squared_and_flat_where_they_are_met():
    label = torch.tensor([0])
    assert margin_loss(torch.tensor([[0.4, 0.0]]), label).item() == pytest.approx(0.5**2)
    assert margin_loss(torch.tensor([[0.9, 0.5]]), label).item() == pytest.approx(0.5 * 0.4**2)
    assert margin_loss(torch.tensor([[0.95, 0.05]]), label).item() == 0


@pytest.mark.equation("eq-votes")
def test_capsnet_is_its_equations(digits):
    model = CapsNet(**SMALL)
    images = digits.images[:2]
    maps = model.features(images)
    side = maps.shape[2]
    assert maps.shape == (2, 3 * 4, 6, 6)
    primary = model.primary_capsules(images)
    assert primary.shape == (2, model.primaries, 4) == (2, 3 * side**2, 4)
    # A primary capsule is one type at one place.
    kind, row, column = 2, 1, 4
    capsule = maps[1, kind * 4 : kind * 4 + 4, row, column]
    assert torch.allclose(primary[1, kind * side**2 + row * side + column], squash(capsule))
    votes = torch.stack(
        [torch.stack([model.weight[n, j] @ primary[1, n] for j in range(10)]) for n in range(model.primaries)]
    )
    expected = route_by_agreement(votes[None], 3)[0]
    assert torch.allclose(model.digit_capsules(images)[1:], expected, atol=1e-5)
    assert torch.allclose(model(images)[1:], expected.norm(dim=2), atol=1e-5)


def test_sizes_of_the_paper_and_that_the_plain_classifier_has_as_many_weights():
    with torch.device("meta"):
        capsnet, plain = CapsNet(), PlainClassifier()
    assert capsnet.primaries == 1152
    assert capsnet.weight.shape == (1152, 10, 16, 8)
    assert capsnet.weight.numel() == plain.dense[2].weight.numel()
    assert [layer.out_features for layer in capsnet.decoder if isinstance(layer, nn.Linear)] == [512, 1024, 784]


def test_the_decoder_sees_only_the_capsule_of_the_label(digits, generator):
    model = CapsNet(**SMALL)
    capsules = torch.randn(2, 10, 8, generator=generator)
    labels = torch.tensor([3, 7])
    drawn = model.reconstruct(capsules, labels)
    assert drawn.shape == (2, 1, 28, 28)
    assert drawn.abs().max() <= 1
    others = capsules + torch.randn(2, 10, 8, generator=generator)
    others[[0, 1], labels] = capsules[[0, 1], labels]
    assert torch.equal(model.reconstruct(others, labels), drawn)
    assert not torch.equal(model.reconstruct(capsules, torch.tensor([4, 7])), drawn)


@torch.no_grad()
def test_loss_is_the_margin_loss_with_a_little_reconstruction_error(digits):
    model = CapsNet(**SMALL)
    batch = batch_of(digits, 4)
    minimised, recorded = model.loss(batch)
    assert recorded.item() == pytest.approx(margin_loss(model(batch.target), batch.labels).item())
    drawn = model.reconstruct(model.digit_capsules(batch.target), batch.labels)
    errors = 0.0
    for b in range(4):  # the sum of squared errors over pixels in [0, 1]
        errors += (((drawn[b] + 1) / 2 - (batch.target[b] + 1) / 2) ** 2).sum().item() / 4
    assert (minimised - recorded).item() == pytest.approx(0.0005 * errors, rel=1e-4)


@torch.no_grad()
def test_the_plain_classifier_s_loss_is_the_cross_entropy(digits):
    model = PlainClassifier(**SMALL)
    batch = batch_of(digits, 4)
    minimised, recorded = model.loss(batch)
    expected = 0.0
    for scores, label in zip(model(batch.target).tolist(), batch.labels.tolist(), strict=True):
        expected += math.log(sum(math.exp(score) for score in scores)) - scores[label]
    assert minimised.item() == recorded.item() == pytest.approx(expected / 4, rel=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_and_gradients_reach_every_parameter(name, digits):
    model = CLASSIFIERS[name](**SMALL)
    assert model(digits.images[:3]).shape == (3, 10)
    minimised, recorded = model.loss(batch_of(digits, 32))
    assert minimised.shape == recorded.shape == ()
    assert not recorded.requires_grad
    minimised.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_seed_alone_determines_the_weights(name):
    before = torch.random.get_rng_state()
    first = CLASSIFIERS[name](**SMALL, seed=1).state_dict()
    torch.rand(7)
    again, other = (CLASSIFIERS[name](**SMALL, seed=seed).state_dict() for seed in (1, 2))
    torch.random.set_rng_state(before)
    CLASSIFIERS[name](**SMALL)
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, value in first.items():
        assert torch.equal(value, again[key]), key
        assert key.endswith("bias") or not torch.equal(value, other[key]), key


class Lookup(nn.Module):
    """Names every image by its brightest pixel of the first row; a digit's image has it at the digit, upright."""

    def forward(self, images):
        return images[:, 0, 0, :10]


def test_accuracy_is_counted_per_digit_over_the_grid(digits, turn):
    few = digits.first(3)
    images = torch.full_like(few.images, -1.0)
    images[torch.arange(len(few)), 0, 0, few.labels] = 1
    wrong = int((few.labels == 7).nonzero()[0])
    images[wrong, 0, 0, 7], images[wrong, 0, 0, 2] = -1, 1  # one of three 7s is named 2
    marked = type(few)(images, few.labels, few.source)
    model = Lookup().train()
    named = answers(model, turn, marked, batch=4)
    assert named.shape == (30, 3)
    assert named[wrong].tolist() == [0, 2, 0]  # turned, the row is empty: all scores alike
    curves = accuracy_curve(model, turn, marked, batch=4)
    assert model.training
    assert curves[3] == [0, 1, 0]
    assert curves[0] == [1, 1, 1]
    assert curves[7] == pytest.approx([0, 2 / 3, 0])


def test_accuracy_sees_what_is_turned_and_as_far_as_asked(digits, turn):
    seen = []

    class Watch(nn.Module):
        def forward(self, images):
            seen.append(images.clone())
            return torch.zeros(len(images), 10)

    few = digits.first(1)
    accuracy_curve(Watch(), turn, few)
    for images, quarters in zip(seen, (-1, 0, 1), strict=True):
        assert torch.allclose(images, few.images.rot90(quarters, (2, 3)), atol=1e-6)


@pytest.mark.parametrize("kind", [CapsNet, PlainClassifier])
def test_a_classifier_of_a_canvas_takes_pictures_of_its_side_only(kind):
    model = kind(**SMALL, side=44)
    assert model.primaries == 3 * 14**2
    assert model(torch.ones(B, 1, 44, 44)).shape == (B, 10)
    with pytest.raises(ValueError, match="44×44"):
        model(torch.ones(B, 1, 28, 28))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: route_by_agreement(torch.ones(B, N, J)), "votes must have shape"),
        (lambda: route_by_agreement(torch.ones(0, N, J, D)), "votes must have shape"),
        (lambda: route_by_agreement(torch.ones(B, N, J, D), 0), "iterations must be at least 1"),
        (lambda: margin_loss(torch.ones(B), torch.ones(B).long()), "lengths must have shape"),
        (lambda: margin_loss(torch.ones(B, J), torch.ones(B + 1).long()), "labels"),
        (lambda: CapsNet(kernel=15), "kernel 15"),
        (lambda: CapsNet(types=0), "at least 1"),
        (lambda: CapsNet(**SMALL)(torch.ones(B, 28, 28)), "images must have shape"),
        (lambda: CapsNet(**SMALL)(torch.ones(B, 1, 32, 32)), "28×28"),
        (lambda: PlainClassifier(**SMALL)(torch.ones(B, 1, 28, 20)), "28×28"),
        (lambda: PlainClassifier(**SMALL)(torch.ones(0, 1, 28, 28)), "empty"),
    ],
)
def test_bad_input_gets_one_clear_error(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


@torch.no_grad()
def test_a_spatial_transformer_names_what_it_has_moved(digits):
    model = SpatialTransformer(**SMALL)
    images = digits.images[:3]
    model.locate[-1].weight.zero_()
    assert torch.allclose(model.moved(images), images, atol=1e-5)
    upside_down = torch.tensor([-2.0, 0, 0, 0, -2, 0])  # beside the identity: half a turn
    model.locate[-1].bias.copy_(upside_down)
    assert torch.allclose(model.moved(images), images.flip(2, 3), atol=1e-5)
    assert torch.allclose(model(images), super(SpatialTransformer, model).forward(images.flip(2, 3)), atol=1e-4)
    model.locate[-1].bias.mul_(0.5)  # every place is read from the middle
    middle = images[:, :, 13:15, 13:15].mean((2, 3), keepdim=True)
    assert torch.allclose(model.moved(images), middle.expand_as(images), atol=1e-4)
    model.locate[-1].bias.copy_(torch.tensor([0.0, 0, 9, 0, 0, 0]))  # far off the picture there is paper
    assert (model.moved(images) == -1).all()
