"""What a step costs: the straightforward port trains on the same, the counts are right, and the command measures."""

import dataclasses
import errno
import json
import math
import os
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gencaps_lib import __main__ as command_line
from gencaps_lib.bench import cli as bench_cli
from gencaps_lib.bench import costs, measuring
from gencaps_lib.bench.costs import Cost, Rates, RoutingCost, step_cost
from gencaps_lib.bench.naive import Port, PortedDigits
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.results import ResultError
from gencaps_lib.training import Optimiser, Trainer

SETUP = measuring.Setup("shift-transfer", "smoke", "embedded", steps=1, repeats=2)


@pytest.fixture
def small(monkeypatch):
    """Measurements of the machine that take no time, in this process."""
    monkeypatch.setattr(measuring, "machine_rates", partial(costs.machine_rates, elements=2**16, side=64))
    monkeypatch.setattr(measuring, "routing_costs", partial(costs.routing_costs, base=(4, 3, 2), repeats=1))
    monkeypatch.setattr(measuring, "_in_a_fresh_process", lambda threads, function, *arguments: function(*arguments))
    monkeypatch.setattr(measuring, "_elsewhere", lambda *arguments: nullcontext(measuring._here(*arguments)))


# Rotations that the port cannot make.
OTHERWISE = {"rotation-extrapolation-bicubic", "rotation-coarse-backwards", "rotation-coarse-raw-backwards"}


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in OTHERWISE])
def test_the_port_shows_what_the_library_shows(name, digits):
    task = EXPERIMENTS[name].at("smoke").task
    ported, scenes = PortedDigits(digits, task), task.scenes(digits).images
    values = []
    for index in range(40):
        image, label, value, target = ported[index]
        assert torch.equal(image, task.picture(scenes[index : index + 1])[0])
        assert label == digits.labels[index]
        low, high = task.seen[label]
        reach = torch.tensor([180, *[task.transform.margin] * 2]) if task.transform.dimensions == 3 else 1
        assert ((low <= value / reach) & (value / reach <= high)).all()
        # Pillow's numbers are single, and so are those of a place far from the centre.
        assert torch.allclose(target, task.target(scenes[index : index + 1], value[None])[0], atol=1e-4)
        if low < high:
            values.append(tuple(value.tolist()))
    assert 0 < len(values) < 2 * len(set(values))


@pytest.mark.parametrize("name", sorted(OTHERWISE))
def test_the_port_refuses_what_it_would_turn_in_another_way(name, digits):
    with pytest.raises(ValueError, match=r"the straightforward port cannot make a (Bicubic|Coarse|CoarseRaw)Rotation"):
        PortedDigits(digits, EXPERIMENTS[name].at("smoke").task)


@pytest.mark.parametrize("name", ["shift-transfer", "rotation-transfer"])
def test_the_port_trains_on_batches_like_the_librarys(name, digits):
    experiment = EXPERIMENTS[name].at("smoke")
    task = experiment.task
    port = Port(experiment.build("autoencoder"), task, digits, 3, "cpu", batch=16)
    batch = port.draw()
    if name == "shift-transfer":
        values = (batch.code * task.transform.margin).round().long()
    else:
        values = torch.atan2(batch.code[:, 1:], batch.code[:, :1]) * 180 / math.pi
    assert torch.allclose(batch.target, task.target(batch.images, values), atol=1e-4)
    assert not torch.equal(batch.images[0], batch.images[1])
    before = port.model.encoder[0].weight.clone()
    port.step()
    port.step()  # with that, the three batches are used
    assert (port.losses > 0).tolist() == [True, True, False]
    assert not torch.equal(port.model.encoder[0].weight, before)
    with pytest.raises(StopIteration):
        port.step()


def test_flops_and_bytes_are_counted(task, digits):
    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = torch.nn.Linear(784, 5, bias=False)

        def loss(self, batch):
            error = self.line(batch.images.flatten(1)).square().sum()
            return error, error.detach()

    cost = step_cost(Trainer(Line(), task, digits, 2, optimiser=Optimiser("sgd", 1e-9), batch=16))
    assert cost.flops == 2 * (2 * 16 * 784 * 5)  # forward, and for the weights; the images need no gradient
    weights, images, outputs = 784 * 5 * 4, 16 * 784 * 4, 16 * 5 * 4
    assert cost.bytes == 6 * weights + 2 * images + 2 * outputs
    adam = step_cost(Trainer(Line(), task, digits, 2, optimiser=Optimiser("adam", 1e-9), batch=16))
    assert adam.bytes == cost.bytes + 2 * 2 * weights + 2 * 4  # two moments, and the count of steps


