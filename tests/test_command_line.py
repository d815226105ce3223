"""``python -m gencaps_lib``: what it prints and writes, and its exit status."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from gencaps_lib import __main__ as command_line
from gencaps_lib import results
from gencaps_lib.book import cli as book_cli
from gencaps_lib.book.claims import FRESH_CLAIMS, OWN_CLAIMS
from gencaps_lib.book.verdicts import CLAIMS, decide
from gencaps_lib.experiments import EXPERIMENTS, PROFILES
from gencaps_lib.models import ContinuousCapsules
from gencaps_lib.results import cli, runs
from gencaps_lib.routing import NotANumberError
from gencaps_lib.training import loop

QUICK = results.PUBLISHED / "quick"


@pytest.fixture(autouse=True)
def smoke(monkeypatch, tmp_path):
    monkeypatch.setenv("GENCAPS_PROFILE", "smoke")
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return command_line.main(["run", "shift-transfer", "--model", "continuous-capsules", "--steps", "2", *arguments])


def test_list_shows_every_experiment_and_model(capsys):
    assert command_line.main(["list", "--profile", "full"]) == 0
    shown = capsys.readouterr().out
    for needed in (
        "rotation-range",
        "8,215,568 parameters",
        "shift-transfer",
        "autoencoder-matched",
        "4,482,577 decoder parameters",
        "100,000 steps of 128",
    ):
        assert needed in shown
    assert "4, 9: trained on -5 … 4 pixels" in shown
    assert "A1, A2, A3" in shown


def test_run_writes_one_result_and_says_where(capsys, tmp_path):
    assert run("--seed", "3", "--out", "here") == 0
    path = tmp_path / "here" / "shift-transfer" / "continuous-capsules" / "seed3.json"
    result = results.read(path)
    assert (result.seed, len(result.history), result.source) == (3, 2, "embedded")
    shown = capsys.readouterr()
    assert str(path.relative_to(tmp_path)) in shown.out
    assert "training:" in shown.err  # the progress bar
    assert sorted(os.listdir(path.parent)) == ["seed3.gallery.npz", "seed3.json"]


def test_without_a_model_all_are_run(tmp_path):
    assert command_line.main(["run", "shift-transfer", "--steps", "1"]) == 0
    made = sorted(path.parent.name for path in (tmp_path / "results").rglob("*.json"))
    assert made == sorted(EXPERIMENTS["shift-transfer"].models)


def test_a_model_that_draws_no_number_does_not_end_the_run(capsys, monkeypatch, tmp_path):
    real = cli.make

    def make(experiment, model, *arguments):
        if model == "continuous-capsules":
            raise NotANumberError("an address is not a number (NaN)")
        return real(experiment, model, *arguments)

    monkeypatch.setattr(cli, "make", make)
    assert command_line.main(["run", "shift-transfer", "--steps", "1"]) == 1
    assert "not a number" in capsys.readouterr().err
    made = {path.parent.name for path in (tmp_path / "results").rglob("*.json")}
    assert made == {*EXPERIMENTS["shift-transfer"].models} - {"continuous-capsules"}


def test_a_result_that_cannot_be_written_ends_the_run(capsys, monkeypatch):
    trained = []

    def unwritable(result, *_arguments):
        trained.append(result.model)
        raise results.ResultError("cannot write it")

    monkeypatch.setattr(runs, "write", unwritable)
    assert command_line.main(["run", "shift-transfer", "--steps", "1"]) == 1
    assert len(trained) == 1


def test_the_data_folder_is_used(mnist, monkeypatch, tmp_path):
    assert run("--data", str(mnist), "--profile", "quick") == 0
    path = tmp_path / "results" / "shift-transfer" / "continuous-capsules" / "seed0.json"
    assert results.read(path).source == "mnist"


def test_it_refuses_to_overwrite_before_it_trains(capsys, monkeypatch):
    assert run() == 0
    monkeypatch.setattr(runs, "fit", lambda *_arguments, **_options: pytest.fail("it trained"))
    assert run() == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--force" in message
    monkeypatch.undo()


def test_an_interrupted_run_is_written_as_what_it_is(monkeypatch, capsys, tmp_path):
    batches = []

    def interrupt(*arguments):
        batches.append(1)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return draw(*arguments)

    draw = loop.draw_batch
    monkeypatch.setattr(loop, "draw_batch", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        status = command_line.main(["run", "shift-transfer", "--model", "continuous-capsules", "--steps", "9"])
    assert status == 130
    assert "interrupted after 3 of 9 steps" in capsys.readouterr().out
    result = results.read(tmp_path / "results" / "shift-transfer" / "continuous-capsules" / "seed0.json")
    assert not result.complete
    assert len(result.history) == 3


@pytest.mark.parametrize("times", [1, 2])
def test_interrupted_while_the_model_is_tested_the_test_ends_first(times, ctrl_c_while_tested, tmp_path):
    ctrl_c_while_tested(times)
    with pytest.warns(UserWarning, match="Ctrl-C again gives it up"):
        assert command_line.main(["run", "shift-transfer", "--steps", "2"]) == 130
    made = [results.read(path) for path in (tmp_path / "results").rglob("*.json")]
    assert [result.complete for result in made] == ([True] if times == 1 else [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_model_with_an_address_that_is_no_number_does_not_stop_the_others(monkeypatch, capsys, tmp_path):
    def draw(trainer):
        batch = real(trainer)
        spoiled = isinstance(trainer.model.decoder, ContinuousCapsules)
        return replace(batch, code=batch.code * float("nan")) if spoiled else batch

    real = loop.Trainer.draw
    monkeypatch.setattr(loop.Trainer, "draw", draw)
    assert command_line.main(["run", "shift-transfer", "--steps", "1"]) == 1
    made = {path.parent.name for path in (tmp_path / "results").rglob("*.json")}
    assert made == set(EXPERIMENTS["shift-transfer"].models) - {"continuous-capsules"}
    assert "stopped being finite at step 0" in capsys.readouterr().err


def test_force_keeps_a_whole_result_where_its_successor_is_interrupted(monkeypatch, capsys, tmp_path):
    assert run() == 0
    path = tmp_path / "results" / "shift-transfer" / "continuous-capsules" / "seed0.json"
    before = path.read_bytes()

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "draw_batch", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        assert run("--force") == 130
    assert "seed0.json is kept" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_model_that_fails_does_not_stop_the_others(monkeypatch, capsys, tmp_path):
    from gencaps_lib.training import DivergedError

    def make(experiment, model, *arguments):
        if model == "autoencoder":
            raise DivergedError(3, [])
        return real(experiment, model, *arguments)

    real = results.make
    monkeypatch.setattr(cli, "make", make)
    assert command_line.main(["run", "shift-transfer", "--steps", "1"]) == 1
    made = {path.parent.name for path in (tmp_path / "results").rglob("*.json")}
    assert made == set(EXPERIMENTS["shift-transfer"].models) - {"autoencoder"}
    assert "stopped being finite at step 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "required"),
        (("train",), "invalid choice"),
        (("run",), "required"),
        (("run", "shift"), "unknown experiment 'shift'"),
        (("run", "shift-transfer", "--model", "gan"), "unknown model 'gan'"),
        (("run", "shift-transfer", "--steps", "0"), "whole number of at least 1"),
        (("run", "shift-transfer", "--steps", "many"), "whole number of at least 1"),
        (("run", "shift-transfer", "--steps", "1.5"), "whole number of at least 1"),
        (("run", "shift-transfer", "--seed", "-1"), "whole number of at least 0"),
        (("run", "shift-transfer", "--seed", str(2**64)), "at most 4294967295"),
        (("run", "shift-transfer", "--seed", "9" * 5000), "at most 4294967295"),
        (("run", "shift-transfer", "--steps", "100000000000000"), "at most 10000000"),
        (("run", "shift-transfer", "--model", ""), "unknown model ''"),
        (("run", "shift-transfer", "--profile", ""), "unknown profile ''"),
        (("run", "shift-transfer", "--out", ""), "folder's name is empty"),
        (("study", "--seeds", "0-2000000000"), "more than 1000 seeds"),
        (("study", "--seeds", "-1"), "'-1' is no list of seeds, such as 0-4 or 0,2: none is below 0"),
        (("study", "--seeds", "0-999,7"), "more than 1000 seeds"),
        (("study", "--at-once", "10000"), "at most 64"),
        (("study", "--gpu", "2"), "share: it must be at most 1"),
        (("report", ""), "folder's name is empty"),
        (("run", "shift-transfer", "--device", "tpu"), "--device cpu"),
        (("run", "shift-transfer", "--profile", "huge"), "unknown profile 'huge'"),
    ],
)
def test_bad_use_is_one_line_and_status_2(arguments, complaint, refused):
    status, line, printed = refused(*arguments)
    assert (status, printed) == (2, "")
    assert complaint in line


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_result_that_cannot_be_written_is_one_line_and_status_1(place, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "fit", lambda *_arguments, **_options: pytest.fail("it trained"))
    if place == "file":
        (tmp_path / "results").touch()
    else:
        (tmp_path / "results" / "shift-transfer" / "continuous-capsules" / "seed0.json").mkdir(parents=True)
    assert run() == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("python -m gencaps_lib: ")


def test_damaged_data_is_one_line_and_status_1(mnist, capsys):
    path = mnist / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    path.write_bytes(b"nonsense")
    assert run("--data", str(mnist), "--profile", "quick") == 1
    assert str(path) in capsys.readouterr().err


def _shell(line, **settings):
    """A line of the shell with `gencaps_lib` in it; what it wrote, as bytes."""
    program = f"{sys.executable} -m gencaps_lib"
    environment = {**os.environ, "PYTHONUNBUFFERED": "", **settings}
    return subprocess.run(["sh", "-c", line.replace("gencaps_lib", program, 1)], capture_output=True, env=environment)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["list", "study shift-transfer --status"])  # more than a buffer, and less
def test_output_that_cannot_be_written_is_one_line(command):
    full = _shell(f"gencaps_lib {command} > /dev/full")
    assert full.returncode == 1
    assert full.stderr == b"python -m gencaps_lib: cannot write: No space left on device\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="it needs a shell")
def test_closed_streams_and_odd_names_fail_no_run(tmp_path):
    model = "--model digit-capsules --steps 1"
    assert _shell(f"gencaps_lib run shift-transfer {model} --out here 2>&-").returncode == 0
    assert _shell("gencaps_lib study shift-transfer --models digit-capsules --out there >&- 2>&-").returncode == 0
    assert results.read(tmp_path / "there" / "shift-transfer" / "digit-capsules" / "seed0.json").complete
    odd = _shell(f"gencaps_lib run shift-transfer {model} --out \"$(printf 'caf\\351')\"")
    assert (odd.returncode, odd.stderr.count(b"Error")) == (0, 0)
    assert b"caf\xe9" in os.listdir(os.fsencode(tmp_path))


def test_a_narrow_encoding_stops_no_report(tmp_path):
    shutil.copytree(QUICK / "shift-transfer" / "autoencoder", tmp_path / "shift-transfer" / "autoencoder")
    told = _shell("gencaps_lib report .", PYTHONIOENCODING="ascii")
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout.isascii()


def test_what_the_system_refuses_is_one_line(monkeypatch, capsys):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied", "results")

    monkeypatch.setattr(book_cli, "report", refuse)
    monkeypatch.setattr(cli, "Study", refuse)
    for command in (["report"], ["study", "--status"]):
        assert command_line.main(command) == 1
        assert capsys.readouterr().err == "python -m gencaps_lib: results: Permission denied\n"


def test_a_reader_that_wants_no_more_is_no_error():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-m", "gencaps_lib", "list"], **pipes) as listing:
        listing.stdout.close()
        assert (listing.stderr.read(), listing.wait()) == ("", command_line.FAILURE)


@pytest.mark.slow
def test_report_says_of_each_claim_what_the_published_results_say(capsys):
    assert command_line.main(["report"]) == 0
    shown = capsys.readouterr().out
    usual = results.published()["shift-transfer"]["autoencoder"]
    rows = [line for line in shown.splitlines() if line.startswith("shift-transfer") and " autoencoder " in line]
    assert f"{usual.ratio(4).value:.2f}" in rows[0].split()
    found = results.fresh()
    (header,) = (line for line in shown.splitlines() if "claim of the article" in line)
    assert [word for word in header.split() if word in PROFILES] == list(found)
    for claim in CLAIMS:
        (line,) = (line for line in shown.splitlines() if f" {claim.experiment} " in line and f" {claim.text} " in line)
        decisions = decide(claim, found)
        assert line.startswith(list(decisions.values())[-1].verdict if decisions else "not decided")
        assert all(str(decision) in line for decision in decisions.values())
    usual = results.published()
    for claim in OWN_CLAIMS + FRESH_CLAIMS:
        rule = f" {claim.experiment}, {claim.profile}: {claim.text} ({claim.rule})"
        (line,) = (line for line in shown.splitlines() if rule in line)
        runs = usual if claim in OWN_CLAIMS else found[claim.profile]
        run = set(claim.models) <= set(runs.get(claim.experiment, {}))
        assert line.startswith(f"{claim.verdict}: " if run else "not decided, ")


def test_report_of_other_results_decides_what_it_can(tmp_path, capsys):
    shutil.copytree(QUICK / "shift-transfer" / "autoencoder", tmp_path / "shift-transfer" / "autoencoder")
    (tmp_path / "shift-transfer" / "autoencoder" / "seed1.json").unlink()
    assert command_line.main(["report", str(tmp_path)]) == 0
    shown = capsys.readouterr().out.splitlines()
    decided = [line for line in shown if line.startswith("holds ")]
    assert len(decided) == 1
    assert sum(line.startswith("not decided") for line in shown) == len(CLAIMS + OWN_CLAIMS + FRESH_CLAIMS) - 1
    assert not shown[1].endswith("…")  # one seed has no interval
    assert not any(", large: " in line for line in shown)  # the folder says of no profile


def test_report_of_no_folder_is_one_line(tmp_path, capsys):
    assert command_line.main(["report", str(tmp_path / "nowhere")]) == 1
    assert "not a folder of results" in capsys.readouterr().err
