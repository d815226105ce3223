"""The precision of products: rounding is right, backward passes are rounded too, and nothing else is."""

import math
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from small import build
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gencaps_lib import results
from gencaps_lib.experiments import EXPERIMENTS, Experiment
from gencaps_lib.experiments import spec as protocols
from gencaps_lib.experiments.spec import TF32_ON_CUDA
from gencaps_lib.models.registry import ARCHITECTURES
from gencaps_lib.results import Runs, moved
from gencaps_lib.results import runs as runs_module
from gencaps_lib.training import PRECISIONS, Trainer, fit, loop, precision, precision_context, rounded

CPU = torch.device("cpu")


def rounded_one_by_one(values, bits):
    """The nearest numbers with `bits` bits after the leading one, halves to even."""
    result = []
    for value in values.tolist():
        fraction, exponent = math.frexp(value)  # the fraction is from a half to one
        result.append(math.ldexp(round(fraction * 2 ** (bits + 1)), exponent - bits - 1))
    return torch.tensor(result)


@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_values_are_rounded_to_the_nearest(name, generator):
    bits = PRECISIONS[name]
    values = torch.randn(2000, generator=generator) * torch.randn(2000, generator=generator).mul(8).exp()
    halves = torch.tensor([1 + 2.0 ** -(bits + 1), 1 + 3 * 2.0 ** -(bits + 1), 1 + 2.0**-bits, 0.0, -1.5])
    for given in (values, halves):
        assert torch.equal(rounded(given, name), rounded_one_by_one(given, bits))
    assert rounded(torch.tensor(math.nan), name).isnan()
    huge = torch.tensor([3e38, -3e38, math.inf, -math.inf])
    assert torch.equal(rounded(huge, name), huge)


def test_bf16_rounds_as_pytorch_does(generator):
    values = torch.randn(2000, generator=generator)
    assert torch.equal(rounded(values, "bf16"), values.bfloat16().float())


def test_float32_and_other_types_are_left_alone(generator):
    values = torch.randn(20, generator=generator)
    assert rounded(values, "float32") is values
    assert rounded(values.double(), "tf32").dtype == torch.float64
    assert torch.equal(rounded(values.double(), "tf32"), values.double())


@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_products_and_their_gradients_have_rounded_factors(name, generator):
    """Every product of a dense layer, a batched product and a convolution, written out with rounded factors."""
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    inputs, weights, bias, errors = draw(6, 5).requires_grad_(), draw(4, 5).requires_grad_(), draw(4), draw(6, 4)
    with precision_context(name, CPU):
        outputs = F.linear(inputs, weights, bias)
        outputs.backward(errors)
    factors = [rounded(values.detach(), name) for values in (inputs, weights, errors)]
    few_inputs, few_weights, few_errors = factors
    assert torch.equal(outputs, few_inputs @ few_weights.T + bias)
    assert torch.equal(inputs.grad, few_errors @ few_weights)
    assert torch.equal(weights.grad, few_errors.T @ few_inputs)

    ones, others = draw(3, 2, 4), draw(3, 4, 5)
    with precision_context(name, CPU):
        batched = ones @ others
    assert torch.equal(batched, rounded(ones, name) @ rounded(others, name))

    images, kernels, errors = draw(2, 3, 8, 8).requires_grad_(), draw(3, 4, 4, 4).requires_grad_(), draw(2, 4, 16, 16)
    with precision_context(name, CPU):
        drawn = F.conv_transpose2d(images, kernels, stride=2, padding=1)
        drawn.backward(errors)
    few_images, few_kernels = (rounded(values.detach(), name).requires_grad_() for values in (images, kernels))
    expected = F.conv_transpose2d(few_images, few_kernels, stride=2, padding=1)
    expected.backward(rounded(errors, name))
    assert torch.equal(drawn, expected)
    assert torch.equal(images.grad, few_images.grad)
    assert torch.equal(kernels.grad, few_kernels.grad)


def test_rounding_ends_with_the_context(generator):
    one, other = torch.randn(5, 5, generator=generator), torch.randn(5, 5, generator=generator)
    with pytest.raises(RuntimeError, match="stop"), precision_context("bf16", CPU):
        raise RuntimeError("stop")
    exact = one @ other
    assert not torch.equal(exact, rounded(one, "bf16") @ rounded(other, "bf16"))
    for name in ("float32", None):
        with precision_context(name, CPU):
            assert torch.equal(one @ other, exact)


