"""Where the digits come from, and what happens when they are missing or damaged."""

import gzip
import io
import urllib.error
import urllib.request
import warnings
from dataclasses import replace
from http.client import BadStatusLine

import filelock
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


def test_what_is_done_to_loaded_digits_is_not_seen_by_the_next_who_loads_them():
    digits, again = (load_digits("test", "embedded") for _ in range(2))
    digits.images.zero_()
    digits.labels.zero_()
    for other in (again, load_digits("test", "embedded")):
        assert other.images.min() == -1
        assert other.labels[:5].tolist() == [5, 1, 7, 3, 9]


def test_reads_mnist_from_root(mnist):
    digits = load_digits("train", "mnist", root=mnist)
    raw = (mnist / "MNIST" / "raw" / "train-images-idx3-ubyte").read_bytes()[16:]
    expected = np.frombuffer(raw, np.uint8).reshape(20, 1, 28, 28) / 127.5 - 1
    assert np.allclose(digits.images.numpy(), expected, atol=1e-6)
    assert digits.labels.tolist() == [k % 10 for k in range(20)]
    assert digits.source == "mnist"


def _copy(mnist, folder, spell=str, pack=bytes):
    """MNIST's files in a folder, under other names and packed in other ways."""
    folder.mkdir(parents=True)
    for path in (mnist / "MNIST" / "raw").iterdir():
        (folder / spell(path.name)).write_bytes(pack(path.read_bytes()))


def test_the_folder_that_is_named_comes_first(mnist, tmp_path, monkeypatch):
    _copy(mnist, tmp_path / "cache" / "MNIST" / "raw")
    assert load_digits("train").source == "mnist"
    (tmp_path / "cache" / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"not to be read")
    monkeypatch.setenv("GENCAPS_DATA", str(mnist))
    assert load_digits("train").source == "mnist"
    monkeypatch.setenv("GENCAPS_DATA", str(tmp_path / "nowhere"))
    assert load_digits("train", root=mnist).source == "mnist"


@pytest.mark.parametrize("source", ["auto", "mnist"])
def test_a_folder_that_was_named_and_lacks_mnist_is_an_error(mnist, tmp_path, monkeypatch, source):
    _copy(mnist, tmp_path / "cache" / "MNIST" / "raw")
    nowhere = tmp_path / "nowhere"
    for name_it in (lambda: load_digits("train", source, root=nowhere), lambda: load_digits("train", source)):
        with pytest.raises(DataError, match=f"MNIST is not in {nowhere}"):
            name_it()
        monkeypatch.setenv("GENCAPS_DATA", str(nowhere))
    monkeypatch.setenv("GENCAPS_DATA", str(mnist))
    with pytest.raises(DataError, match=f"MNIST is not in {nowhere}"):
        load_digits("train", source, root=nowhere)


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize(
    ("spell", "pack"),
    [
        (str, bytes),
        (lambda name: name.replace("-idx", ".idx"), bytes),
        (lambda name: name + ".gz", gzip.compress),
    ],
    ids=["torchvision", "kaggle", "packed"],
)
def test_the_usual_names_and_places_are_read(mnist, tmp_path, monkeypatch, place, spell, pack):
    _copy(mnist, tmp_path / "home" / "digits" / place, spell, pack)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENCAPS_DATA", "~/digits")
    expected = load_digits("test", root=mnist)
    found = load_digits("test")
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.labels, expected.labels)


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
        load_digits("train", "mnist")
    for needed in (str(tmp_path / "cache"), "GENCAPS_DATA", "the tests have no network", "Connect to the network"):
        assert needed in str(failure.value)


@pytest.fixture
def mirror(mnist, monkeypatch):
    """A mirror that answers with the tiny data set; its list of the names that it was asked for."""
    asked = []

    def urlopen(url, timeout):
        asked.append(url.rpartition("/")[2])
        return io.BytesIO(gzip.compress((mnist / "MNIST" / "raw" / asked[-1].removesuffix(".gz")).read_bytes()))

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return asked


def test_the_cache_is_filled_once(mirror, tmp_path):
    assert [load_digits(split).source for split in ("train", "test", "train")] == ["mnist"] * 3
    assert sorted(mirror) == sorted(f"{name}.gz" for name in data.MNIST_SHA256)
    raw = tmp_path / "cache" / "MNIST" / "raw"
    assert sorted(path.name for path in raw.iterdir()) == sorted(data.MNIST_SHA256)


def test_one_process_at_a_time_fetches(mirror, tmp_path, monkeypatch):
    def urlopen(url, timeout):
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(tmp_path / "cache" / ".lock").acquire(blocking=False)
        return answer(url, timeout)

    answer = urllib.request.urlopen
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    load_digits("train", "mnist")
    assert len(mirror) == 4


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.unlink()])
def test_what_is_missing_or_damaged_in_the_cache_is_fetched(mirror, tmp_path, damage):
    load_digits("train", "mnist")
    mirror.clear()
    damage(tmp_path / "cache" / "MNIST" / "raw" / "train-labels-idx1-ubyte")
    assert load_digits("train", "mnist").labels[:3].tolist() == [0, 1, 2]
    assert mirror == ["train-labels-idx1-ubyte.gz"]


def test_a_damaged_cache_without_network_is_an_error_and_an_incomplete_one_is_none(mirror, tmp_path, monkeypatch):
    load_digits("train", "mnist")
    monkeypatch.undo()
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("urllib.request.urlopen", _refuse(OSError("no network")))
    path = tmp_path / "cache" / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    with pytest.raises(DataError, match=r"truncated.* Connect to the network.*\(.*no network\)"):
        load_digits("train")
    path.unlink()
    # The test digits are whole, but one data set is not mixed with another.
    with pytest.warns(UserWarning, match="embedded"):
        assert load_digits("test").source == "embedded"


