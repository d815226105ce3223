"""Scenes of the explorers: making, writing and reading them, and their ONNX export."""

import base64
import json
import math
import re
import sys

import onnxruntime
import pytest
import torch

from gencaps_lib import __main__ as command_line
from gencaps_lib.book import export as exporting
from gencaps_lib.book import scenes
from gencaps_lib.book.scenes import Pair, SceneError
from gencaps_lib.data import load_digits
from gencaps_lib.models import count_parameters

BYTES = 2_000_000  # that an explorer may load


# What is asked of each scene, on its own axes.
PLACES = {"shift-transfer": {"row": 7, "column": -8}, "rotation-extrapolation": {"angle": -137}}


@pytest.fixture(scope="module", params=list(scenes.SCENES))
def small(request):
    """A scene at the smoke profile."""
    digits = load_digits("train", "embedded"), load_digits("test", "embedded")
    return exporting.make(request.param, *digits, profile="smoke", progress=False)


@pytest.fixture(scope="module", params=list(scenes.SCENES))
def shipped(request):
    return scenes.load(request.param)


def place(scene):
    return PLACES[scene.experiment.name]


def test_a_scene_has_the_first_test_digits_of_each_class_in_order(small):
    assert small.digits.labels.tolist() == [digit for digit in range(10) for _ in range(exporting.SAMPLES)]
    test = load_digits("test", "embedded")
    for digit in range(10):
        first = test.of(digit).images[: exporting.SAMPLES]
        assert torch.equal(small.digits.of(digit).images, first)


def test_a_scene_is_read_as_it_was_written(small, tmp_path):
    name = small.experiment.name
    scenes.save(small, tmp_path / f"{name}.safetensors")
    read = scenes.load(name, tmp_path)
    question = {"digit": 7, "sample": 1, "latent": 12, "deviation": 1.5, "capsule": 2, **place(small)}
    expected, answer = small.answer(small.ask(**question)), read.answer(read.ask(**question))
    assert all(torch.equal(answer[name], expected[name]) for name in Pair.outputs)
    assert torch.allclose(read.target(7, 1, **place(small)), small.target(7, 1, **place(small)), atol=1 / 250)
    assert (read.about, read.experiment.profile) == (small.about, "smoke")


def test_what_is_asked_reaches_the_decoders(small):
    plain, changed = small.ask(digit=3), small.ask(digit=3, latent=5, deviation=2, capsule=1, **place(small))
    turned = math.radians(-137)
    codes = {"shift-transfer": [7 / 8, -1], "rotation-extrapolation": [math.cos(turned), math.sin(turned)]}
    assert changed["code"][0].tolist() == pytest.approx(codes[small.experiment.name])
    moved = (changed["capsules_latent"] - plain["capsules_latent"])[0]
    assert moved[5].item() == pytest.approx(2 * small.spread["capsules"][5].item(), rel=1e-5)
    assert moved.count_nonzero() == 1
    assert changed["mask"].sum() == changed["mask"].numel() - 1
    assert torch.equal(plain["capsules_latent"][0], small.latents["capsules"][6])


def test_a_capsule_that_is_left_out_writes_nothing(shipped):
    whole, rest = (shipped.answer(shipped.ask(capsule=capsule)) for capsule in (None, 3))
    decoder, inputs = shipped.capsules, shipped.ask()
    with torch.no_grad():
        addresses, activations = decoder.write(inputs["capsules_latent"], inputs["code"])
        activations[0, 3] = 0
        expected = decoder.paint(scenes.route_by_address(addresses, activations, decoder.size))
    assert torch.allclose(rest["image"], expected, atol=1e-6)
    assert not torch.allclose(rest["image"], whole["image"], atol=1e-6)
    assert torch.equal(rest["strengths"], whole["strengths"])


@pytest.mark.parametrize(
    "question", [{"digit": 10}, {"sample": 2}, {"latent": 40}, {"capsule": 999}, {"digit": 1.0}], ids=str
)
def test_what_a_scene_does_not_have_is_refused(small, question):
    (name,) = question
    with pytest.raises(ValueError, match=f"^{name} must be a whole number from "):
        small.ask(**question)


@pytest.mark.parametrize("name", list(scenes.SCENES))
def test_a_scene_is_float32_whatever_the_default_type_is(name):
    expected = scenes.load(name)
    torch.set_default_dtype(torch.float64)
    try:
        scene = scenes.load(name)
        drawn = scene.answer(scene.ask(digit=3))
        assert scene.target(3, 0).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    for part, values in expected.answer(expected.ask(digit=3)).items():
        assert torch.equal(values, drawn[part])


def test_a_place_out_of_a_scene_s_reach_is_refused(small):
    for axis, (_, high) in small.axes.items():
        with pytest.raises(ValueError, match=f"^{axis} must be a whole number from "):
            small.ask(**{axis: high + 1})
    with pytest.raises(TypeError, match=r"this scene has no depth: it has (row and column|angle)$"):
        small.ask(depth=1)


@pytest.mark.parametrize("name", scenes.SCENES)
def test_the_decoders_are_equal_in_size(name):
    experiment = scenes.experiment(name, "quick")
    capsules, autoencoder = (count_parameters(experiment.build(model).decoder) for model in experiment.models)
    assert 0.95 < autoencoder / capsules < 1.05