def test_an_unknown_precision_is_named(task, digits):
    with pytest.raises(ValueError, match="unknown precision 'fp8': choose one of float32, tf32, bf16"):
        fit(build("autoencoder", task), task, digits, 1, precision="fp8", progress=False)
    with pytest.raises(ValueError, match="unknown precision"), precision_context("fp8", CPU):
        pass


class Watch(TorchDispatchMode):
    """Notes every operation that PyTorch makes."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.seen.add(operation)
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_no_product_of_a_step_is_missed(name, digits):
    """What PyTorch knows to multiply and add up, its counter of operations knows; all of it is rounded."""
    task = EXPERIMENTS["rotation-extrapolation"].at("smoke").task
    model = build(name, task)
    model.prepare = lambda _: None  # a preliminary training takes longer than all the rest
    trainer = Trainer(model, task, digits, 1, batch=2)
    with Watch() as watch:
        trainer.step()
    multiplied = {operation for operation in watch.seen if operation.overloadpacket in flop_registry}
    assert len(multiplied) >= 4
    assert multiplied <= set(precision._PRODUCTS)


def test_the_model_is_rounded_and_the_target_is_not(digits, monkeypatch):
    """The transform of the digits is made in float32, whatever the model is trained with."""
    task = EXPERIMENTS["rotation-extrapolation"].at("smoke").task
    drawn = {}
    for name in ("float32", "bf16"):
        trainer = Trainer(build("autoencoder", task), task, digits, 1, batch=8, precision=name)
        objective = trainer.objective
        trainer.objective = lambda batch, name=name, objective=objective: (
            drawn.update({name: batch}) or objective(batch)
        )
        trainer.step()
        drawn[f"{name} loss"] = trainer.losses[0]
        drawn[f"{name} weight"] = trainer.model.encoder[0].weight.detach()
    assert torch.equal(drawn["float32"].target, drawn["bf16"].target)
    assert torch.equal(drawn["float32"].code, drawn["bf16"].code)
    assert not torch.equal(drawn["float32 loss"], drawn["bf16 loss"])
    assert torch.allclose(drawn["float32 loss"], drawn["bf16 loss"], rtol=0.02)
    assert not torch.equal(drawn["float32 weight"], drawn["bf16 weight"])


def test_the_registry_s_precision_reaches_the_run(digits, monkeypatch):
    asked = []
    real = loop.precision_context
    monkeypatch.setattr(loop, "precision_context", lambda name, device: asked.append(name) or real(name, device))
    for where, model, name in (
        ("shift-transfer", "continuous-capsules", "float32"),
        ("shift-transfer-precision", "continuous-capsules-bf16", "bf16"),
    ):
        experiment = replace(EXPERIMENTS[where].at("smoke"), steps=1)
        asked.clear()
        result, _ = results.run(experiment, model, digits, digits.first(1), progress=False)
        assert asked == [name]
        assert result.config.get("precision", "float32") == name


def test_on_cuda_tf32_is_for_models_that_bear_it():
    cuda = torch.device("cuda")
    usual, tried = (EXPERIMENTS[name].at("quick") for name in ("shift-transfer", "shift-transfer-precision"))
    assert {model for model in usual.models if usual.precision_on(cuda, model) == "tf32"} == TF32_ON_CUDA
    assert {usual.precision_on(CPU, model) for model in usual.models} == {"float32"}
    for device in (cuda, CPU):
        assert [tried.precision_on(device, model) for model in tried.models] == ["tf32", "tf32", "bf16"]
    # A model under another name is of its architecture.
    assert EXPERIMENTS["rotation-extrapolation"].precision_on(cuda, "continuous-capsules-z32") == "tf32"
    assert EXPERIMENTS["rotation-extrapolation"].precision_on(cuda, "composed-capsules") == "float32"


def test_models_are_judged_in_float32(digits, monkeypatch):
    """On CUDA PyTorch would round the factors of convolutions by itself."""
    experiment = EXPERIMENTS["shift-transfer-precision"].at("smoke")
    under_way = []

    @contextmanager
    def noted(name, device):
        under_way.append(name)
        yield
        under_way.pop()

    monkeypatch.setattr(runs_module, "precision_context", noted)
    judge = protocols.DRAWS.judge
    monkeypatch.setattr(
        Experiment,
        "kind",
        lambda self, model: replace(
            protocols.DRAWS,
            judge=lambda *given: judge(*given) if under_way == ["float32"] else pytest.fail("otherwise"),
        ),
    )
    experiment = replace(experiment, steps=1)
    assert results.run(experiment, "continuous-capsules-tf32", digits, digits.first(1), progress=False)[0].curves


def made_up(seed, history, inside, outside, precision="float32"):
    task = EXPERIMENTS["shift-transfer"].at("quick").task
    curve = [inside if task.is_inside(point) else outside for point in task.grid]
    return SimpleNamespace(
        seed=seed,
        history=history,
        curves={4: curve},
        source="mnist",
        profile="quick",
        made=len(history),
        precision=precision,
    )


def runs(*made):
    return Runs(made, EXPERIMENTS["shift-transfer"].at("quick").task)


def test_a_change_is_measured_beside_the_seeds():
    before = runs(made_up(0, [9.0] * 18 + [1.0, 3.0], 0.5, 2.0), made_up(1, [9.0] * 18 + [2.0, 4.0], 0.25, 2.5))
    after = runs(made_up(0, [9.0] * 18 + [1.0, 4.5], 0.75, 2.5), made_up(1, [9.0] * 18 + [2.0, 5.0], 0.75, 2.75))
    loss, inside, outside = moved(before, after, 4)
    assert loss == ("training loss, last tenth", 2.5, 3.125, 1.0)
    assert inside == ("error of '4' in range", 0.375, 0.75, 0.25)
    assert outside == ("error of '4' out of range", 2.25, 2.625, 0.5)
    assert [entry.within_noise for entry in (loss, inside, outside)] == [True, False, True]


def test_what_cannot_be_compared_is_refused():
    one, other = made_up(0, [1.0], 1.0, 2.0), made_up(1, [1.0], 1.0, 2.0)
    with pytest.raises(ValueError, match="one seed cannot show"):
        moved(runs(one), runs(one), 4)
    for key, value in (("seed", 2), ("made", 2), ("profile", "full"), ("source", "embedded")):
        changed = [SimpleNamespace(**{**vars(result), key: value}) for result in (one, other)]
        with pytest.raises(ValueError, match="different settings"):
            moved(runs(one, other), runs(*changed), 4)
    rough = made_up(1, [1.0], 1.0, 2.0, "tf32")
    with pytest.raises(ValueError, match="products in float32 only"):
        moved(runs(one, rough), runs(one, other), 4)


def test_on_cuda_tf32_is_switched_on_and_off(monkeypatch):
    """Products of float32 are made of float32 factors there, convolutions too, unless TF32 is asked for."""
    settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [setting.fp32_precision for setting in settings]
    for name, expected in (("tf32", "tf32"), ("float32", "ieee"), ("bf16", "ieee")):
        with precision_context("float32", torch.device("cuda")), precision_context(name, torch.device("cuda")):
            assert [setting.fp32_precision for setting in settings] == [expected] * 2
            with precision_context(None, torch.device("cuda")):
                assert [setting.fp32_precision for setting in settings] == [expected] * 2
        assert [setting.fp32_precision for setting in settings] == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine; its switches are tested above")
def test_what_is_rounded_here_is_what_tensor_cores_round(generator):
    """The hardware's TF32 is about as far from float64 as rounded factors are (it may cut off), float32 much nearer."""
    one, other = torch.randn(256, 512, generator=generator), torch.randn(512, 256, generator=generator)
    exact = one.double() @ other.double()
    errors = {}
    for name in ("float32", "tf32"):
        with precision_context(name, torch.device("cuda")):
            errors[f"{name} cuda"] = ((one.cuda() @ other.cuda()).cpu() - exact).abs().mean()
    with precision_context("tf32", CPU):
        errors["tf32 cpu"] = (one @ other - exact).abs().mean()
    assert errors["tf32 cpu"] / 2 < errors["tf32 cuda"] < 4 * errors["tf32 cpu"]
    assert errors["float32 cuda"] < errors["tf32 cuda"] / 50
