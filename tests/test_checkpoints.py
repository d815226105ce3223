"""A training that was stopped goes on where it was kept, as if it had never stopped."""

import errno
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
from small import build

from gencaps_lib import __main__ as command_line
from gencaps_lib import results
from gencaps_lib.models import PretrainedAddresses
from gencaps_lib.results import engines
from gencaps_lib.tasks import training_ranges
from gencaps_lib.training import Checkpoint, CheckpointError, DivergedError, Optimiser, Trainer, checkpoints, fit

STEPS = 8
ADAM = Optimiser("adam", 3e-3, "one-cycle")
OPTIONS = {"seed": 3, "batch": 8, "progress": False}


class StoppedAfter(Checkpoint):
    """Written after every step; Ctrl-C after the writing of the `last` one."""

    due = True

    def __init__(self, path, last, **options):
        super().__init__(path, every=0, **options)
        self.left = last

    def write(self, trainer):
        super().write(trainer)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def sitting(task, digits, tmp_path):
    """Train a new model, from where it was kept, for some more steps; return it, its losses and the checkpoint."""

    def sit(name="autoencoder", stop=None, model=None, task=task, digits=digits, **options):
        model = model or build(name, task)
        path = tmp_path / "training.pt"
        checkpoint = Checkpoint(path, every=0) if stop is None else StoppedAfter(path, stop)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore" if stop else "error", "interrupted", UserWarning)
            losses = fit(model, task, digits, **{"steps": STEPS, **OPTIONS, **options}, checkpoint=checkpoint)
        return model, losses, checkpoint

    return sit


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("autoencoder", {}),
        ("autoencoder", {"optimiser": ADAM, "growth": 0.9, "draws": 4}),
        ("digit-capsules", {"optimiser": Optimiser("adam", 3e-3, options={"fused": True})}),
        ("adversarial-autoencoder", {"optimiser": ADAM, "rival_optimiser": Optimiser("adam", 1e-3)}),
        ("composed-capsules", {"optimiser": ADAM, "faster": {"act.upper": 3.0}}),
    ],
)
def test_in_three_sittings_it_ends_as_in_one(sitting, task, digits, name, options):
    wanted = build(name, task)
    history = fit(wanted, task, digits, STEPS, **OPTIONS, **options)
    assert sitting(name, 2, **options)[1] == history[:2]
    assert sitting(name, 3, **options)[1] == history[:5]
    model, losses, checkpoint = sitting(name, **options)
    assert losses == history
    for weight, same in zip(wanted.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(weight, same)
    assert checkpoint.sittings == 3
    assert sitting(name, **options)[1] == history  # it is at its end: nothing is left to train


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine; the CPU goes on in the same way")
def test_captured_steps_on_cuda_go_on(task, digits, tmp_path):
    train = digits.to("cuda")
    options = {**OPTIONS, "optimiser": ADAM, "steps": 150}
    history = fit(build("autoencoder", task).cuda(), task, train, **options)
    with pytest.warns(UserWarning, match="interrupted"):
        fit(build("autoencoder", task).cuda(), task, train, **options, checkpoint=StoppedAfter(tmp_path / "it.pt", 2))
    checkpoint = Checkpoint(tmp_path / "it.pt", every=0)
    again = fit(build("autoencoder", task).cuda(), task, train, **options, checkpoint=checkpoint)
    assert checkpoint.sittings == 2
    assert again == pytest.approx(history, rel=1e-2)  # sums on a GPU may differ in their order


def test_a_preparation_is_not_made_twice(sitting, monkeypatch):
    sitting("learned-addresses-pretrained", 2)
    monkeypatch.setattr(PretrainedAddresses, "address_loss", lambda *_: pytest.fail("it was prepared again"))
    assert len(sitting("learned-addresses-pretrained")[1]) == STEPS


OTHER = {
    "steps 8 there and 9 here": {"steps": 9},
    "seed 3 there and 4 here": {"seed": 4},
    "batch 8 there and 4 here": {"batch": 4},
    "optimiser": {"optimiser": ADAM},
    "growth 0.0 there and 0.5 here": {"growth": 0.5},
    "precision": {"precision": "tf32"},
    "draws 1 there and 2 here": {"draws": 2},
    "faster": {"faster": {"decoder": 2.0}},
    "rival_optimiser": {"rival_optimiser": Optimiser("adam", 1e-3)},
}


def test_another_training_is_refused_and_spoils_nothing(sitting):
    _, losses, _ = sitting(stop=5)
    for difference, options in OTHER.items():
        said = rf"training\.pt is of another training \({difference}.*\): name another"
        with pytest.raises(CheckpointError, match=said):
            sitting(**options)
    _, again, checkpoint = sitting()
    assert (again[:5], checkpoint.sittings) == (losses, 2)


@pytest.mark.parametrize("what", ["weights", "digits", "task", "architecture", "trained"])
def test_so_is_one_with_other_weights_digits_or_task(sitting, task, digits, what):
    model, _, _ = sitting(stop=5)
    other = {
        "weights": {"model": build("autoencoder", task, seed=1)},
        "digits": {"digits": digits.of(0, 1, 4, 9)},
        "task": {"task": replace(task, seen=training_ranges((-1, 1), {}))},
        "architecture": {"name": "digit-capsules"},
        "trained": {"model": model},
    }[what]
    with pytest.raises(CheckpointError, match=r"its first loss was 0\.\d+ and not 0\.\d+, by its weights, digits or"):
        sitting(**other)


@pytest.mark.parametrize("keep", [0, 1000])
def test_what_is_not_whole_is_named_and_stays(sitting, tmp_path, keep):
    sitting(stop=5)
    path = tmp_path / "training.pt"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"training\.pt is no checkpoint, or not whole: delete it"):
        sitting()
    assert path.stat().st_size == keep


