"""Studies: their order, and that nothing which happens to them loses, doubles or spoils a result."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest
import torch

from gencaps_lib import __main__ as command_line
from gencaps_lib import results, training
from gencaps_lib.data import load_digits
from gencaps_lib.evaluation import curves
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.results import EngineError, LocalEngine, Study, cli, engines, plan, runs
from gencaps_lib.results.jobs import Job, look
from gencaps_lib.training import DivergedError, loop

ROOT = Path(__file__).parents[1]
PAIR = ("continuous-capsules", "digit-capsules")


@pytest.fixture(autouse=True)
def smoke(monkeypatch, tmp_path):
    monkeypatch.setenv("GENCAPS_PROFILE", "smoke")
    monkeypatch.chdir(tmp_path)


def study(*arguments, models=PAIR):
    return command_line.main(["study", "shift-transfer", "--models", *models, *arguments])


@pytest.fixture
def start():
    """The same as a process of its own, of which none outlives the test."""
    processes = []

    def begin(*arguments):
        program = [sys.executable, "-m", "gencaps_lib", "study", "shift-transfer", "--models", *PAIR, *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        processes.append(subprocess.Popen(program, env=environment, **pipes))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def done(output):
    """The jobs that a study reports as made, in order."""
    return re.findall(r"^(\S+, \S+, seed \d+): done in", output, re.MULTILINE)


def files(folder="results"):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("seed*"))


@pytest.fixture
def one(tmp_path):
    """A folder with one result, of the continuous capsules and seed 0."""
    assert study(models=PAIR[:1]) == 0
    return tmp_path / "results" / "shift-transfer" / PAIR[0]


def test_every_model_has_one_seed_before_any_has_two():
    jobs = plan("full", ["shift-transfer", "rotation-range"], seeds=[3, 1])
    assert [job.seed for job in jobs] == [3] * 7 + [1] * 7
    assert [job.experiment for job in jobs[:7]] == ["shift-transfer"] * 5 + ["rotation-range"] * 2
    assert jobs[:7] == [job._replace(seed=3) for job in jobs[7:]]
    everything = plan("full")
    assert {job.seed for job in everything} == {0, 1, 2, 3, 4}
    assert {job.experiment for job in everything} == set(EXPERIMENTS)
    assert {job.seed for job in plan("quick")} == {0}  # each experiment's own


def test_it_makes_what_is_missing_and_no_more(capsys, monkeypatch):
    assert study("--seeds", "0,2") == 0
    shown = capsys.readouterr().out
    assert done(shown) == [f"shift-transfer, {model}, seed {seed}" for seed in (0, 2) for model in PAIR]
    assert re.search(r"shift-transfer +digit-capsules +embedded +2/2( +0\.\d{4}){2} +\d\.\d\d$", shown, re.MULTILINE)
    assert results.check("results") == []
    Path("results/shift-transfer/digit-capsules/seed0.json").unlink()
    assert study("--seeds", "0-2") == 0
    assert done(capsys.readouterr().out) == [
        "shift-transfer, digit-capsules, seed 0",
        *(f"shift-transfer, {model}, seed 1" for model in PAIR),
    ]
    monkeypatch.setattr(runs, "fit", lambda *_arguments, **_options: pytest.fail("it trained"))
    monkeypatch.setattr(cli, "load_digits", lambda *_arguments, **_options: pytest.fail("it looked for data"))
    assert study("--seeds", "0-2") == 0


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_where_it_was(start, capsys):
    process = start("--seeds", "0-2")
    seen = "".join(next(process.stdout) for _ in range(3))  # the fourth run is under way
    process.kill()
    seen += process.communicate()[0]
    assert results.check("results") == []
    there = {path: path.stat().st_mtime_ns for path in Path("results").rglob("seed*")}
    draft = Path("results/shift-transfer/digit-capsules/.seed1.json.killed.draft")
    draft.write_text("half of a resu", encoding="utf-8")
    assert study("--seeds", "0-2") == 0
    made = done(seen) + done(capsys.readouterr().out)
    assert sorted(made) == sorted(str(job) for job in plan("smoke", ["shift-transfer"], PAIR, range(3)))
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert results.check("results") == []
    assert not draft.exists()


@pytest.mark.slow
def test_two_studies_share_the_work(start):
    processes = [start("--seeds", "0-2") for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    jobs = [str(job) for job in plan("smoke", ["shift-transfer"], PAIR, range(3))]
    assert sorted(done("".join(outputs))) == sorted(jobs)
    assert results.check("results") == []


@pytest.mark.parametrize("fate", ["at it", "gone", "done"])
def test_what_another_study_is_at_is_looked_at_again(capsys, fate, monkeypatch):
    """Another study holds a claim; while this one makes the other run, it goes on, is killed, or ends."""
    first, second = plan("smoke", ["shift-transfer"], PAIR)
    digits = {"embedded": tuple(load_digits(split, "embedded") for split in ("train", "test"))}
    Path("results/.claims").mkdir(parents=True)
    claim = filelock.FileLock("results/.claims/shift-transfer.continuous-capsules.seed0.lock")
    claim.acquire()
    engine = LocalEngine(digits, progress=False)
    made = []

    def finish():
        job, outcome = LocalEngine.finish(engine)
        made.append(job)
        if job == second and fate != "at it":
            if fate == "done":
                results.write(results.run(first.entry, first.model, *digits["embedded"], progress=False)[0], "results")
            claim.release()
        return job, outcome

    monkeypatch.setattr(engine, "finish", finish)
    here = Study([first, second], "results")
    lines = []
    here.run(engine, report=lines.append)
    claim.release()
    assert lines[0] == f"{first}: elsewhere, another study is making it"
    assert made == ([second, first] if fate == "gone" else [second])
    assert here.states[first].kind == {"at it": "elsewhere", "gone": "done", "done": "done"}[fate]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_reported_and_nothing_is_spoiled(capsys, monkeypatch, call):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, call, full)
        assert study() == 1
    shown = capsys.readouterr()
    # What a trial finds is found before the work, of each run. Here only renaming fails, after the work; then no other
    # run is made in vain.
    tried = PAIR if call == "fsync" else PAIR[:1]
    failed = re.findall(r"([\w-]+), seed 0: failed, cannot write .*No space left", shown.out.split("\n\n")[0])
    assert failed == list(tried)
    assert ("start the study again" in shown.err) == (call == "replace")
    assert files() == []
    assert study() == 0
    assert len(done(capsys.readouterr().out)) == 2


def test_a_failure_that_cannot_be_recorded_says_so(capsys, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    _diverge(monkeypatch)
    monkeypatch.setattr(os, "replace", full)
    assert study("--seeds", "1", models=PAIR[:1]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"failed, .*step 3.* \(and it cannot be recorded: No space left on device\)", shown)
    assert files() == []


def _diverge(monkeypatch):
    def fit(model, task, digits, steps, seed, **options):
        if seed == 1:
            raise DivergedError(3, [])
        return training.fit(model, task, digits, steps, seed, **options)

    monkeypatch.setattr(runs, "fit", fit)
    return "stopped being finite at step 3"


def _draw_nothing(monkeypatch):
    calls = []

    def losses(*arguments):
        calls.append(1)
        return torch.full_like(real(*arguments), float("nan" if len(calls) == 2 else "0.5"))

    real = curves.image_losses
    monkeypatch.setattr(curves, "image_losses", losses)
    return "the error of '0' at .* is nan"


@pytest.mark.parametrize("fail", [_diverge, _draw_nothing])
def test_what_is_not_finite_is_recorded_and_made_again_when_asked(capsys, monkeypatch, fail):
    arguments = {"models": PAIR[:1]}
    with monkeypatch.context() as broken:
        reason = fail(broken)
        assert study("--seeds", "0-2", **arguments) == 1
    assert len(done(capsys.readouterr().out)) == 2
    record = Path("results/shift-transfer/continuous-capsules/seed1.failed.json")
    assert re.search(reason, json.loads(record.read_text(encoding="utf-8"))["reason"])
    assert study("--seeds", "0-2", "--status", **arguments) == 1
    shown = capsys.readouterr().out
    assert re.search(reason, shown)
    assert "--retry" in shown
    assert study("--seeds", "0-2", **arguments) == 1
    assert done(capsys.readouterr().out) == []
    assert study("--seeds", "0-2", "--retry", **arguments) == 0
    assert done(capsys.readouterr().out) == ["shift-transfer, continuous-capsules, seed 1"]
    assert not record.exists()


def test_a_failure_at_other_sizes_says_nothing():
    job = Job("shift-transfer", PAIR[0], 0, "smoke")
    path = results.beside(job.path("results"), "failed.json")
    path.parent.mkdir(parents=True)
    for config, kind in ((job.configuration, "failed"), ({**job.configuration, "steps": 9}, "missing")):
        path.write_text(json.dumps({**job._asdict(), "reason": "bad luck", "config": config}), encoding="utf-8")
        assert Study([job], "results").states[job].kind == kind


def test_no_run_is_started_that_would_end_too_late(one, capsys):
    slow = replace(results.read(one / "seed0.json"), seconds=600.0)
    results.write(slow, "results", force=True)
    assert study("--seeds", "0-1", "--minutes", "9.9") == 0
    shown = capsys.readouterr().out
    assert "continuous-capsules, seed 1: not started" in shown
    assert done(shown)[-2:] == ["shift-transfer, digit-capsules, seed 0", "shift-transfer, digit-capsules, seed 1"]
    assert study("--seeds", "0-1", "--minutes", "10.5") == 0
    assert done(capsys.readouterr().out) == ["shift-transfer, continuous-capsules, seed 1"]


def test_interrupted_it_drops_the_run_and_keeps_the_others(capsys, monkeypatch):
    steps = []

    def interrupt(*arguments):
        steps.append(1)
        if len(steps) == 25:  # in the second run
            raise KeyboardInterrupt
        return draw(*arguments)

    draw = loop.draw_batch
    monkeypatch.setattr(loop, "draw_batch", interrupt)
    assert study() == 130
    assert {Path(name).parts[1] for name in files()} == {"continuous-capsules"}
    assert results.check("results") == []
    shown = capsys.readouterr()
    assert re.search("digit-capsules +0/1 .* 1 missing", shown.out)
    assert len([line for line in shown.err.splitlines() if "interrupted" in line]) == 1


def test_interrupted_while_it_tests_it_keeps_that_run_and_stops(ctrl_c_while_tested, capsys):
    ctrl_c_while_tested(1)
    with pytest.warns(UserWarning, match="Ctrl-C again gives it up"):
        assert study() == 130
    assert len(done(capsys.readouterr().out)) == 1
    assert {Path(name).parts[1] for name in files()} == {PAIR[0]}


@pytest.mark.parametrize(("whole", "arguments"), [(True, []), (True, ["--force"]), (False, [])])
def test_what_something_else_wrote_meanwhile_is_kept_if_it_is_whole(capsys, monkeypatch, whole, arguments):
    """As `run`, which takes no claim."""

    def make(*given, **options):
        made = real(*given, **options)
        theirs = replace(made.result, seconds=12345.0, history=made.result.history[: None if whole else 3])
        made._replace(result=theirs).write("results", force=True)
        return made

    real = engines.make
    if arguments:
        assert study(models=PAIR[:1]) == 0
        path = Path("results/shift-transfer/continuous-capsules/seed0.json")
        results.write(replace(results.read(path), profile="quick"), "results", force=True)  # stale
    monkeypatch.setattr(engines, "make", make)
    assert study(*arguments, models=PAIR[:1]) == 0
    kept = results.read("results/shift-transfer/continuous-capsules/seed0.json")
    assert ("not kept: while it was made, something else wrote" in capsys.readouterr().out) == whole
    assert (kept.seconds == 12345.0) == whole
    assert kept.complete


def test_stale_results_are_shown_and_kept_until_force(one, capsys):
    result = results.read(one / "seed0.json")
    results.write(replace(result, profile="quick"), "results", force=True)
    before = (one / "seed0.json").read_bytes()
    assert study("--status", models=PAIR[:1]) == 1
    shown = capsys.readouterr().out
    assert "made at the quick profile, not at smoke" in shown
    assert "1 stale" in shown
    assert study(models=PAIR[:1]) == 1
    assert (one / "seed0.json").read_bytes() == before
    assert study("--force", models=PAIR[:1]) == 0
    assert results.read(one / "seed0.json").profile == "smoke"


def test_status_runs_nothing_and_finds_damage(one, capsys, monkeypatch):
    monkeypatch.setattr(runs, "fit", lambda *_arguments, **_options: pytest.fail("it trained"))
    assert study("--status") == 0
    assert re.search("digit-capsules +0/1 .* 1 missing", capsys.readouterr().out)
    (one / "notes.txt").write_text("mine", encoding="utf-8")
    assert study("--status") == 1
    assert "notes.txt is not a result" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("shift",), 2, "unknown experiment 'shift'"),
        (("shift-transfer", "--models", "capsnet"), 2, "unknown model 'capsnet'"),
        (("--seeds", "4-1"), 2, "whole number of at least 4"),
        (("--seeds", "1-"), 2, "whole number"),
        (("--minutes", "0"), 2, "not a number above 0"),
        (("--minutes", "nan"), 2, "not a number above 0"),
        (("--device", "tpu"), 2, "--device cpu"),
        (("--profile", "full", "--data", "."), 1, "MNIST"),
        (("--data", "nowhere"), 2, "'nowhere' is not a folder"),
        (("--out", "file"), 1, "name another folder"),
        (("--engine", "ray"), 1, "pip install 'gencaps_lib[ray]'"),
    ],
)
def test_bad_use_is_one_line(arguments, status, complaint, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    Path("file").touch()
    found, line, _ = refused("study", *arguments)
    assert found == status
    assert complaint in line


def test_without_a_cluster_it_says_how_to_start_one(capsys, monkeypatch):
    def init(*_arguments, **_options):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    assert study("--engine", "ray") == 1
    assert "`ray start --head`" in capsys.readouterr().err


def test_on_a_cluster_runs_share_gpus_and_what_is_lost_too_often_has_failed(capsys, monkeypatch):
    """Without Ray: what is asked of it, and what becomes of what it answers."""

    class RayError(Exception):
        pass

    def get(task):
        if task[1].model == PAIR[1]:
            raise RayError("The node died.\nIts last words.")
        return task[0](*task[1:])

    asked = {}
    ray = SimpleNamespace(
        init=lambda *_arguments, **_options: None,
        shutdown=lambda: asked.update(shutdown=True),
        cluster_resources=lambda: {"CPU": 16.0, "GPU": 2.0},
        remote=lambda **options: asked.update(options) or (lambda made: SimpleNamespace(remote=lambda *a: (made, *a))),
        put=tuple,
        wait=lambda tasks: (tasks[:1], tasks[1:]),
        get=get,
        exceptions=SimpleNamespace(RayError=RayError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert study("--engine", "ray", "--gpu", "0.5") == 1
    assert asked == {"num_cpus": 1, "num_gpus": 0.5, "max_retries": 5, "shutdown": True}
    shown = capsys.readouterr().out
    assert done(shown) == ["shift-transfer, continuous-capsules, seed 0"]
    assert "digit-capsules, seed 0: failed, The node died.\n" in shown
    result = results.read("results/shift-transfer/continuous-capsules/seed0.json")
    assert result.machine == results.machine(torch.device("cpu")) | {"precision": "float32"}


def test_a_gpu_that_is_lost_ends_a_study_with_what_to_do(monkeypatch):
    """Else every run that is left would be recorded as one that failed by itself."""

    def broken(device):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered\nand many lines more")

    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    there = SimpleNamespace(images=SimpleNamespace(device=torch.device("cuda")))
    work = Study(plan("smoke", ["shift-transfer"], PAIR, [0, 1]), "results")
    source = next(iter(work.states)).entry.source
    with pytest.raises(EngineError, match=r"answer any more \(CUDA error: .* triggered\): start the study again"):
        work.run(LocalEngine({source: (there, there)}), report=print)
    assert not list(Path("results").rglob("*.failed*")) + list(Path("results").rglob("seed*"))
    # The claims are free.
    assert all(filelock.FileLock(path).acquire(blocking=False) for path in Path("results/.claims").iterdir())


def test_a_place_is_tried_before_the_work(capsys, monkeypatch):
    Path("results/shift-transfer").mkdir(parents=True)
    Path("results/shift-transfer/digit-capsules").touch()
    made = []
    monkeypatch.setattr(engines, "make", lambda entry, model, *_arguments, **_options: made.append(model) or 1 / 0)
    assert study() == 1
    assert made == ["continuous-capsules"]
    assert "digit-capsules, seed 0: failed, cannot write" in capsys.readouterr().out


def test_a_file_system_without_locks_is_named(capsys, monkeypatch):
    def refuse(*_arguments, **_options):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert study(models=PAIR[:1]) == 1
    assert "cannot claim it (FileSystem does not appear" in capsys.readouterr().out


def test_digits_that_stood_in_for_mnist_are_stale_once_it_is_here(one, capsys, mnist, monkeypatch):
    job = Job("shift-transfer", PAIR[0], 0, "quick")
    there = results.read(one / "seed0.json")
    mark = results.fingerprint(job.entry, job.model)
    config = results.configuration(job.entry, job.model)
    stood_in = replace(
        there, profile="quick", config=config, fingerprint=mark, history=[1.0] * config["steps"], grid=[], curves={}
    )
    results.write(stood_in, "results", force=True)
    assert look(job, "results").kind == "done"
    state = look(job, "results", mnist)
    assert state.kind == "stale"
    assert "made on embedded digits, but the data here are mnist" in state.note
    monkeypatch.setenv("GENCAPS_DATA", str(mnist))
    assert Study([job], "results").states[job].kind == "stale"
    results.write(replace(stood_in, source="mnist"), "results", force=True)
    monkeypatch.delenv("GENCAPS_DATA")
    assert look(job, "results").kind == "done"  # MNIST was somewhere else, and is no less MNIST
    assert command_line.main(["study", "shift-transfer", "--status", "--profile", "quick", "--data", "."]) == 1
    assert "MNIST is not in" in capsys.readouterr().err


def test_status_and_report_say_the_same_numbers_and_name_the_data(one, capsys):
    assert study("--status", models=PAIR[:1]) == 0
    status = capsys.readouterr().out
    assert command_line.main(["report", "results"]) == 0
    report = capsys.readouterr().out
    said = [
        next(line.split() for line in shown.splitlines() if line.startswith("shift-transfer  continuous-capsules"))
        for shown in (status, report)
    ]
    assert said[0][:3] == said[1][:3] == ["shift-transfer", "continuous-capsules", "embedded"]
    assert said[0][-3:] == said[1][-3:] == list(results.load("results", "shift-transfer", PAIR[0]).summary)


def test_an_own_experiment_in_the_folder_is_told_and_kept(one, capsys):
    results.write(replace(results.read(one / "seed0.json"), experiment="mine"), "results")
    assert study("--status", models=PAIR[:1]) == 0
    assert "results/mine/continuous-capsules/seed0.json is of an experiment" in capsys.readouterr().out
    assert command_line.main(["report", "results"]) == 0
    assert "results/mine/continuous-capsules/seed0.json is of an experiment" in capsys.readouterr().out


def test_what_may_not_be_read_is_one_failure_among_the_others(one, capsys, monkeypatch):
    def exists(path):
        if path.parent.name == PAIR[0]:
            raise PermissionError(13, "Permission denied")
        return real(path)

    real = Path.exists
    monkeypatch.setattr(Path, "exists", exists)
    states = Study(plan("smoke", ["shift-transfer"], PAIR), "results").states
    assert [state.kind for state in states.values()] == ["failed", "missing"]