@pytest.mark.equation("eq-floor")
def test_the_floor_is_the_longer_of_arithmetic_and_traffic():
    assert Cost(flops=100, bytes=30).floor(Rates(bandwidth=10, arithmetic=100)) == 3
    assert Cost(flops=500, bytes=30).floor(Rates(bandwidth=10, arithmetic=100)) == 5


def test_rates_are_of_this_machine():
    rates = costs.machine_rates("cpu", elements=2**20, side=256)
    assert 1e8 < rates.bandwidth < 1e13
    assert 1e8 < rates.arithmetic < 1e15


def test_a_gpu_s_rate_of_arithmetic_is_that_of_tensor_cores(monkeypatch):
    """The floor is to be lower than what any precision of training reaches."""
    asked = []
    monkeypatch.setattr(
        costs, "precision_context", lambda name, device: asked.append((name, device.type)) or nullcontext()
    )
    costs.machine_rates("cpu", elements=2, side=2)
    monkeypatch.setattr(costs, "seconds_of", lambda *_arguments: 1.0)
    rand = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *size, device, **kind: rand(*size, **kind))
    costs.machine_rates("cuda", elements=2, side=2)
    assert asked == [("float32", "cpu"), ("tf32", "cuda")]


def test_routing_is_timed_beside_a_dense_layer_of_as_many_products():
    measured = costs.routing_costs("cpu", batch=2, base=(4, 3, 2), factors=(2,), repeats=1)
    assert [(cost.capsules, cost.size, cost.channels) for cost in measured] == [
        (4, 3, 2),
        (8, 3, 2),
        (4, 6, 2),
        (4, 3, 4),
    ]
    assert [cost.dense_weights for cost in measured] == [4 * 18, 8 * 18, 4 * 72, 4 * 36]
    assert all(cost.seconds > 0 and cost.dense_seconds > 0 for cost in measured)


def test_every_candidate_is_what_it_says(monkeypatch):
    made = {}

    class Spy(Exception):
        pass

    def stop(trainer):
        made["trainer"] = trainer
        raise Spy

    monkeypatch.setattr(Trainer, "step", stop)
    monkeypatch.setattr(Port, "step", stop)
    seen = {}
    for name in measuring.candidates("cpu"):
        with pytest.raises(Spy):
            measuring.Running(SETUP, "autoencoder", name)
        trainer = made["trainer"]
        weight = trainer.model.encoder[2].weight
        output = []
        trainer.model.register_forward_hook(lambda module, inputs, drawn, output=output: output.append(drawn.dtype))
        trainer.objective(trainer.draw())
        seen[name] = (
            type(trainer).__name__,
            type(trainer.optimiser).__name__,
            trainer.optimiser.defaults.get("fused"),
            weight.is_contiguous(memory_format=torch.channels_last),
            output[0],
            trainer.batch,
            trainer.precision,
        )
    assert list(seen.values()) == [
        ("Port", "Adam", None, False, torch.float32, 32, None),
        ("Trainer", "Adam", None, False, torch.float32, 32, "float32"),
        ("Trainer", "Adam", True, False, torch.float32, 32, "float32"),
        ("Trainer", "Adam", True, True, torch.float32, 32, "float32"),
        ("Trainer", "ReferenceRMSprop", None, True, torch.float32, 32, "float32"),
        ("Trainer", "Adam", True, True, torch.bfloat16, 32, "float32"),
    ]


# Of each architecture that there is an experiment that the port can make, and a model.
ARCHITECTURES = {
    spec.architecture: (each.name, model)
    for each in EXPERIMENTS.values()
    if each.name not in OTHERWISE
    for model, spec in each.specs.items()
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_makes_the_candidates_steps(architecture):
    name, model = ARCHITECTURES[architecture]
    setup = dataclasses.replace(SETUP, experiment=name)
    port, *_, reference, autocast = measuring.candidates("cpu").values()
    for way in (port, reference, autocast):
        trainer = measuring._trainer(setup, model, way, 1)
        trainer.step()
        assert trainer.losses.isfinite().all(), way.name
    assert measuring.count(setup, model).flops > 0


def test_a_transform_that_the_port_cannot_make_is_refused_before_anything_is_measured(monkeypatch):
    experiment = EXPERIMENTS["scale-extrapolation"].at("smoke")
    strange = SimpleNamespace(side=28, code_length=1, is_peak=lambda point: False)
    task = dataclasses.replace(experiment.task, transform=strange)
    unknown = dataclasses.replace(experiment, task=task)
    monkeypatch.setattr(measuring.Setup, "at_profile", unknown)
    monkeypatch.setattr(measuring, "machine_rates", lambda *_arguments: pytest.fail("it measured"))
    with pytest.raises(ValueError, match=r"cannot make a SimpleNamespace: add it to gencaps_lib/bench/naive\.py"):
        measuring.run(SETUP, experiment.models[:1], progress=False, fresh=False)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"experiment": "shift"}, "unknown experiment 'shift'"),
        ({"profile": "huge"}, "profile"),
        ({"threads": 0}, "threads must be at least 1; got 0"),
        ({"steps": 0}, "steps must be"),
        ({"repeats": 0}, "repeats must be"),
    ],
)
def test_a_bad_setup_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(SETUP, **change)


