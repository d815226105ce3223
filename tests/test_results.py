"""Result files: whole or not at all, and recognised when the model changes."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

from gencaps_lib import results
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.results import ResultError, runs
from gencaps_lib.results.record import stride, thinned
from gencaps_lib.transforms import Shift


@pytest.fixture(scope="module")
def outcome():
    from gencaps_lib.data import load_digits

    experiment = replace(EXPERIMENTS["shift-transfer"].at("smoke"), steps=2)
    train, test = (load_digits(split, "embedded") for split in ("train", "test"))
    result, _ = results.run(experiment, "continuous-capsules", train, test, progress=False)
    return result


def test_a_result_says_what_it_is(outcome):
    assert outcome.label == "embedded, smoke profile, 2 steps, seed 0"
    assert outcome.complete
    assert outcome.unit == "pixels"
    assert len(outcome.curves[4]) == len(outcome.grid)
    assert outcome.config["optimiser"]["name"] == "adam"
    assert {"device", "torch", "python", "commit", "precision"} <= set(outcome.machine)
    assert outcome.machine["precision"] == "float32"
    assert outcome.seconds > 0


def same(read, written):
    """Whether what was read is what was written: numbers that were measured, to six digits, and all else exactly."""
    measured = ("curves", "images", "history")
    blank = dict.fromkeys(measured)
    return replace(read, **blank) == replace(written, **blank) and all(
        json.dumps(getattr(read, name)) == json.dumps(rounded(getattr(written, name))) for name in measured
    )


class Nudge:
    """A transform of one's own, an ordinary class that holds an array: a shift by whole pixels along the diagonal."""

    def __init__(self):
        self.steps = np.arange(3)
        self._shift = Shift(8)

    def __getattr__(self, name):
        return getattr(Shift(8), name)


@pytest.mark.parametrize(
    "change",
    [
        {"grid": range(-8, 8)},
        {"grid": np.arange(-8, 8)},
        {"digits": range(10)},
        {"held_out": {9, 4}},
        {"inside": (np.int64(-2), np.int64(2)), "outside": np.float32(4)},
        {"transform": Nudge()},
    ],
    ids=lambda change: ", ".join(f"{name} {type(value).__name__}" for name, value in change.items()),
)
def test_a_task_of_other_kinds_of_numbers_is_written_and_read(change, tmp_path, digits):
    base = EXPERIMENTS["shift-transfer"].at("smoke")
    own = replace(base, task=replace(base.task, **change), steps=np.int64(1), test_digits=np.int64(2))
    results.make(own, "continuous-capsules", digits, digits, progress=False).write(tmp_path)
    assert results.load(tmp_path, own, "continuous-capsules").results[0].complete


@pytest.mark.parametrize(
    ("change", "of_digits", "seed", "complaint"),
    [
        ({"title": "fine", "batch": sum}, None, 0, "plain data"),
        ({}, (0, 1, 9), 0, "of the held-out digits 4 there is no test image"),
        ({"test_digits": 0}, None, 0, "of the held-out digits 4, 9 there is no test image"),
        ({"test_sample": -1}, None, 0, "at least 0 images"),
        ({}, None, 1.5, "whole number of at least 0; got 1.5"),
        ({}, None, -1, "seed must be a whole number of at least 0"),
    ],
)
def test_what_cannot_be_judged_or_kept_is_refused_before_the_training(
    change, of_digits, seed, complaint, digits, monkeypatch
):
    monkeypatch.setattr(runs, "fit", lambda *arguments, **options: pytest.fail("it was trained"))
    test = digits if of_digits is None else digits.of(*of_digits)
    own = replace(EXPERIMENTS["shift-transfer"].at("smoke"), **change)
    with pytest.raises((TypeError, ValueError), match=complaint):
        results.run(own, "continuous-capsules", digits, test, seed)


@pytest.mark.parametrize("call", [results.published, results.fresh])
def test_an_unknown_experiment_is_not_passed_over(call):
    asked = {"experiments": ["shift-trnsfer"]} if call is results.published else {}
    with pytest.raises(ValueError, match="unknown experiment 'shift-trnsfer'"):
        call(*([] if asked else ["shift-trnsfer"]), **asked)


def test_names_in_one_string_are_refused():
    with pytest.raises(TypeError, match="list or tuple"):
        results.published(experiments="rotation-one-shot-2-5")


@pytest.mark.parametrize(
    ("experiment", "model", "advice"),
    [
        ("shift-transferr", "autoencoder", "results.make"),
        ("shift-transfer", "autoencodr", "choose one of autoencoder, "),
        ("shift-transfer", "autoencoder", "name one of its folders, quick, large"),
    ],
)
def test_where_nothing_is_found_the_advice_can_be_followed(experiment, model, advice):
    with pytest.raises(ResultError, match=advice):
        results.load(results.PUBLISHED, experiment, model)


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else float(f"{value:.6g}")


def test_write_then_read(outcome, tmp_path):
    path = results.write(outcome, tmp_path)
    assert path == tmp_path / "shift-transfer" / "continuous-capsules" / "seed0.json"
    assert same(results.read(path), outcome)
    assert os.listdir(path.parent) == ["seed0.json"]


def test_it_refuses_to_overwrite_without_force(outcome, tmp_path):
    path = results.write(outcome, tmp_path)
    longer = replace(outcome, seconds=1e9)
    with pytest.raises(ResultError, match="--force"):
        results.write(longer, tmp_path)
    assert same(results.read(path), outcome)
    results.write(longer, tmp_path, force=True)
    assert same(results.read(path), longer)


