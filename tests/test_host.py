"""The host's settings are the host's: its locale, and PyTorch's default type."""

import ast
from pathlib import Path

import pytest
import torch

from gencaps_lib.bench import costs
from gencaps_lib.capsules import GenerativeCapsules
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import CapsNet, PlainClassifier
from gencaps_lib.tasks import draw_batch
from gencaps_lib.transforms import Scale, Shear

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("gencaps_lib", "tools") for path in sorted((ROOT / folder).rglob("*.py"))]
SMALL = {"maps": 4, "types": 2, "pose": 3, "digit_pose": 4}


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_text_is_utf_8_whatever_the_locale_is(path):
    """The linter sees only paths that it can tell from their type."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in {"read_text", "write_text"}:
            assert any(word.arg == "encoding" for word in node.keywords), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("kind", [CapsNet, PlainClassifier])
def test_classifiers_are_float32(kind, digits, double):
    built = kind(**SMALL, seed=3)
    assert {weight.dtype for weight in built.parameters()} == {torch.float32}
    scores = built(digits.images[:2])
    torch.set_default_dtype(torch.float32)
    assert torch.equal(scores, kind(**SMALL, seed=3)(digits.images[:2]))


@pytest.mark.parametrize("transform", [Scale(), Shear()], ids=lambda each: type(each).__name__)
def test_transforms_draw_the_same_and_have_float32_generators(transform, double):
    low, high = (torch.full((5,), end, dtype=torch.float32) for end in (-0.5, 0.5))
    drawn = transform.draw(low, high, torch.Generator().manual_seed(0))
    assert transform.generators().dtype == drawn.dtype == torch.float32
    torch.set_default_dtype(torch.float32)
    assert torch.equal(drawn, transform.draw(low, high, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("strengths", [None, "learned", [[1, 0, 2], [1, 1, 1]]], ids=str)
def test_the_capsule_layer_has_one_type_as_pytorch_s_layers_have(strengths, double):
    layer = GenerativeCapsules(2, 3, 4, 5, strengths)
    activations, poses = layer(torch.rand(1, 2), torch.rand(1, 2, 4))
    assert activations.dtype == poses.dtype == torch.float64


def test_costs_are_those_of_float32(monkeypatch, double):
    seen = set()

    def one_second(work, *_arguments):
        work()
        return 1.0

    monkeypatch.setattr(costs, "seconds_of", one_second)
    monkeypatch.setattr(torch, "mm", lambda *factors, out: seen.update(each.dtype for each in (*factors, out)))
    rates = costs.machine_rates("cpu", elements=8, side=2)
    assert seen == {torch.float32}
    assert rates.bandwidth == 2 * 8 * 4


def test_batches_are_float32(digits, double):
    for name in ("shift-transfer", "rotation-transfer", "rotation-and-shift"):
        task = EXPERIMENTS[name].at("smoke").task
        drawn = draw_batch(task, digits, 4, torch.Generator().manual_seed(0))
        torch.set_default_dtype(torch.float32)
        usual = draw_batch(task, digits, 4, torch.Generator().manual_seed(0))
        torch.set_default_dtype(torch.float64)
        assert torch.equal(drawn.code, usual.code)
        assert torch.equal(drawn.target, usual.target)
