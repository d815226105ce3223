"""Several models as one: each is trained as if it were alone."""

import pytest
import torch

from gencaps_lib.data import load_digits
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.optimisers import Optimiser
from gencaps_lib.stacked import Stack
from gencaps_lib.training import Batch, Trainer

SEEDS, STEPS, IMAGES = 3, 4, 8
ADAM = Optimiser("adam", 1e-3, "one-cycle")


@pytest.fixture(scope="module")
def digits():
    return load_digits("train", "embedded")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("shift-transfer", "autoencoder"),
        ("shift-transfer", "continuous-capsules"),
        ("rotation-transfer", "digit-capsules"),
        ("rotation-extrapolation", "composed-capsules"),
        ("rotation-extrapolation", "autoencoder-warp"),
    ],
)
def test_each_model_is_trained_as_if_it_were_alone(name, model, digits):
    experiment = EXPERIMENTS[name].at("smoke")
    together = [experiment.build(model, seed) for seed in range(SEEDS)]
    stack = Stack(together)
    trainer = Trainer(stack, experiment.task, digits, STEPS, 0, ADAM, SEEDS * IMAGES)
    batches = [trainer.draw() for _ in range(STEPS)]
    remaining = iter(batches)
    trainer.draw = lambda: next(remaining)
    for _ in range(STEPS):
        trainer.step()
    stack.copy_to(together)

    losses = []
    for seed, trained in enumerate(together):
        alone = experiment.build(model, seed)
        own = Trainer(alone, experiment.task, digits, STEPS, 0, ADAM, IMAGES)
        part = slice(seed * IMAGES, (seed + 1) * IMAGES)
        shares = iter([Batch(b.images[part], b.labels[part], b.code[part], b.target[part]) for b in batches])
        own.draw = lambda shares=shares: next(shares)
        for _ in range(STEPS):
            own.step()
        losses.append(own.losses)
        before = experiment.build(model, seed).parameters()
        for weight, expected, start in zip(trained.parameters(), alone.parameters(), before, strict=True):
            assert torch.allclose(weight, expected, atol=1e-4)
            if expected.numel() > 100:
                assert (expected - start).abs().max() > 3e-4
    assert torch.allclose(trainer.losses, torch.stack(losses).mean(0), atol=1e-5)


def test_it_draws_what_each_of_its_models_draws(digits):
    experiment = EXPERIMENTS["shift-transfer"].at("smoke")
    models = [experiment.build("continuous-capsules", seed) for seed in range(SEEDS)]
    images = digits.images[: SEEDS * IMAGES]
    code = experiment.task.code(experiment.task.sample(digits.labels[: SEEDS * IMAGES]))
    drawn = Stack(models)(images, code)
    parts = zip(models, images.split(IMAGES), code.split(IMAGES), strict=True)
    assert torch.allclose(drawn, torch.cat([model(*inputs) for model, *inputs in parts]), atol=1e-6)


def test_what_cannot_be_stacked_is_refused():
    experiment = EXPERIMENTS["shift-transfer"].at("smoke")
    with pytest.raises(ValueError, match="at least one"):
        Stack([])
    with pytest.raises(ValueError, match="models of one architecture"):
        Stack([experiment.build(name) for name in ("autoencoder", "digit-capsules")])
    with pytest.raises(ValueError, match="a loss or a rival of their own"):
        Stack([experiment.build("adversarial-autoencoder")])
