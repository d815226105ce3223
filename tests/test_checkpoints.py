"""A training that was stopped goes on where it was kept, as if it had never stopped."""

import errno
import warnings
from functools import partial

import pytest
import torch
from small import build

from gencaps_lib import __main__ as command_line
from gencaps_lib import results
from gencaps_lib.models import PretrainedAddresses
from gencaps_lib.results import engines
from gencaps_lib.training import Checkpoint, CheckpointError, DivergedError, Optimiser, Trainer, checkpoints, fit

STEPS = 8
ADAM = Optimiser("adam", 3e-3, "one-cycle")
OPTIONS = {"seed": 3, "batch": 8, "progress": False}


class StoppedAfter(Checkpoint):
    """Written after every step; Ctrl-C after the writing of the `last` one."""

    due = True

    def __init__(self, folder, last):
        super().__init__(folder, every=0)
        self.left = last

    def write(self, trainer):
        super().write(trainer)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def sitting(task, digits, tmp_path):
    """Train a new model, from where it was kept, for some more steps; return it, its losses and the checkpoint."""

    def sit(name="autoencoder", stop=None, **options):
        model = build(name, task)
        checkpoint = Checkpoint(tmp_path, every=0) if stop is None else StoppedAfter(tmp_path, stop)
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
        fit(build("autoencoder", task).cuda(), task, train, **options, checkpoint=StoppedAfter(tmp_path, 2))
    checkpoint = Checkpoint(tmp_path, every=0)
    again = fit(build("autoencoder", task).cuda(), task, train, **options, checkpoint=checkpoint)
    assert checkpoint.sittings == 2
    assert again == pytest.approx(history, rel=1e-2)  # sums on a GPU may differ in their order


def test_a_preparation_is_not_made_twice(sitting, monkeypatch):
    sitting("learned-addresses-pretrained", 2)
    monkeypatch.setattr(PretrainedAddresses, "address_loss", lambda *_: pytest.fail("it was prepared again"))
    assert len(sitting("learned-addresses-pretrained")[1]) == STEPS


@pytest.mark.parametrize(
    "other",
    [
        {"steps": 9},
        {"seed": 4},
        {"batch": 4},
        {"optimiser": ADAM},
        {"growth": 0.5},
        {"draws": 2},
        {"name": "digit-capsules"},
    ],
)
def test_another_training_in_the_same_folder_starts_anew_and_spoils_nothing(sitting, other):
    _, losses, _ = sitting(stop=5)
    assert sitting(**other)[2].sittings == 1
    _, again, checkpoint = sitting()
    assert (again[:5], checkpoint.sittings) == (losses, 2)


def test_after_a_change_of_the_code_it_starts_anew(sitting, monkeypatch):
    sitting(stop=5)
    monkeypatch.setattr(checkpoints, "code", lambda: "another")
    assert sitting()[2].sittings == 1


def test_what_is_not_whole_is_named_and_stays(sitting, tmp_path):
    sitting(stop=5)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=rf"{path.name} cannot be read \(.+\): delete it"):
        sitting()
    assert path.stat().st_size == 1000


def test_on_a_full_disk_the_training_goes_on(sitting, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_whole", full)
    with pytest.warns(UserWarning, match=r"goes on, but it could not be kept in .*\.pt \(No space left"):
        assert len(sitting()[1]) == STEPS


def test_a_loss_that_is_not_finite_is_not_kept(task, digits, tmp_path):
    model = build("autoencoder", task)
    losses = iter([1.0, 2.0, float("inf")])

    def loss(batch):
        return model.encode(batch.images).mean(), torch.tensor(next(losses))

    model.loss = loss
    with pytest.raises(DivergedError):
        fit(model, task, digits, STEPS, **OPTIONS, checkpoint=StoppedAfter(tmp_path, STEPS))
    (path,) = tmp_path.iterdir()
    assert torch.load(path, weights_only=True)["losses"].tolist() == [1, 2]


def test_it_is_written_once_a_minute_or_less_where_writing_takes_long(task, digits, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    checkpoint = Checkpoint(tmp_path)
    model = build("autoencoder", task)
    checkpoint.open(model, ["a training"])
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
    fit(build("autoencoder", task), task, digits, 2, **OPTIONS, checkpoint=Checkpoint(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_study_goes_on_in_the_middle_of_a_run(monkeypatch, tmp_path, capsys):
    """The result is that of a study that was never stopped, says how many sittings it took, and what was kept goes."""
    monkeypatch.chdir(tmp_path)
    command = ["study", "shift-transfer", "--models", "continuous-capsules", "--seeds", "1", "--profile", "smoke"]
    assert command_line.main([*command, "--out", "whole"]) == 0
    monkeypatch.setattr(engines, "Checkpoint", partial(StoppedAfter, last=4))
    assert command_line.main(command) == 130
    assert not list(tmp_path.glob("results/**/seed1.json"))
    assert len(list(tmp_path.glob("results/.under-way/*/*.pt"))) == 1
    assert results.check("results") == []
    monkeypatch.setattr(engines, "Checkpoint", partial(Checkpoint, every=0))
    assert command_line.main(command) == 0
    assert not list(tmp_path.glob("results/.under-way/*"))
    whole, parts = (
        results.read(results.result_path(folder, "shift-transfer", "continuous-capsules", 1))
        for folder in ("whole", "results")
    )
    assert (parts.history, parts.curves) == (whole.history, whole.curves)
    assert parts.machine == whole.machine | {"sittings": "2"}
    assert results.check("results") == []
