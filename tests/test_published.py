"""The results that are shipped with the library: whole, true to today's code, of MNIST, and small."""

from dataclasses import replace

import numpy as np
import publish
import pytest
import torch

from gencaps_lib import experiments, results
from gencaps_lib.experiments import EXPERIMENTS

PROFILES = sorted(path.name for path in results.PUBLISHED.iterdir())
QUICK = results.PUBLISHED / "quick"


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_published_is_stale_hand_edited_or_of_another_profile(profile):
    assert results.check(results.PUBLISHED / profile) == []
    found = results.published(results.PUBLISHED / profile, range(99))
    read = [result for models in found.values() for runs in models.values() for result in runs.results]
    assert {(result.profile, result.source) for result in read} == {(profile, "mnist")}


def test_seeds_that_judge_are_kept_apart_from_those_that_chapters_show():
    usual = {seed for models in results.published().values() for runs in models.values() for seed in runs.seeds}
    judging = {
        seed
        for found in results.fresh().values()
        for models in found.values()
        for runs in models.values()
        for seed in runs.seeds
    }
    assert usual
    assert judging
    assert max(usual) < results.FRESH <= min(judging)
    assert list(results.fresh()) == [name for name in experiments.PROFILES if name in PROFILES]  # the longest last


def test_published_results_stay_small():
    size = sum(path.stat().st_size for path in results.PUBLISHED.rglob("*") if path.is_file())
    assert size < 30e6  # what every clone and every installation fetches


def test_a_published_decoder_loads_and_draws_pictures_of_its_gallery_s_size():
    kept = sorted(QUICK.glob("*/*/seed0.decoder.safetensors"))
    assert kept
    experiment, model = kept[0].parts[-3:-1]
    decoder = results.load_decoder(QUICK, experiment, model)
    entry = EXPERIMENTS[experiment].at("quick")
    drawn = np.load(kept[0].with_name("seed0.gallery.npz"))["drawn"]
    with torch.no_grad():
        image = decoder(torch.zeros(1, entry.build(model).z), torch.zeros(1, entry.task.transform.code_length))
    assert image.shape[2:] == drawn.shape[2:]
    assert drawn.max() > 128  # ink


def test_publishing_leaves_out_pictures_of_seeds_that_no_chapter_shows_and_keeps_what_is_there(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(results, "PUBLISHED", tmp_path / "published")
    given, other = (results.read(QUICK / "rotation-transfer" / "autoencoder" / f"seed{seed}.json") for seed in (10, 11))
    for result in (given, other):
        results.write(result, tmp_path / "results", extras={results.GALLERY: b"pictures"})
    assert publish.main([str(tmp_path / "results")]) == 0
    there = tmp_path / "published" / "quick" / "rotation-transfer" / "autoencoder"
    assert sorted(path.name for path in there.iterdir()) == ["seed10.gallery.npz", "seed10.json", "seed11.json"]
    assert results.read(there / "seed11.json") == other
    for unfit, why in (
        (replace(given, source="embedded"), "embedded digits"),
        (replace(given, history=given.history[:3]), "interrupted"),
    ):
        path = results.write(unfit, tmp_path / why)
        with pytest.raises(results.ResultError, match=why):
            publish.publish(path, results.PUBLISHED)
    results.write(replace(given, seconds=1.0), tmp_path / "results", force=True)
    assert publish.main([str(tmp_path / "results")]) == 0
    assert "seed10.json is there already, and kept" in capsys.readouterr().out
    assert results.read(there / "seed10.json") == given
    with pytest.raises(SystemExit):
        publish.main([str(tmp_path / "nowhere")])
    assert "has no results" in capsys.readouterr().err
