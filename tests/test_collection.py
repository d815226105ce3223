"""Folders of results: seeds counted together, what is kept beside results, and what a check finds."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gencaps_lib import models as models_of
from gencaps_lib import results
from gencaps_lib.data import load_digits
from gencaps_lib.evaluation import image_losses, transfer_ratio
from gencaps_lib.experiments import EXPERIMENTS, ModelSpec
from gencaps_lib.results import ResultError, readable
from gencaps_lib.results.statistics import bootstrap

EXPERIMENT = EXPERIMENTS["shift-transfer"].at("smoke")
MODEL = "continuous-capsules"


@pytest.fixture(scope="module")
def models():
    """Models by seed, trained as briefly as the registry does."""
    return {}


@pytest.fixture(scope="module")
def made(tmp_path_factory, models):
    """A folder with the results of two seeds."""
    folder = tmp_path_factory.mktemp("made")
    train, test = (load_digits(split, "embedded") for split in ("train", "test"))
    for seed in (0, 1):
        result, models[seed] = results.run(EXPERIMENT, MODEL, train, test, seed, progress=False)
        results.Made(result, results.extras(EXPERIMENT, MODEL, models[seed], test, seed), 0.0).write(folder)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(made, tmp_path / "results")


@pytest.fixture
def place(folder):
    return folder / "shift-transfer" / MODEL


def test_seeds_are_counted_together(made):
    runs = results.load(made, "shift-transfer", MODEL)
    assert runs.label == "embedded, smoke profile, 20 steps, seeds 0, 1"
    singles = [result.curves[4] for result in runs.results]
    least, most = runs.spread(4)
    assert [least, most] == [list(map(pick, zip(*singles, strict=True))) for pick in (min, max)]
    assert least != most
    assert runs.curve(4) == pytest.approx([sum(losses) / 2 for losses in zip(*singles, strict=True)])
    assert runs.ratio(4).value == pytest.approx(transfer_ratio(runs.curve(4), EXPERIMENT.task))
    # With two seeds, the interval of a mean is from the one's to the other's.
    insides = sorted(results.Runs((result,), runs.task).inside(4).value for result in runs.results)
    assert runs.inside(4)[1:] == pytest.approx(insides)


def test_images_are_counted_like_the_curves(made, models):
    runs = results.load(made, "shift-transfer", MODEL)
    test = load_digits("test", "embedded").of(9).first(EXPERIMENT.test_digits)
    losses = image_losses(models[1], EXPERIMENT.task, test)
    outside = [EXPERIMENT.task.is_outside(point) for point in EXPERIMENT.task.grid]
    assert runs.results[1].images[9]["outside"] == pytest.approx(losses[:, outside].mean(1).tolist(), abs=1e-5)
    over_images = runs.outside(9, over="images")
    assert over_images.value == pytest.approx(runs.outside(9).value, abs=1e-5)
    assert over_images.low < over_images.value < over_images.high


def test_nothing_over_nothing_is_no_ratio(made):
    runs = results.load(made, "shift-transfer", MODEL)
    perfect = replace(runs.results[0], curves=dict.fromkeys(range(10), [0.0] * len(runs.task.grid)))
    assert results.Runs((perfect,), runs.task).summary == ("0.0000", "0.0000", "")


def test_one_seed_has_no_interval(folder, place):
    (place / "seed1.json").unlink()
    estimate = results.load(folder, "shift-transfer", MODEL).inside(4)
    assert estimate.value > 0
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_the_bootstrap_interval_is_the_textbook_one():
    sample = np.random.default_rng(1).normal(5, 2, 400)
    estimate = bootstrap(lambda mean: mean, sample)
    half = 1.96 * sample.std() / 20
    assert estimate == pytest.approx((sample.mean(), sample.mean() - half, sample.mean() + half), abs=0.02)
    # Paired samples are drawn together: of one that is twice the other, the ratio has no spread.
    assert bootstrap(lambda one, two: two / one, sample, 2 * sample) == pytest.approx((2, 2, 2))


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda runs: runs.inside(10), "choose one of 0, 1, 2"),
        (lambda runs: runs.inside(4, over="pixels"), "'seeds' or 'images'"),
        (lambda runs: runs.inside(3, over="images"), "single images of 3"),
    ],
)
def test_what_was_not_kept_is_refused(made, ask, complaint):
    with pytest.raises(ValueError, match=complaint):
        ask(results.load(made, "shift-transfer", MODEL))


def test_results_that_differ_in_more_than_the_seed_are_not_counted_together(folder, place):
    other = replace(results.read(place / "seed1.json"), source="mnist")
    results.write(other, folder, force=True)
    with pytest.raises(ResultError, match="cannot be compared"):
        results.load(folder, "shift-transfer", MODEL)


def test_results_of_another_task_are_refused(folder, place):
    for seed in (0, 1):
        result = results.read(place / f"seed{seed}.json")
        task = {**result.config["task"], "outside": 3}
        results.write(replace(result, config={**result.config, "task": task}), folder, force=True)
    with pytest.raises(ResultError, match="another task"):
        results.load(folder, "shift-transfer", MODEL)


def test_where_there_are_none_it_says_how_to_make_them(tmp_path):
    with pytest.raises(ResultError, match="study shift-transfer --models autoencoder"):
        results.load(tmp_path, "shift-transfer", "autoencoder")


def test_a_gallery_shows_targets_and_drawings(made, models):
    kept = np.load(made / "shift-transfer" / MODEL / "seed1.gallery.npz")
    task = EXPERIMENT.task
    points = task.some_points()
    assert kept["target"].shape == kept["drawn"].shape == (len(points), 6, task.transform.side, task.transform.side)
    assert kept["target"].dtype == kept["drawn"].dtype == np.uint8
    images = load_digits("test", "embedded").of(9).images[2:3]  # the last column
    values = task.transform.along_grid(torch.tensor(points[:1]))
    with torch.no_grad():
        drawn = models[1](images, task.code(values))
    for expected, found in ((task.target(images, values), kept["target"]), (drawn, kept["drawn"])):
        assert np.abs((expected[0, 0].numpy() + 1) * 127.5 - found[0, 5]).max() <= 0.51


def test_a_kept_decoder_draws_what_the_model_drew(made, models):
    decoder = results.load_decoder(made, "shift-transfer", MODEL)
    latent, code = torch.randn(4, 10), torch.rand(4, 2)
    with torch.no_grad():
        assert torch.allclose(decoder(latent, code), models[0].decode(latent, code), atol=5e-3)
    assert not (made / "shift-transfer" / MODEL / "seed1.decoder.safetensors").exists()


def test_large_decoders_are_not_kept(models, made, monkeypatch):
    test = load_digits("test", "embedded")
    assert "decoder.safetensors" in results.extras(EXPERIMENT, MODEL, models[0], test, 0)
    monkeypatch.setattr("gencaps_lib.results.attachments.DECODER_BYTES", 1000)
    assert list(results.extras(EXPERIMENT, MODEL, models[0], test, 0)) == ["gallery.npz"]


def test_of_a_classifier_nothing_is_kept_beside_it():
    experiment = EXPERIMENTS["rotation-range"].at("smoke")
    assert results.extras(experiment, "capsnet", experiment.build("capsnet"), load_digits("test", "embedded"), 0) == {}


def test_a_decoder_of_an_architecture_that_is_unknown_here_says_so(folder, digits, monkeypatch):
    monkeypatch.setitem(models_of.ARCHITECTURES, "own", models_of.ARCHITECTURES[MODEL])
    mine = replace(
        EXPERIMENT,
        task=replace(EXPERIMENT.task, name="mine"),
        steps=1,
        specs={"own": ModelSpec("own", {"capsules": 8, "hidden": 64})},
    )
    path = results.make(mine, "own", digits, digits, progress=False).write(folder)
    assert results.faults(path, mine) == []
    monkeypatch.delitem(models_of.ARCHITECTURES, "own")
    with pytest.raises(ResultError, match=r"cannot be used: unknown model 'own': choose one of") as complaint:
        results.load_decoder(folder, mine, "own")
    assert "delete" not in str(complaint.value)  # the file is as it was written
    (line,) = results.faults(path, mine)
    assert "unknown model 'own'" in line


def test_a_folder_of_folders_names_them(tmp_path):
    with pytest.raises(ResultError, match="name one of its folders, quick, large"):
        results.published(results.PUBLISHED)
    with pytest.raises(ResultError, match="no folder of a profile"):
        results.fresh(folder=tmp_path)


def test_a_decoder_that_was_not_kept(folder, place):
    results.write(results.read(place / "seed0.json"), folder, force=True)
    with pytest.raises(ResultError, match="only small ones"):
        results.load_decoder(folder, "shift-transfer", MODEL)
    assert results.check(folder) == []  # what was beside the old result went with it


def _edit(place):
    content = json.loads((place / "seed0.json").read_text(encoding="utf-8"))
    content["curves"]["4"][0] /= 2
    (place / "seed0.json").write_text(json.dumps(content), encoding="utf-8")


def _steps(place):
    result = results.read(place / "seed0.json")
    changed = replace(result, config={**result.config, "steps": 19}, history=result.history[:19])
    results.write(changed, place.parents[1], force=True)


def _fingerprint(place):
    result = results.read(place / "seed0.json")
    probe = [number * 1.01 for number in result.fingerprint["probe"]]
    results.write(replace(result, fingerprint={**result.fingerprint, "probe": probe}), place.parents[1], force=True)


def _interrupt(place):
    result = results.read(place / "seed0.json")
    (place / "seed0.json").unlink()
    results.write(replace(result, history=result.history[:7]), place.parents[1])


def _profile(place):
    results.write(replace(results.read(place / "seed0.json"), profile="tiny"), place.parents[1], force=True)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_edit, "seed0.json was changed after it was written"),
        (_steps, "trained for 19 steps, not for 20"),
        (_fingerprint, "another configuration or model than the present one"),
        (_interrupt, "interrupted after 7 of 20 steps"),
        (_profile, "made at the unknown profile 'tiny'"),
        (lambda place: (place / "seed0.json").write_text("{", encoding="utf-8"), "is not a result"),
        (lambda place: (place / "seed0.json").rename(place / "seed5.json"), "seed5.json is the result of .*seed0.json"),
        (lambda place: place.rename(place.parent / "digit-capsules"), "digit-capsules/seed0.json is the result of"),
        (lambda place: (place / "seed1.json").rename(place.parent / "seed1.json"), "not a result and does not belong"),
        (
            lambda place: (place / "notes.txt").write_bytes(b"mine"),
            "not a result and does not belong to one",
        ),
        (
            lambda place: (place / "seed0.csv").write_bytes(b"mine"),
            "not a result and does not belong to one",
        ),
        (lambda place: (place / "seed0.json").unlink(), "belongs to a result that does not exist"),
        (lambda place: (place / "seed0.gallery.npz").unlink(), "cannot read .*seed0.gallery.npz"),
        (lambda place: (place / "seed0.gallery.npz").write_bytes(b"mine"), "gallery.npz was changed"),
        (lambda place: (place / "seed0.decoder.safetensors").write_bytes(b"mine"), "safetensors was changed"),
        (lambda place: (place / "seed1.decoder.safetensors").write_bytes(b"mine"), "does not belong to .*seed1.json"),
    ],
)
def test_every_kind_of_damage_is_found(folder, place, damage, complaint):
    damage(place)
    complaints = results.check(folder)
    assert any(re.search(complaint, line) for line in complaints), complaints


def test_a_changed_model_makes_results_stale(made, monkeypatch):
    monkeypatch.setattr("gencaps_lib.models.article.to_index_space", lambda outputs, size: (outputs + 1) * (size / 2))
    assert len(results.check(made)) == 2


def test_a_check_of_no_folder_is_no_pass(tmp_path):
    with pytest.raises(ResultError, match="not a folder of results"):
        results.check(tmp_path / "nothing")


@pytest.fixture
def own(digits, folder):
    """An experiment that the registry lacks, and its result in the folder."""
    task = replace(EXPERIMENT.task, name="mine")
    mine = replace(EXPERIMENT, task=task, steps=2).only(MODEL)
    results.make(mine, MODEL, digits, digits, progress=False).write(folder)
    return mine


def test_an_own_experiment_is_kept_named_and_read(folder, own):
    assert results.check(folder) == []
    (line,) = results.unregistered(folder)
    assert re.search(
        "mine/continuous-capsules/seed0.json is of an experiment or a model that is not in the registry", line
    )
    runs = results.load(folder, own, MODEL)
    assert runs.label == "embedded, smoke profile, 2 steps, seed 0"
    assert results.load_decoder(folder, own, MODEL)(torch.zeros(1, 10), torch.zeros(1, 2)).shape[0] == 1
    assert results.faults(folder / "mine" / MODEL / "seed0.json", own) == []
    with pytest.raises(ResultError, match="give the experiment itself"):
        results.load(folder, "mine", MODEL)
    with pytest.raises(ResultError, match="another task, or other sizes"):
        results.load_decoder(
            folder, replace(own, specs={MODEL: replace(own.spec(MODEL), sizes={"capsules": 8})}), MODEL
        )
    # And it is checked as far as it can be.
    (folder / "mine" / MODEL / "seed0.gallery.npz").unlink()
    assert len(results.check(folder)) == 1


def test_one_bad_model_does_not_hide_the_others(folder, place):
    other = place.parent / "digit-capsules"
    other.mkdir()
    (other / "seed0.failed.json").write_text("{}", encoding="utf-8")  # it has only failed: there is nothing to tell
    found, complaints = readable(folder)
    assert list(found["shift-transfer"]) == [MODEL]
    assert complaints == []
    (other / "seed0.json").write_text("{", encoding="utf-8")
    found, complaints = readable(folder)
    assert list(found["shift-transfer"]) == [MODEL]
    assert [("digit-capsules/seed0.json is not a result" in line) for line in complaints] == [True]
    with pytest.raises(ResultError, match="digit-capsules"):
        results.published(folder)


def test_what_may_not_be_looked_at_does_not_hide_the_rest(folder, place, monkeypatch):
    def is_dir(path):
        if path.name == "seed0.json":
            raise PermissionError(13, "Permission denied")
        return real(path)

    real = Path.is_dir
    (place / "notes.txt").touch()
    monkeypatch.setattr(Path, "is_dir", is_dir)
    notes, refused = results.check(folder)
    assert "notes.txt is not a result" in notes
    assert re.search("cannot look at .*seed0.json .Permission denied", refused)


def test_a_ratio_without_loss_in_the_range_is_infinite(made):
    runs = results.load(made, "shift-transfer", MODEL)
    perfect = [0.0 if runs.task.is_inside(point) else 1.0 for point in runs.task.grid]
    blank = tuple(replace(result, curves={**result.curves, 4: perfect}) for result in runs.results)
    assert replace(runs, results=blank).ratio(4).value == math.inf