def test_what_was_interrupted_replaces_only_what_is_less(outcome, tmp_path):
    def interrupted(made):
        return replace(outcome, config={**outcome.config, "steps": 9}, history=[1.0] * made)

    path = results.write(interrupted(3), tmp_path)
    results.write(interrupted(4), tmp_path, force=True)
    with pytest.raises(ResultError, match="is kept: it has 4 steps"):
        results.write(interrupted(3), tmp_path, force=True)
    assert results.read(path).made == 4
    results.write(outcome, tmp_path, force=True)  # of two steps, and whole
    with pytest.raises(ResultError, match="is kept: it has 2 steps"):
        results.write(interrupted(2), tmp_path, force=True)
    assert same(results.read(path), outcome)
    results.write(interrupted(4), tmp_path, force=True)  # of a longer training
    assert results.read(path).made == 4
    path.write_text("damaged", encoding="utf-8")
    results.write(interrupted(1), tmp_path, force=True)


def test_a_place_is_tried_before_the_work(tmp_path, monkeypatch):
    results.check_free(tmp_path / "new" / "seed0.json")
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match=r"cannot write .*seed0.json .*name another folder"):
        results.check_free(tmp_path / "file" / "seed0.json")


def test_digits_of_two_data_sets_make_no_run(digits):
    with pytest.raises(ValueError, match="these are embedded and mnist"):
        results.run(EXPERIMENTS["shift-transfer"].at("smoke"), "autoencoder", digits, replace(digits, source="mnist"))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_in_the_middle_leaves_what_was_there(outcome, tmp_path, monkeypatch, failing):
    path = results.write(outcome, tmp_path)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(ResultError, match="No space left on device"):
        results.write(replace(outcome, seconds=1e9), tmp_path, force=True)
    assert os.listdir(path.parent) == ["seed0.json"]
    assert same(results.read(path), outcome)


def test_a_folder_where_the_file_belongs(outcome, tmp_path):
    (tmp_path / "shift-transfer" / "continuous-capsules" / "seed0.json").mkdir(parents=True)
    with pytest.raises(ResultError, match="is a folder"):
        results.write(outcome, tmp_path, force=True)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"curves": {"four": []}}', "{"])
def test_what_is_no_result_is_refused(tmp_path, content):
    path = tmp_path / "seed0.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ResultError, match="not a result"):
        results.read(path)


def test_a_missing_result_is_named(tmp_path):
    with pytest.raises(ResultError, match="seed9"):
        results.read(tmp_path / "seed9.json")


def test_not_a_number_is_never_written(outcome, tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.write(replace(outcome, seconds=float("nan")), tmp_path)
    assert not results.result_path(tmp_path, outcome.experiment, outcome.model, 0).exists()


def test_fingerprint_survives_json_and_notices_change(outcome):
    experiment = replace(EXPERIMENTS["shift-transfer"].at("smoke"), steps=2)
    mark = results.fingerprint(experiment, "continuous-capsules")
    assert results.matches(mark, json.loads(json.dumps(outcome.fingerprint)))
    assert not results.matches(mark, results.fingerprint(replace(experiment, steps=3), "continuous-capsules"))
    assert not results.matches(mark, results.fingerprint(experiment, "digit-capsules"))
    assert not results.matches(mark, results.fingerprint(experiment, "continuous-capsules", seed=1))


def test_a_long_history_is_kept_as_means_of_as_many_steps_each():
    losses = [float(step) for step in range(5000)]
    kept = thinned(losses, 5000)
    assert stride(5000) == 3
    assert len(kept) == 1667
    assert kept[:2] == [1.0, 4.0]
    assert kept[-1] == 4998.5  # the last two
    assert thinned(losses[:2000], 2000) == losses[:2000]


def test_an_interrupted_long_run_says_how_far_it_came(outcome):
    losses = [1.0] * 4999
    result = replace(outcome, config={**outcome.config, "steps": 5000}, history=thinned(losses, 5000))
    assert (result.made, result.complete) == (4998, False)
    whole = replace(result, history=thinned([1.0] * 5000, 5000))
    assert (whole.made, whole.complete) == (5000, True)
    assert whole.label == "embedded, smoke profile, 5,000 steps, seed 0"


def test_a_result_keeps_the_generators_that_were_learned(tmp_path, digits):
    experiment = replace(EXPERIMENTS["rotation-and-shift"].at("smoke"), steps=2)
    result, model = results.run(experiment, "composed-capsules", digits, digits, progress=False)
    kept = results.read(results.write(result, tmp_path)).learned["generators"]
    assert kept == model.decoder.act.generators().tolist()
    assert len(kept) == 3  # a rotation, and a shift along each axis
    known, _ = results.run(experiment, "composed-capsules-known", digits, digits, progress=False)
    assert known.learned == {}


@pytest.mark.parametrize(
    ("history", "stuck"),
    [
        ([1.0] * 2 + [0.2] * 18, True),
        ([1.0] * 2 + [0.2] * 16 + [0.18] * 2, False),
        ([0.2] * 2 + [0.1] * 18, True),
        ([1.0, 0.5], False),
    ],
)
def test_a_run_is_stuck_whose_training_loss_falls_no_more(history, stuck):
    result = next(iter(results.published()["shift-transfer"].values())).results[0]
    assert not result.stuck
    assert replace(result, history=history).stuck == stuck
