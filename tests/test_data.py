"""Where the digits come from, and what happens when they are missing or damaged."""

import io
import os
import warnings

import numpy as np
import pytest
import torch
from conftest import write_idx

from gencaps_lib import data
from gencaps_lib.data import DataError, load_digits


def test_embedded_digits_look_like_mnist():
    train, test = load_digits("train", "embedded"), load_digits("test", "embedded")
    assert len(train) + len(test) == 1797
    for digits in (train, test):
        assert digits.images.shape[1:] == (1, 28, 28)
        assert digits.images.dtype == torch.float32
        assert digits.labels.dtype == torch.int64
        assert digits.source == "embedded"
        assert digits.images.min() == -1
        assert digits.images.max() <= 1
        assert digits.labels.unique().tolist() == list(range(10))
        # Centred as MNIST is: the centre of mass is within half a pixel of the middle.
        ink = digits.images[:, 0] + 1
        cells = torch.arange(28.0)
        centre = (ink.sum(2) @ cells) / ink.sum((1, 2)), (ink.sum(1) @ cells) / ink.sum((1, 2))
        assert all((axis - 13.5).abs().max() <= 0.51 for axis in centre)


def test_embedded_split_is_fixed_and_disjoint():
    train, test = load_digits("train", "embedded"), load_digits("test", "embedded")
    assert torch.equal(train.images, load_digits("train", "embedded").images)
    assert test.labels[:5].tolist() == [5, 1, 7, 3, 9]
    seen = {image.numpy().tobytes() for image in train.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)


def test_reads_mnist_from_root(mnist):
    digits = load_digits("train", "mnist", root=mnist)
    raw = (mnist / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes()[16:]
    expected = np.frombuffer(raw, np.uint8).reshape(20, 1, 28, 28) / 127.5 - 1
    assert np.allclose(digits.images.numpy(), expected, atol=1e-6)
    assert digits.labels.tolist() == [k % 10 for k in range(20)]
    assert digits.source == "mnist"


def test_places_are_searched_in_order(mnist, tmp_path, monkeypatch):
    cached = tmp_path / "cache" / "MNIST" / "raw"
    cached.mkdir(parents=True)
    for path in (mnist / "MNIST" / "raw").iterdir():
        (cached / path.name).write_bytes(path.read_bytes())
    assert data._find_mnist(None) == cached
    monkeypatch.setenv("GENCAPS_DATA", str(mnist))
    assert data._find_mnist(None) == mnist / "MNIST" / "raw"
    assert data._find_mnist(tmp_path / "cache") == cached
    assert data._find_mnist(tmp_path / "nowhere") == mnist / "MNIST" / "raw"


def test_environment_variable_is_used(mnist, monkeypatch):
    monkeypatch.setenv("GENCAPS_DATA", str(mnist))
    assert load_digits("test").source == "mnist"


def test_without_network_auto_falls_back_with_one_warning():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        digits = load_digits("train"), load_digits("test")
    assert [each.source for each in digits] == ["embedded", "embedded"]
    assert len(seen) == 1
    assert "GENCAPS_DATA" in str(seen[0].message)
    assert "embedded digits" in str(seen[0].message)


def test_mnist_without_mnist_says_what_to_do(tmp_path):
    with pytest.raises(DataError) as failure:
        load_digits("train", "mnist", root=tmp_path / "elsewhere")
    for needed in (str(tmp_path / "elsewhere"), str(tmp_path / "cache"), "GENCAPS_DATA", "download=True"):
        assert needed in str(failure.value)


def test_unwritable_cache_is_named_and_auto_falls_back(monkeypatch, tmp_path):
    # A file where the folder should be refuses every user, root too.
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "file" / "cache")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_args, **_options: io.BytesIO())
    with pytest.warns(UserWarning, match="NotADirectoryError"):
        assert load_digits("train").source == "embedded"
    with pytest.raises(DataError, match="NotADirectoryError"):
        load_digits("train", "mnist")


def test_failed_download_is_no_data_set(monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr("urllib.request.urlopen", lambda *_args, **_options: io.BytesIO())
    monkeypatch.setattr("torchvision.datasets.MNIST.__init__", fail)
    with pytest.raises(DataError, match="Error downloading"):
        load_digits("train", "mnist")


def test_download_goes_into_the_cache(mnist, monkeypatch, tmp_path):
    def download(self, root, download):
        assert download
        (mnist / "MNIST").rename(os.path.join(root, "MNIST"))

    monkeypatch.setattr("urllib.request.urlopen", lambda *_args, **_options: io.BytesIO())
    monkeypatch.setattr("torchvision.datasets.MNIST.__init__", download)
    assert load_digits("train").source == "mnist"
    assert (tmp_path / "cache" / "MNIST" / "raw").is_dir()


@pytest.mark.parametrize("source", ["auto", "mnist"])
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated or corrupt"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "truncated or corrupt"),
        (lambda path: path.write_bytes(b""), "does not begin"),
        (lambda path: write_idx(path, np.zeros((20, 28, 28)), magic=0x0801), "does not begin"),
        (lambda path: write_idx(path, np.zeros((20, 28, 28))), "checksum"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
    ids=["truncated", "too-long", "empty", "wrong-magic", "wrong-content", "missing", "folder"],
)
def test_damaged_file_raises_and_is_never_half_read(mnist, damage, complaint, source):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    damage(path)
    with pytest.raises(DataError, match=complaint) as failure:
        load_digits("train", source, root=mnist)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize(("split", "source"), [("validation", "auto"), ("train", "fashion")])
def test_unknown_names_list_the_choices(split, source):
    with pytest.raises(ValueError, match="choose one of"):
        load_digits(split, source)


def test_first_takes_a_balanced_subset(digits):
    subset = digits.first(3)
    assert subset.labels.bincount().tolist() == [3] * 10
    assert torch.equal(subset.of(4).images, digits.of(4).images[:3])
    assert subset.of(7, 2).labels.bincount().tolist() == [0, 0, 3, 0, 0, 0, 0, 3]
