"""Routing by address: against naive loops, against bilinear sampling, and its gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, jacrev, vmap

from gencaps_lib.routing import route_by_address, to_index_space

SIZE = 7


def naive(addresses, activations, size):
    """The equation, a number at a time."""
    batch, capsules, channels = activations.shape
    maps = torch.zeros(batch, channels, size, size, dtype=activations.dtype)
    for b in range(batch):
        for n in range(capsules):
            row, column = addresses[b, n].tolist()
            for i in range(size):
                for j in range(size):
                    kernel = max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j))
                    for c in range(channels):
                        maps[b, c, i, j] += activations[b, n, c] * kernel
    return maps


def sample(maps, addresses):
    """Bilinear sampling of maps (B,C,S,S) at addresses (B,N,2), by PyTorch: (B,N,C)."""
    grid = addresses.flip(-1) * 2 / (maps.shape[-1] - 1) - 1  # grid_sample wants (x, y) in [-1, 1]
    return F.grid_sample(maps, grid[:, :, None], align_corners=True)[..., 0].transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.equation("eq-routing")
def test_equals_naive_loops(dtype, generator):
    addresses = torch.rand(3, 5, 2, generator=generator, dtype=dtype) * (SIZE + 4) - 2
    # On a cell, on the border, half and a whole cell outside, far outside.
    addresses[0] = torch.tensor([[3, 3], [0, SIZE - 1], [-0.5, 2], [-1, 2], [1e6, -1e6]], dtype=dtype)
    activations = torch.randn(3, 5, 4, generator=generator, dtype=dtype)
    maps = route_by_address(addresses, activations, SIZE)
    assert maps.dtype == dtype
    assert torch.allclose(maps, naive(addresses, activations, SIZE), atol=1e-6)


def test_far_outside_writes_nothing_and_has_no_gradient():
    addresses = torch.tensor([[[1e30, 3.0], [float("inf"), 3.0], [-1.0, -1.0]]], requires_grad=True)
    maps = route_by_address(addresses, torch.ones(1, 3, 2), SIZE)
    assert (maps == 0).all()
    maps.sum().backward()
    assert (addresses.grad == 0).all()


@pytest.mark.equation("eq-adjoint")
def test_writing_and_then_comparing_is_reading_and_then_comparing_in_loops(generator):
    """⟨route(a), m⟩ = ⟨a, sample(m)⟩, a number at a time: to read is to mix the four cells around by their nearness."""
    addresses = torch.rand(1, 5, 2, generator=generator, dtype=torch.float64) * (SIZE + 2) - 1.5
    activations = torch.randn(1, 5, 2, generator=generator, dtype=torch.float64)
    maps = torch.randn(1, 2, SIZE, SIZE, generator=generator, dtype=torch.float64)
    read = 0.0
    for n, (row, column) in enumerate(addresses[0].tolist()):
        top, left = math.floor(row), math.floor(column)
        down, right = row - top, column - left
        corners = [(0, 0, (1 - down) * (1 - right)), (0, 1, (1 - down) * right)]
        corners += [(1, 0, down * (1 - right)), (1, 1, down * right)]
        for below, beside, share in corners:
            i, j = top + below, left + beside
            if 0 <= i < SIZE and 0 <= j < SIZE:
                for c in range(2):
                    read += activations[0, n, c].item() * share * maps[0, c, i, j].item()
    written = (route_by_address(addresses, activations, SIZE) * maps).sum().item()
    assert written == pytest.approx(read, abs=1e-12)


@given(
    st.lists(st.tuples(*[st.floats(-3, SIZE + 2, allow_subnormal=False)] * 2, st.floats(-2, 2)), min_size=1, max_size=6)
)
@settings(max_examples=50, deadline=None)
def test_is_the_adjoint_of_bilinear_sampling(capsules):
    """⟨route(a), m⟩ = ⟨a, sample(m)⟩ for every map m."""
    values = torch.tensor([capsules], dtype=torch.float64)  # (1,N,3)
    addresses, activations = values[..., :2], values[..., 2:].expand(-1, -1, 3)
    maps = torch.randn(1, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    written = (route_by_address(addresses, activations, SIZE) * maps).sum()
    read = (activations * sample(maps, addresses)).sum()
    assert torch.allclose(written, read, atol=1e-9)


def test_gradients_are_right_away_from_the_kinks(generator):
    # Fractions between .1 and .9: no finite difference crosses a cell.
    fractions = torch.rand(2, 4, 2, generator=generator, dtype=torch.float64) * 0.8 + 0.1
    addresses = torch.randint(-1, SIZE, (2, 4, 2), generator=generator) + fractions
    activations = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    addresses.requires_grad_()
    activations.requires_grad_()
    assert torch.autograd.gradcheck(lambda *inputs: route_by_address(*inputs, SIZE), (addresses, activations))


def test_no_intermediate_holds_cells_times_capsules_times_channels(generator):
    batch, capsules, channels, size = 2, 32, 64, 16
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel())
            return out

    addresses = torch.rand(batch, capsules, 2, generator=generator).requires_grad_()
    activations = torch.rand(batch, capsules, channels, generator=generator).requires_grad_()
    with Watch():
        route_by_address(addresses, activations, size).sum().backward()
    assert 0 < max(sizes) < batch * size * size * capsules * channels / 8


def test_index_space_spans_the_map():
    assert to_index_space(torch.tensor([-1.0, 0.0, 1.0]), SIZE).tolist() == [0.0, 3.0, 6.0]


def test_under_autocast_the_wider_dtype_counts(generator):
    addresses = 4 * torch.rand(2, 3, 2, generator=generator)
    activations = torch.rand(2, 3, 2, generator=generator)
    for pair in ((addresses, activations.bfloat16()), (addresses.bfloat16(), activations)):
        with torch.autocast("cpu", torch.bfloat16):
            maps = route_by_address(*pair, 5)
        assert torch.allclose(maps.float(), route_by_address(*(each.float() for each in pair), 5), atol=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine; the CPU's values are tested above")
def test_cuda_equals_cpu(generator):
    addresses = torch.rand(4, 50, 2, generator=generator) * (SIZE + 4) - 2
    activations = torch.rand(4, 50, 8, generator=generator)
    maps = route_by_address(addresses.cuda(), activations.cuda(), SIZE)
    assert torch.allclose(maps.cpu(), route_by_address(addresses, activations, SIZE), atol=1e-5)


@pytest.mark.parametrize("derivative", [grad, jacrev], ids=lambda each: each.__name__)
def test_what_torch_func_maps_and_differentiates_is_what_it_gives_one_by_one(derivative, generator):
    addresses = 4 * torch.rand(3, 2, 4, 2, generator=generator)
    activations = torch.rand(3, 2, 4, 3, generator=generator)
    each = derivative(lambda *inputs: route_by_address(*inputs, 5).square().sum(), (0, 1))
    together, alone = vmap(each)(addresses, activations), map(each, addresses, activations)
    for mapped, found in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.allclose(mapped, torch.stack(found), atol=1e-5)


ADDRESSES, ACTIVATIONS = torch.zeros(2, 3, 2), torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("addresses", "activations", "size", "error", "complaint"),
    [
        (ADDRESSES[0], ACTIVATIONS, SIZE, ValueError, "addresses must have shape"),
        (torch.zeros(2, 3, 3), ACTIVATIONS, SIZE, ValueError, "addresses must have shape"),
        (ADDRESSES, ACTIVATIONS[0], SIZE, ValueError, "activations must have shape"),
        (ADDRESSES, ACTIVATIONS[:, :2], SIZE, ValueError, "activations must have shape"),
        (ADDRESSES[:0], ACTIVATIONS[:0], SIZE, ValueError, "nothing to route"),
        (ADDRESSES, ACTIVATIONS[..., :0], SIZE, ValueError, "nothing to route"),
        (ADDRESSES.long(), ACTIVATIONS.long(), SIZE, TypeError, "floating-point"),
        (ADDRESSES.double(), ACTIVATIONS, SIZE, TypeError, "one floating-point dtype"),
        (ADDRESSES, ACTIVATIONS, 0, ValueError, "size"),
        (ADDRESSES * float("nan"), ACTIVATIONS, SIZE, ValueError, "NaN"),
    ],
)
def test_bad_input_gets_one_clear_error(addresses, activations, size, error, complaint):
    with pytest.raises(error, match=complaint):
        route_by_address(addresses, activations, size)