def _refuse(error):
    def urlopen(url, timeout):
        raise error

    return urlopen


@pytest.mark.parametrize(
    "urlopen",
    [
        _refuse(urllib.error.URLError("no host")),
        _refuse(BadStatusLine("nonsense")),
        _refuse(ValueError("unknown url type")),
        lambda url, timeout: io.BytesIO(b"<html>Log in to the network</html>"),
        lambda url, timeout: io.BytesIO(gzip.compress(b"half")[:-4]),
    ],
    ids=["offline", "no-http", "no-url", "login", "cut"],
)
def test_an_answer_that_is_no_mnist_is_no_data_set(monkeypatch, tmp_path, urlopen):
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(DataError, match=r"could not be downloaded \(https"):
        load_digits("train", "mnist")
    with pytest.warns(UserWarning, match="embedded"):
        assert load_digits("train").source == "embedded"
    assert not list((tmp_path / "cache").rglob("*ubyte*"))


def test_unwritable_cache_is_named_and_auto_falls_back(mirror, monkeypatch, tmp_path):
    # A file where the folder should be refuses every user, root too.
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match="NotADirectoryError"):
        assert load_digits("train").source == "embedded"
    with pytest.raises(DataError, match="NotADirectoryError"):
        load_digits("train", "mnist")


def test_a_file_system_without_locks_holds_a_cache(mirror, monkeypatch):
    def refuse(*_arguments, **_options):
        raise NotImplementedError("no flock here")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert load_digits("train").source == "mnist"


@pytest.mark.parametrize("source", ["auto", "mnist"])
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "damaged"),
        (lambda path: path.write_bytes(b""), "truncated"),
        (lambda path: write_idx(path, np.zeros((20, 28, 28)), magic=0x0801), "another file"),
        (lambda path: write_idx(path, np.zeros((20, 28, 28))), "damaged"),
        (lambda path: path.write_bytes(gzip.compress(path.read_bytes())[:-9]), "damaged"),
        (lambda path: path.unlink(), "Put it there"),
        (lambda path: (path.unlink(), path.mkdir()), "Put it there"),
    ],
    ids=["truncated", "too-long", "empty", "wrong-magic", "wrong-content", "cut-gz", "missing", "folder"],
)
def test_damaged_file_raises_and_is_never_half_read(mnist, damage, complaint, source):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    damage(path)
    with pytest.raises(DataError, match=complaint) as failure:
        load_digits("train", source, root=mnist)
    for needed in (path.name, str(mnist), "GENCAPS_DATA"):
        assert needed in str(failure.value)


def test_a_folder_that_may_not_be_read_is_named(mnist, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.is_file", refuse)
    with pytest.raises(DataError, match=f"{mnist} cannot be read .Permission denied"):
        load_digits("train", root=mnist)


def test_embedded_digits_stand_in_only_where_mnist_is_not_here(mnist, tmp_path, monkeypatch):
    assert data.expected_sources("embedded") == ("embedded",)
    assert data.expected_sources("mnist") == ("mnist",)
    assert data.expected_sources("auto") == ("mnist", "embedded")
    assert data.expected_sources("auto", mnist) == ("mnist",)
    _copy(mnist, tmp_path / "cache" / "MNIST" / "raw")
    assert data.expected_sources("auto") == ("mnist",)
    with pytest.raises(DataError, match="MNIST is not in"):
        data.expected_sources("auto", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda digits: {"labels": digits.labels.byte()}, "labels of digits must be torch.int64"),
        (lambda digits: {"images": (digits.images * 127).byte()}, "images of digits must be torch.float32"),
        (lambda digits: {"images": digits.images[:, 0]}, "images .M, 1, 28, 28"),
        (lambda digits: {"labels": digits.labels[:-1]}, "labels .M,"),
        (lambda digits: {"labels": digits.labels + 1}, "labels must be from 0 to 9; got 1 … 10"),
        (lambda digits: {"labels": digits.labels - 1}, "labels must be from 0 to 9; got -1 … 8"),
        (
            lambda digits: {"images": 255 * digits.images},
            "pixels must be from -1, the background, to 1; got -255.0 … 255.0",
        ),
        (lambda digits: {"images": digits.images / 0}, "pixels must be from -1, the background, to 1; got nan … nan"),
    ],
)
def test_digits_of_another_type_or_shape_are_refused(digits, change, complaint):
    with pytest.raises((TypeError, ValueError), match=complaint):
        replace(digits, **change(digits))


@pytest.mark.parametrize("take", [lambda digits: digits.first(-1), lambda digits: digits.sample(-1)])
def test_less_than_no_digits_are_refused(digits, take):
    with pytest.raises(ValueError, match="at least 0 images"):
        take(digits)


@pytest.mark.parametrize(("split", "source"), [("validation", "auto"), ("train", "fashion")])
def test_unknown_names_list_the_choices(split, source):
    with pytest.raises(ValueError, match="choose one of"):
        load_digits(split, source)


def test_first_takes_a_balanced_subset(digits):
    subset = digits.first(3)
    assert subset.labels.bincount().tolist() == [3] * 10
    assert torch.equal(subset.of(4).images, digits.of(4).images[:3])
    assert subset.of(7, 2).labels.bincount().tolist() == [0, 0, 3, 0, 0, 0, 0, 3]


def test_a_sample_is_of_all_digits_and_always_the_same(digits):
    chosen = digits.sample(30)
    assert len(chosen) == 30
    assert torch.equal(chosen.images, digits.sample(30).images)
    assert not torch.equal(chosen.labels, digits.labels[:30])
    assert len(digits.sample(10**6)) == len(digits)
