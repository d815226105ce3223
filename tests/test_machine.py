"""What a run is made with, and how long it will take."""

import subprocess
from types import SimpleNamespace

import pytest
import torch

from gencaps_lib.data import load_digits
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.results import provenance as machine


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


def test_a_commit_is_of_the_repository_that_this_file_is_tracked_by(tmp_path, monkeypatch):
    """An installed package may lie in the repository of something else, as in a virtual environment there."""

    def git(*arguments):
        settings = ["-c", "user.name=me", "-c", "user.email=me@here", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *settings, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    here = tmp_path / ".venv" / "gencaps_lib" / "machine.py"
    here.parent.mkdir(parents=True)
    here.touch()
    (tmp_path / "other.txt").touch()
    monkeypatch.setattr(machine, "__file__", str(here))
    assert machine.commit() == "unknown"  # no repository at all
    git("init")
    git("add", "other.txt")
    git("commit", "-m", "Not ours")
    assert machine.commit() == "unknown"
    git("add", ".venv")
    git("commit", "-m", "Ours")
    head = git("rev-parse", "--short", "HEAD")
    assert machine.commit() == head
    (tmp_path / "other.txt").write_text("changed", encoding="utf-8")
    assert machine.commit() == f"{head}-dirty"
    assert machine.commit("other.txt") == head
