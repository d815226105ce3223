"""What a run is made with, and how long it will take."""

from types import SimpleNamespace

import pytest
import torch

from gencaps_lib import machine
from gencaps_lib.data import load_digits
from gencaps_lib.experiments import EXPERIMENTS


@pytest.fixture
def made(monkeypatch):
    """A clock that `fit` moves: 3 seconds before the first step, 0.1 for each; and the numbers of steps it made."""
    clock, made = [0.0], []

    def fit(model, task, digits, steps, **options):
        made.append(steps)
        clock[0] += 3 + 0.1 * steps

    monkeypatch.setattr(machine, "fit", fit)
    monkeypatch.setattr(machine.time, "perf_counter", lambda: clock[0])
    return made


def test_a_forecast_is_of_steps_and_not_of_what_a_training_begins_with(made):
    entry = EXPERIMENTS["shift-transfer"].at("quick")
    line = machine.forecast(entry, ["autoencoder", "continuous-capsules"], load_digits("train", "embedded"))
    assert f"about {2 * entry.steps * 0.1 / 60:.0f} minutes" in line
    assert max(made) < 10, "a CPU has no time for more"


def test_on_a_gpu_it_looks_at_enough_steps_to_see_them_beside_a_capture(made, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *_arguments, **_options: self)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    digits = SimpleNamespace(images=SimpleNamespace(device=torch.device("cuda")))
    line = machine.forecast(EXPERIMENTS["shift-transfer"].at("quick"), ["continuous-capsules"], digits)
    assert f"about {EXPERIMENTS['shift-transfer'].at('quick').steps * 0.1 / 60:.0f} minutes" in line
    assert max(made) >= 100