def test_the_export_computes_what_pytorch_computes(small):
    session = onnxruntime.InferenceSession(exporting.to_onnx(small.pair, small.ask()))
    for question in ({}, {"digit": 9, "latent": 2, "deviation": -2.0, "capsule": 4, **place(small)}):
        inputs = small.ask(**question)
        answers = session.run(Pair.outputs, {name: value.numpy() for name, value in inputs.items()})
        for name, answer in zip(Pair.outputs, answers, strict=True):
            assert torch.allclose(torch.from_numpy(answer), small.answer(inputs)[name], atol=1e-5)


def test_the_script_of_the_shipped_scene_is_that_of_its_weights(shipped):
    path = scenes.FOLDER / f"{shipped.experiment.name}.js"
    assert path.stat().st_size < BYTES
    name, text = re.fullmatch(r'gencapsExplorer\.scenes\["(.+?)"\] = (\{.*\});\n', path.read_text()).groups()
    held = json.loads(text)
    assert name == path.stem
    assert {key: held[key] for key in shipped.plain()} == json.loads(json.dumps(shipped.plain()))
    session = onnxruntime.InferenceSession(base64.b64decode(held["model"]))
    inputs = shipped.ask(**place(shipped))
    (image,) = session.run(["image"], {each: value.numpy() for each, value in inputs.items()})
    assert torch.allclose(torch.from_numpy(image), shipped.answer(inputs)["image"], atol=1e-5)


def test_the_shipped_scene_shows_what_the_book_says(shipped):
    """Where 4s were not seen, the capsules draw a 4 better than the autoencoder does."""
    far = {
        "shift-transfer": [{"row": row, "column": column} for row, column in ((6, 6), (-6, -6), (6, -6), (-6, 6))],
        "rotation-extrapolation": [{"angle": angle} for angle in (-150, -120, 120, 150)],
    }
    assert "quick profile" in shipped.about
    assert "data: mnist" in shipped.about
    errors = {"image": [], "autoencoder_image": []}
    for sample in range(exporting.SAMPLES):
        for where in far[shipped.experiment.name]:
            answer = shipped.answer(shipped.ask(4, sample, **where))
            target = shipped.target(4, sample, **where)
            for name, found in errors.items():
                found.append((answer[name][0, 0] - target).square().mean())
    assert sum(errors["image"]) < sum(errors["autoencoder_image"])


@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_scene_that_cannot_be_read_says_how_to_make_it(small, tmp_path, damage):
    name = small.experiment.name
    path = tmp_path / f"{name}.safetensors"
    if damage != "missing":
        scenes.save(small, path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    if damage == "other":
        path.write_bytes(path.read_bytes().replace(b"latents.capsules", b"latents.catsules"))
    with pytest.raises(SceneError, match=rf"{name}\.safetensors .*: make it with `python -m gencaps_lib explorer"):
        scenes.load(name, tmp_path)


def test_an_unknown_scene_is_refused():
    with pytest.raises(ValueError, match="unknown scene 'shear': choose one of shift-transfer, rotation"):
        scenes.load("shear")


def test_the_command_makes_a_scene_anew(tmp_path, capsys):
    assert command_line.main(["explorer", "--profile", "smoke", "--seed", "3", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for name in scenes.SCENES:
        made = scenes.load(name, tmp_path)
        assert "smoke profile: 20 steps of 32 images, seed 3; data: embedded" in made.about
        assert f"{tmp_path / name}.js: " in told


def test_the_command_makes_one_scene_and_replaces_it_only_if_asked(tmp_path, capsys):
    arguments = ["explorer", "rotation-extrapolation", "--profile", "smoke", "--out", str(tmp_path)]
    assert command_line.main(arguments) == 0
    assert {path.stem for path in tmp_path.iterdir()} == {"rotation-extrapolation"}
    assert command_line.main(arguments) == command_line.BAD_USE
    assert "exists: replace it with --force" in capsys.readouterr().err
    assert command_line.main([*arguments, "--force"]) == 0


def test_the_command_refuses_an_unknown_scene_before_it_makes_another(tmp_path, capsys):
    arguments = ["explorer", "shift-transfer", "depth", "--profile", "smoke", "--out", str(tmp_path)]
    assert command_line.main(arguments) == command_line.BAD_USE
    assert "unknown scene 'depth'" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_without_the_exporter_nothing_is_trained(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert command_line.main(["explorer", "--profile", "smoke", "--out", str(tmp_path)]) == command_line.FAILURE
    assert capsys.readouterr().err == "python -m gencaps_lib: exporting needs onnx: pip install onnx\n"
    assert not any(tmp_path.iterdir())


def test_an_exporter_that_is_broken_is_said(monkeypatch):
    def broken(package):
        raise AttributeError(f"{package} does not fit the others\nand more")

    monkeypatch.setattr(exporting.importlib, "import_module", broken)
    with pytest.raises(
        SceneError, match=r"^exporting needs onnx, which cannot be imported here \(onnx does not fit the others\)$"
    ):
        exporting.check_packages()