def test_a_file_that_cannot_be_read_is_not_called_damaged(sitting, tmp_path):
    (tmp_path / "training.pt").mkdir()
    with pytest.raises(IsADirectoryError):
        sitting()


def test_a_rival_that_is_no_part_of_the_model_is_kept_too(sitting, task, digits):
    class Apart:
        def __init__(self, rival):
            self.steps, self.parameters, self.loss = rival.steps, rival.parameters, rival.loss

    def made():
        model = build("adversarial-autoencoder", task)
        rival = model.rival
        del model.rival
        model.rival, model.loss = Apart(rival), partial(of, rival, model)
        return model

    def of(rival, model, batch):
        latent = model.encode_for(batch.images, batch.code)
        error = (model.decode(latent, batch.code) - batch.target).square().mean()
        return error - rival(latent).mean(), error.detach()

    history = fit(made(), task, digits, STEPS, **OPTIONS)
    sitting(model=made(), stop=4)
    assert sitting(model=made())[1] == history


def test_on_a_full_disk_the_training_goes_on(sitting, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_whole", full)
    with pytest.warns(UserWarning, match=r"goes on, but cannot be kept in .*\.pt \(No space left"):
        assert len(sitting()[1]) == STEPS


def test_a_loss_that_is_not_finite_is_not_kept(task, digits, tmp_path):
    model = build("autoencoder", task)
    losses = iter([0.0, 1.0, 2.0, float("inf")])

    def loss(batch):
        return model.encode(batch.images).mean(), torch.tensor(next(losses))

    model.loss = loss
    with pytest.raises(DivergedError):
        fit(model, task, digits, STEPS, **OPTIONS, checkpoint=StoppedAfter(tmp_path / "training.pt", STEPS))
    assert torch.load(tmp_path / "training.pt", weights_only=True)["losses"].tolist() == [1, 2]


def test_it_is_written_once_a_minute_or_less_where_writing_takes_long(task, digits, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path / "training.pt")
    model = build("autoencoder", task)
    checkpoint.open(model, 1.0, {})
    due = []
    for seconds in (59, 1):
        now[0] += seconds
        due.append(checkpoint.due)
    assert due == [False, True]

    def slow(path, content):
        now[0] += 3

    monkeypatch.setattr(checkpoints, "write_whole", slow)
    checkpoint.write(Trainer(model, task, digits, STEPS))
    due = []
    for seconds in (149, 1):
        now[0] += seconds
        due.append(checkpoint.due)
    assert due == [False, True]
    assert checkpoint.seconds == 60


def test_a_short_training_leaves_nothing(task, digits, tmp_path):
    fit(build("autoencoder", task), task, digits, 2, **OPTIONS, checkpoint=Checkpoint(tmp_path / "training.pt"))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def study(monkeypatch, tmp_path):
    """Run a study of one run, whose training is stopped after some steps or goes on to its end."""
    monkeypatch.chdir(tmp_path)
    command = ["study", "shift-transfer", "--models", "continuous-capsules", "--seeds", "1", "--profile", "smoke"]

    def of(*arguments, stop=None):
        kept = partial(Checkpoint, every=0) if stop is None else partial(StoppedAfter, last=stop)
        monkeypatch.setattr(engines, "Checkpoint", kept)
        return command_line.main([*command, *arguments])

    return of


def result(folder="results"):
    return results.read(results.result_path(folder, "shift-transfer", "continuous-capsules", 1))


def test_a_study_goes_on_in_the_middle_of_a_run(study, tmp_path):
    """The result is that of a study that was never stopped, and says how many sittings it took."""
    assert study("--out", "whole") == 0
    assert study(stop=4) == 130
    assert not list(tmp_path.glob("results/**/seed1.json"))
    assert len(list(tmp_path.glob("results/.under-way/*.pt"))) == 1
    assert results.check("results") == []
    assert study("--minutes", "0.5") == 0
    assert not list(tmp_path.glob("results/.under-way/*"))
    assert (result().history, result().curves) == (result("whole").history, result("whole").curves)
    assert result().machine == result("whole").machine | {"sittings": "2"}
    assert results.check("results") == []


def test_a_study_at_another_profile_or_of_other_settings_deletes_nothing(study, tmp_path, monkeypatch, capsys):
    assert study(stop=4) == 130
    (path,) = tmp_path.glob("results/.under-way/*.pt")
    kept = path.rename(path.with_name(path.name.replace("smoke", "quick")))
    assert study() == 0
    assert kept.exists()
    kept.rename(path)
    result_path = results.result_path("results", "shift-transfer", "continuous-capsules", 1)
    for each in result_path.parent.iterdir():
        each.unlink()
    monkeypatch.setattr(engines, "config_digest", lambda *_: "another configuration")
    assert study() == 1
    assert "is of another training (configuration" in capsys.readouterr().out
    assert path.exists()


def test_what_is_not_whole_stops_one_run_of_a_study_until_it_is_deleted(study, tmp_path, capsys):
    assert study(stop=4) == 130
    (path,) = tmp_path.glob("results/.under-way/*.pt")
    path.write_bytes(b"half")
    assert study() == 1
    shown = capsys.readouterr().out
    assert "seed1.pt is no checkpoint, or not whole: delete it" in shown
    assert "failed runs are made again with --retry" in shown
    path.unlink()
    assert study("--retry") == 0
    assert result().complete
    assert "sittings" not in result().machine


def test_a_run_under_way_goes_on_whatever_time_is_left(study, capsys):
    """Else a run that takes more than `--minutes` would never end."""
    assert study("--seeds", "0") == 0
    path = results.result_path("results", "shift-transfer", "continuous-capsules", 0)
    slow = replace(results.read(path), seconds=1e6)
    results.write(slow, "results", force=True, extras={results.GALLERY: results.read_beside(path, results.GALLERY)})
    assert study("--seeds", "0-1", "--minutes", "1") == 0
    assert "seed 1: not started" in capsys.readouterr().out
    assert study(stop=4) == 130
    assert study("--seeds", "0-1", "--minutes", "1") == 0
    assert result().complete
