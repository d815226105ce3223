"""Learned addresses: the content-based kernel, the preliminary training, and what an address can reach."""

import math

import pytest
import torch
from small import build

from gencaps_lib.models import reach
from gencaps_lib.models.addresses import LearnedAddresses, PretrainedAddresses
from gencaps_lib.training import fit

SMALL = {"z": 3, "code_length": 2, "side": 16, "channels": 3, "maps": 4, "hidden": 8, "capsules": 5}


@pytest.fixture
def pretrained():
    decoder = PretrainedAddresses(**SMALL, steps=300, batch=128)
    decoder.reset_parameters(torch.Generator().manual_seed(0))
    return decoder


@torch.no_grad()
@pytest.mark.parametrize("kind", [LearnedAddresses, PretrainedAddresses])
@pytest.mark.equation("eq-content")
def test_content_based_routing_equals_naive_loops(kind, generator):
    decoder = kind(**SMALL)
    latent, code = torch.randn(2, 3, generator=generator), torch.randn(2, 2, generator=generator)
    addresses, activations = decoder.write(latent, code)
    assert addresses.shape == (2, 5, 4)
    assert addresses.min() >= 0
    assert activations.min() >= 0
    maps = torch.zeros(2, 3, 4, 4)
    for b in range(2):
        for channel in range(3):
            for row in range(4):
                for column in range(4):
                    cell = channel * 16 + row * 4 + column
                    for n in range(5):
                        products = [float(addresses[b, n] @ key) for key in decoder.cells]
                        weight = math.exp(products[cell]) / sum(math.exp(product) for product in products)
                        maps[b, channel, row, column] += float(activations[b, n]) * weight
    assert maps.max() > 0
    assert torch.allclose(decoder.maps(latent, code), maps.clamp(min=0), atol=1e-5)


@torch.no_grad()
@pytest.mark.equation("eq-address-loss")
def test_the_loss_of_the_preliminary_training_equals_naive_loops(pretrained, generator):
    places = torch.rand(6, 3, generator=generator) * torch.tensor([3.0, 3.0, 2.0])
    layer = pretrained.pointer[0]
    expected = 0.0
    for row, column, channel in places.tolist():
        scaled = torch.tensor([2 * row / 3 - 1, 2 * column / 3 - 1, 2 * channel / 2 - 1])
        address = (layer.weight @ scaled + layer.bias).clamp(min=0)
        products = [float(address @ key) for key in pretrained.cells]
        total = sum(math.exp(product) for product in products)
        for c in range(3):
            for i in range(4):
                for j in range(4):
                    kernel = max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j)) * max(0, 1 - abs(channel - c))
                    expected -= kernel * math.log(math.exp(products[16 * c + 4 * i + j]) / total) / 6
    assert pretrained.address_loss(places).item() == pytest.approx(expected, rel=1e-4)


def test_every_cell_can_be_found_after_the_preliminary_training_and_few_before(pretrained):
    before = reach(pretrained.cells, most=20.0)
    pretrained.prepare(torch.Generator().manual_seed(0))
    assert (reach(pretrained.cells, most=20.0) > 0.5).float().mean() > 0.95
    assert (before > 0.5).float().mean() < 0.5


@torch.no_grad()
def test_the_pointer_finds_the_cell_at_its_coordinates(pretrained):
    pretrained.prepare(torch.Generator().manual_seed(0))
    lattice = pretrained.lattice()
    assert lattice[17].tolist() == [0, 1, 1]  # the second map's first row, second column
    found = (pretrained.pointer(2 * lattice / lattice.amax(0) - 1) @ pretrained.cells.T).argmax(1)
    assert (found == torch.arange(len(lattice))).float().mean() > 0.8


def test_the_preliminary_training_happens_once_and_is_held_fixed(task, digits):
    model = build("learned-addresses-pretrained", task)
    fixed = {name: value for name, value in model.named_parameters() if not value.requires_grad}
    assert set(fixed) == {"decoder.cells", "decoder.address.2.weight", "decoder.address.2.bias"}
    start = {name: value.clone() for name, value in fixed.items()}
    fit(model, task, digits, steps=1, batch=8, progress=False)
    after = {name: value.clone() for name, value in fixed.items()}
    assert not torch.equal(after["decoder.cells"], start["decoder.cells"])
    fit(model, task, digits, steps=3, batch=8, progress=False)
    for name, value in fixed.items():
        assert torch.equal(value, after[name]), name
        assert not value.requires_grad
    again = build("learned-addresses-pretrained", task)
    again.load_state_dict(model.state_dict())
    again.prepare()
    assert torch.equal(again.decoder.cells, after["decoder.cells"])


def test_an_interrupted_preliminary_training_leaves_the_cells_fixed(pretrained, monkeypatch):
    def interrupt(places):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrained, "address_loss", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrained.prepare()
    assert not pretrained.cells.requires_grad
    assert not pretrained.prepared


def test_reach_finds_the_best_address():
    # On a line, with addresses from 0 to 4: the middle cell is never the most like.
    cells = torch.tensor([[0.0], [1.0], [2.0]])
    addresses = torch.linspace(0, 4, 4001)[:, None]
    weights = (addresses @ cells.T).softmax(1)
    assert reach(cells, most=4.0).tolist() == pytest.approx(weights.amax(0).tolist(), abs=1e-3)
    # Lifted to a parabola, it is found.
    lifted = torch.tensor([[0.0, 0.0], [1.0, -1.0], [2.0, -4.0]])
    assert reach(lifted, most=20.0).min() > 0.99
