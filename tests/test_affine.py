"""Matrices of the plane and exponentials of generators, against loops and PyTorch's own."""

import math

import pytest
import torch

from gencaps_lib.transforms import affine, exponential, inverse, move, rotation, translation
from gencaps_lib.transforms.matrices import matrix_exponential


def test_moved_points_equal_naive_loops(generator):
    matrices = affine(torch.randn(3, 2, 2, generator=generator), torch.randn(3, 2, generator=generator))
    points = torch.randn(3, 5, 2, generator=generator)
    moved = move(matrices, points)
    for b in range(3):
        for n in range(5):
            row, column = points[b, n].tolist()
            for axis in range(3):
                expected = sum(matrices[b, axis, k].item() * (row, column, 1)[k] for k in range(3))
                assert (1.0 if axis == 2 else moved[b, n, axis].item()) == pytest.approx(expected, abs=1e-5)


def test_inverse_undoes(generator):
    matrices = affine(torch.randn(9, 2, 2, generator=generator), torch.randn(9, 2, generator=generator)).double()
    assert torch.allclose(inverse(matrices) @ matrices, torch.eye(3).double().expand(9, 3, 3), atol=1e-9)


def test_rotation_is_counter_clockwise_with_rows_that_run_downwards():
    right = torch.tensor([[[0.0, 1.0]]])  # (row, column)
    assert torch.allclose(move(rotation(torch.tensor([math.pi / 2])), right), torch.tensor([[[-1.0, 0.0]]]), atol=1e-6)


def test_translation_adds():
    assert move(translation(torch.tensor([[0.5, -2.0]])), torch.tensor([[[1.0, 1.0]]])).tolist() == [[[1.5, -1.0]]]


@pytest.mark.parametrize("norm", [0.01, 1, 4 * math.pi])
def test_matrix_exponential_is_right_to_single_precision(norm, generator):
    matrices = torch.randn(20, 3, 3, generator=generator)
    matrices[0] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
    matrices *= norm / torch.linalg.matrix_norm(matrices, 2)[:, None, None]
    expected = torch.linalg.matrix_exp(matrices.double())
    error = torch.linalg.matrix_norm(matrix_exponential(matrices).double() - expected)
    assert (error / torch.linalg.matrix_norm(expected)).max() < 2e-5


def test_exponential_equals_a_naive_series(generator):
    """Each factor's series summed term by term, and the factors multiplied, the first next to the point."""
    generators = torch.nn.functional.pad(0.5 * torch.randn(3, 2, 3, generator=generator), (0, 0, 0, 1))
    parameters = torch.randn(2, 3, generator=generator)
    for b, t in enumerate(parameters.tolist()):
        first, second = t[0] * generators[0], t[1] * generators[1] + t[2] * generators[2]
        series = []
        for power in (first, second):
            term, total = torch.eye(3), torch.eye(3)
            for k in range(1, 40):
                term = term @ power / k
                total = total + term
            series.append(total)
        expected = series[1] @ series[0]
        assert torch.allclose(exponential(parameters, generators, (1, 2))[b], expected, atol=1e-5)
        assert not torch.allclose(exponential(parameters, generators, (3,))[b], expected, atol=1e-2)