def test_on_cuda_the_captured_graph_is_measured_too():
    ways = measuring.candidates("cuda")
    assert [name for name, way in ways.items() if way.captured] == list(ways)[4:]
    assert not any(way.captured for way in measuring.candidates("cpu").values())


def test_on_cuda_tf32_is_measured_of_models_that_are_trained_with_it():
    setup = dataclasses.replace(SETUP, device="cuda")
    for model, precision in (("continuous-capsules", "tf32"), ("digit-capsules", "float32")):
        ways = measuring.candidates_of(setup, model)
        assert ("+ TF32" in ways) is (precision == "tf32")
        ours = [name for name in ways if name.startswith("+")][-1]
        assert [way.precision for way in list(ways.values())[-3:]] == [precision] * 3
        assert list(ways)[-3] == ours
    assert "+ TF32" not in measuring.candidates_of(SETUP, "continuous-capsules")


def test_the_command_prints_a_table_and_writes_its_numbers(small, tmp_path, capsys):
    out = tmp_path / "bench.json"
    arguments = ["--profile", "smoke", "--models", "continuous-capsules", "--steps", "2", "--repeats", "3"]
    assert command_line.main(["bench", *arguments, "--device", "cpu", "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    assert json.loads(json.dumps(dataclasses.asdict(measuring.read(out)))) == written
    assert written["setup"] | {"threads": 0} == {
        "experiment": "shift-transfer",
        "profile": "smoke",
        "source": "embedded",
        "data": None,
        "device": "cpu",
        "threads": 0,
        "steps": 2,
        "repeats": 3,
    }
    assert [row["candidate"] for row in written["measurements"]] == list(measuring.candidates("cpu"))
    for row in written["measurements"]:
        assert len(row["all_seconds"]) == 3
        assert sorted(row["all_seconds"])[1] == row["seconds"] > 0
        assert row["images_per_second"] == pytest.approx(written["batch"] / row["seconds"])
    cost, floor = written["costs"]["continuous-capsules"], written["floors"]["continuous-capsules"]
    assert floor == Cost(**cost).floor(Rates(**written["rates"])) > 0
    slowest = written["profiles"]["continuous-capsules"][0]["name"]
    assert [RoutingCost(**row).capsules for row in written["routing"]] == [4, 2, 8, 4, 4, 4, 4]
    shown = capsys.readouterr().out
    assert f"continuous-capsules, time by operation: {slowest} " in shown
    ratio = written["measurements"][0]["seconds"] / written["measurements"][3]["seconds"]
    line = next(line for line in shown.splitlines() if "+ channels-last" in line)
    assert f"{ratio:.2f}" in line
    assert f"{written['measurements'][3]['seconds'] / floor:.2f}" in line


def test_what_was_measured_is_shown_though_the_disk_is_full(small, tmp_path, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(bench_cli, "check_writable", lambda path: None)  # there was room before
        disk.setattr(os, "fsync", full)
        arguments = ["--profile", "smoke", "--models", "continuous-capsules", "--steps", "1", "--repeats", "1"]
        out = tmp_path / "bench.json"
        assert command_line.main(["bench", *arguments, "--device", "cpu", "--out", str(out)]) == command_line.FAILURE
    shown = capsys.readouterr()
    assert "straightforward port" in shown.out
    assert f"{out}: No space left on device" in shown.err


def test_a_profile_says_where_the_time_of_a_step_goes(capfd):
    setup = dataclasses.replace(SETUP, steps=4)
    start = time.perf_counter()
    operations = measuring.profile(setup, "continuous-capsules")
    passed = time.perf_counter() - start
    assert capfd.readouterr() == ("", "")
    seconds = [operation.seconds for operation in operations]
    assert seconds == sorted(seconds, reverse=True)
    calls = {operation.name: operation.calls for operation in operations}
    assert calls["_fused_adam_"] == 1
    assert not [name for name in calls if "Optimizer" in name], "the optimiser's calls are counted by their operations"
    # Two layers of the encoder and two of the painter, once forwards and once backwards.
    assert calls["convolution"] == calls["convolution_backward"] == 4
    # Together they take no less than the fastest of some steps that nobody watches, and no more than passed meanwhile.
    running = measuring.Running(SETUP, "continuous-capsules", "+ channels-last")
    fastest = min(running.repeat()[0] for _ in range(2))
    assert 0.2 * fastest < sum(seconds) < passed / setup.steps


def test_a_fresh_process_knows_its_own_peak_memory(monkeypatch):
    monkeypatch.setattr(measuring, "_peak", lambda *_arguments: -1)  # in this process, and so not in the other
    (measured,) = measuring.measure(SETUP, "continuous-capsules", ["+ fused optimiser"])
    assert 5e7 < measured.peak_bytes < 5e9
    assert len(measured.all_seconds) == SETUP.repeats
    assert min(measured.all_seconds) > 0


def test_without_a_process_of_its_own_the_memory_is_not_known():
    assert measuring.Running(SETUP, "continuous-capsules", "+ fused optimiser").repeat()[1] is None


def test_candidates_take_turns(monkeypatch):
    """One after the other in each round, so that what slows the machine slows all of them."""
    asked = []

    class Timed:
        def __init__(self, setup, model, name):
            self.name, self.turns = name, 1 if name == "slow" else setup.repeats

        def repeat(self):
            asked.append(self.name)
            return float(len(asked)), 7

    monkeypatch.setattr(measuring, "Running", Timed)
    setup = dataclasses.replace(SETUP, repeats=3)
    one, slow, other = measuring.measure(setup, "autoencoder", ["one", "slow", "other"], fresh=False)
    assert asked == ["one", "slow", "other", "one", "other", "one", "other"]
    assert (one.all_seconds, slow.all_seconds, other.all_seconds) == ([1, 4, 6], [2], [3, 5, 7])
    assert (one.seconds, other.seconds, one.peak_bytes) == (4, 5, 7)
    assert one.images_per_second == 32 / 4


def test_slow_steps_are_timed_less_often(monkeypatch):
    """Of fast ones a repeat has as many as it should, of slow ones fewer; of very slow ones, one has to do."""
    setup = dataclasses.replace(SETUP, steps=50)
    for seconds, steps, turns, warming in ((0.01, 50, 2, 6), (1.0, 5, 2, 6), (60.0, 1, 1, 2)):
        monkeypatch.setattr(
            measuring, "seconds_of", lambda run, device, times=1, s=seconds: [run() for _ in range(times)] and s
        )
        running = measuring.Running(setup, "continuous-capsules", "+ fused optimiser")
        assert (running.steps, running.turns, int(running.trainer.made)) == (steps, turns, warming)
        running.repeat()
        assert int(running.trainer.made) == warming + steps


@pytest.mark.parametrize("text", ["{", "[]", '{"setup": {}}', '{"setup": {"size": 1}}'])
def test_a_file_of_something_else_is_refused(text, tmp_path):
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(ResultError, match="not a file of bench --out"):
        measuring.read(tmp_path / "bench.json")
    with pytest.raises(ResultError, match="cannot read"):
        measuring.read(tmp_path / "nowhere.json")


def test_stored_benchmarks_are_of_the_models_that_there_are():
    """At the article's sizes, of every candidate of their device, and of steps that cost what they cost now."""
    stored = measuring.stored()
    assert stored
    for benchmark in stored:
        setup = benchmark.setup
        assert (setup.experiment, setup.profile, setup.source) == ("shift-transfer", "full", "mnist")
        assert benchmark.batch == EXPERIMENTS["shift-transfer"].batch
        for model in measuring.MODELS:
            names = [row.candidate for row in benchmark.measurements if row.model == model]
            assert names == list(measuring.candidates_of(setup, model))
            now = measuring.count(dataclasses.replace(setup, source="embedded", device="cpu"), model)
            assert benchmark.costs[model].flops == now.flops
            assert benchmark.floors[model] == benchmark.costs[model].floor(benchmark.rates)


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("--models", "gan"), 2, "unknown model 'gan'"),
        (("--repeats", "0"), 2, "whole number of at least 1"),
        (("--device", "tpu"), 2, "--device cpu"),
        (("--out", str(Path(__file__).parent)), 1, "tests: Is a directory"),
        (("--out", f"{__file__}/bench.json"), 1, "test_bench.py: File exists"),
    ],
)
def test_bad_use_is_one_line(arguments, status, complaint, refused, small, monkeypatch):
    monkeypatch.setattr(measuring, "measure", lambda *_arguments: pytest.fail("it measured"))
    found, line, _ = refused("bench", "--profile", "smoke", *arguments)
    assert found == status
    assert complaint in line
