"""README: its ten lines make and run an experiment, and its picture and addresses are what they should be."""

import re
from pathlib import Path

import pytest
import readme_picture
import torch
import yaml
from PIL import Image

from gencaps_lib import models, results
from gencaps_lib.results import Result

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def code_under(title):
    section = README.split(f"## {title}")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return block


def ten_lines():
    return code_under("Add an experiment in ten lines")


def test_the_ten_lines_add_an_experiment_and_run_it(monkeypatch, capsys):
    monkeypatch.setenv("GENCAPS_PROFILE", "smoke")
    assert len([line for line in ten_lines().splitlines() if line.strip()]) == 10
    made = {}
    exec(ten_lines(), made)
    result = made["result"]
    assert isinstance(result, Result)
    assert (result.experiment, result.model, result.complete) == ("shift-a-seven", "continuous-capsules", True)
    assert made["task"].seen[7] == (-2, 2)
    assert made["task"].seen[4] == made["base"].task.seen[0] != made["base"].task.seen[4]
    assert list(result.images) == [7]
    assert re.findall(r"^([\w-]+) loss out .*: [\d.]+$", capsys.readouterr().out, re.MULTILINE) == list(
        made["mine"].models
    )


def test_a_decoder_of_one_s_own_is_trained_stored_and_read_again(monkeypatch, tmp_path):
    monkeypatch.setenv("GENCAPS_PROFILE", "smoke")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(models.ARCHITECTURES, "one-layer", None)  # and it is gone afterwards
    made = {}
    setting, _, _ = ten_lines().partition("for model in")  # without its runs
    exec(setting + code_under("Try a decoder of your own"), made)
    assert type(made["decoder"]).__name__ == "OneLayer"
    assert made["decoder"](torch.zeros(2, 10), torch.zeros(2, 2)).shape == (2, 1, 44, 44)
    assert results.load("results", made["ours"], "one-layer").results[0].complete


def test_the_picture_is_of_today_s_published_runs_small_and_described():
    with Image.open(readme_picture.KEPT) as picture:
        assert picture.text[readme_picture.MADE_FROM] == readme_picture.made_from(), "run `make picture`"
        assert picture.width > 600
    assert readme_picture.KEPT.stat().st_size < 100_000
    alt, shown = re.search(r"!\[([^]]{60,})\]\((_static/[^)]+)\)", README).groups()
    assert ROOT / shown == readme_picture.KEPT
    assert "autoencoder" in alt


def test_the_picture_can_be_drawn_again(monkeypatch, tmp_path):
    monkeypatch.setattr(readme_picture, "KEPT", tmp_path / "picture.png")
    readme_picture.main()
    with Image.open(readme_picture.KEPT) as picture:
        assert picture.text[readme_picture.MADE_FROM] == readme_picture.made_from()


@pytest.mark.parametrize("place", [r"github\.com/", r"colab\.research\.google\.com/github/"])
def test_addresses_are_the_repository_s(place):
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"].removeprefix(
        "https://github.com/"
    )
    found = re.findall(rf"https://{place}([\w.-]+/[\w.-]+)", README)
    assert found
    assert set(found) == {repository}
