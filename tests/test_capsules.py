"""The dense capsule layer, against naive loops and the reference's special case."""

import pytest
import torch

from gencaps_lib.capsules import GenerativeCapsules

K, N, P, Q, B = 3, 4, 5, 2, 6


@pytest.fixture
def inputs(generator):
    return torch.rand(B, K, generator=generator), torch.randn(B, K, P, generator=generator)


def naive(layer, activations, poses):
    """The equations, a number at a time."""
    out_activations, out_poses = torch.zeros(B, N), torch.zeros(B, N, Q)
    for b in range(B):
        for n in range(N):
            for k in range(K):
                out_activations[b, n] += activations[b, k] * layer.strengths[k, n]
            for q in range(Q):
                for k in range(K):
                    vote = layer.bias[k, n, q] + sum(layer.weight[k, n, q, p] * poses[b, k, p] for p in range(P))
                    out_poses[b, n, q] += activations[b, k] * layer.strengths[k, n] * vote
                if out_activations[b, n] > 0:
                    out_poses[b, n, q] /= out_activations[b, n]
    return out_activations, out_poses


@pytest.mark.parametrize("strengths", ["all", "learned", "fixed"])
@torch.no_grad()
@pytest.mark.equation("eq-capsule-layer")
def test_equals_naive_loops(strengths, inputs, generator):
    fixed = torch.rand(K, N, generator=generator) * (torch.rand(K, N, generator=generator) > 0.3)
    layer = GenerativeCapsules(K, N, P, Q, {"all": None, "learned": "learned", "fixed": fixed}[strengths])
    layer.bias.uniform_(generator=generator)
    if strengths == "learned":
        layer.strength_logits.normal_(generator=generator)
    for result, expected in zip(layer(*inputs), naive(layer, *inputs), strict=True):
        assert torch.allclose(result, expected, atol=1e-5)


def test_with_all_strengths_one_it_is_the_weighted_sum_of_the_reference(inputs):
    layer = GenerativeCapsules(K, N, P, Q)
    activations = inputs[0].softmax(1)  # over the parents
    presence, poses = layer(activations, inputs[1])
    votes = torch.einsum("knqp,bkp->bknq", layer.weight, inputs[1]) + layer.bias
    assert torch.allclose(presence, torch.ones(B, N))
    assert torch.allclose(poses, (activations[:, :, None, None] * votes).sum(1), atol=1e-5)


def test_a_part_is_shared_and_a_part_nobody_asks_for_is_absent(inputs):
    strengths = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]])
    layer = GenerativeCapsules(K, N, P, Q, strengths)
    for parent, parts in ((0, [1.0, 1, 0, 0]), (1, [0.0, 1, 1, 0])):
        activations = torch.zeros(B, K)
        activations[:, parent] = 1
        presence, poses = layer(activations, inputs[1])
        assert presence[0].tolist() == parts
        assert (poses[:, 3] == 0).all()


def test_gradients_reach_everything_and_stay_finite_where_a_part_is_absent(inputs):
    layer = GenerativeCapsules(K, N, P, Q, "learned")
    activations = inputs[0].clone()
    activations[0] = 0  # no parent at all
    activations.requires_grad_()
    presence, poses = layer(activations, inputs[1])
    (presence.sum() + poses.square().sum()).backward()
    for gradient in [activations.grad, *(parameter.grad for parameter in layer.parameters())]:
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: GenerativeCapsules(0, N, P, Q), "at least 1"),
        (lambda: GenerativeCapsules(K, N, P, Q, "random"), "strengths"),
        (lambda: GenerativeCapsules(K, N, P, Q, torch.ones(N, K)), "strengths"),
        (lambda: GenerativeCapsules(K, N, P, Q, -torch.ones(K, N)), "at least 0; they run from -1 to -1"),
        (lambda: GenerativeCapsules(K, N, P, Q, torch.ones(K, N) / 0), "strengths must be finite"),
        (lambda: GenerativeCapsules(K, N, P, Q, torch.full((K, N), torch.nan)), "at least 0"),
        (lambda: GenerativeCapsules(K, N, P, Q)(torch.ones(B, K + 1), torch.ones(B, K, P)), "activations"),
        (lambda: GenerativeCapsules(K, N, P, Q)(torch.ones(0, K), torch.ones(0, K, P)), "activations"),
        (lambda: GenerativeCapsules(K, N, P, Q)(torch.ones(B, K), torch.ones(B, K, P + 1)), "poses"),
    ],
)
def test_bad_input_gets_one_clear_error(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_fixed_strengths_are_the_layer_s_own():
    given = torch.ones(K, N, requires_grad=True)
    layer = GenerativeCapsules(K, N, P, Q, given)
    with torch.no_grad():
        given.zero_()
    assert (layer.strengths == 1).all()
    assert not layer.strengths.requires_grad


def test_drawing_anew_starts_learned_strengths_anew(generator):
    layer = GenerativeCapsules(K, N, P, Q, "learned")
    assert (layer.strengths == 0.5).all()
    torch.nn.init.normal_(layer.strength_logits, generator=generator)
    layer.reset_parameters(generator)
    assert (layer.strengths == 0.5).all()


def test_poses_are_means_for_activations_of_either_sign():
    layer = GenerativeCapsules(2, 1, 1, 1)
    torch.nn.init.ones_(layer.weight)
    poses = torch.tensor([[[1.0], [5.0]]])
    for activations in (torch.tensor([[3.0, 1.0]]), torch.tensor([[-3.0, -1.0]])):
        assert layer(activations, poses)[1].item() == pytest.approx(2)
