"""Make a scene of the explorers: train its models, compute latent codes of some test digits, export to ONNX.

A page of the book runs the decoders in the reader's browser, from a script with the decoders and the digits. It is a
script and not an ``.onnx`` file, because a book that is opened from disk can load only scripts.
"""

from __future__ import annotations

import base64
import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from gencaps_lib import results
from gencaps_lib.book import scenes
from gencaps_lib.book.scenes import PARTS, Pair, Scene, SceneError, pair_of
from gencaps_lib.data import Digits
from gencaps_lib.files import write_whole
from gencaps_lib.models import Autoencoder

if TYPE_CHECKING:
    from onnx import ModelProto

SAMPLES = 2  # number of test digits of each class


def make(name: str, train: Digits, test: Digits, profile: str, seed: int = 0, progress: bool = True) -> Scene:
    """Train the models of an explorer and make its scene.

    The scene shows the first test digits of each class; they are not selected. Its decoders have the half-precision
    weights that are saved.

    Parameters
    ----------
    name : one of `scenes.SCENES`
    train, test : the digits
    profile : profile of the scene's experiment
    seed : seed of weights and batches
    progress : show a bar while training
    """
    experiment = scenes.experiment(name, profile)
    judged = test.to("cpu")  # a scene is on the CPU, also if its models are trained on a GPU
    shown = _in_order(judged.first(SAMPLES))
    models, latents, spread = [], {}, {}
    for part, architecture in zip(PARTS, experiment.models, strict=True):
        result, model = results.run(experiment, architecture, train, test.first(SAMPLES), seed, progress, partial=False)
        assert isinstance(model, Autoencoder)
        models.append(model.cpu())
        model.decoder.half().float().requires_grad_(False)
        with torch.no_grad():
            latents[part], every = (
                torch.cat([model.encode(experiment.task.picture(images)) for images in digits.images.split(500)])
                for digits in (shown, judged)
            )
            spread[part] = every.std(0)
    about = (
        f"{profile} profile: {experiment.steps:,} steps of {experiment.batch} images, seed {seed}; "
        f"data: {train.source}; {result.machine['device']}, PyTorch {result.machine['torch']}, commit "
        f"{result.machine['commit']}. The first {SAMPLES} test digits of each class."
    )
    return Scene(experiment, pair_of(models).eval(), shown, latents, spread, about)


def _in_order(digits: Digits) -> Digits:
    """The digits sorted by class."""
    order = digits.labels.argsort(stable=True)
    return replace(digits, images=digits.images[order], labels=digits.labels[order])


def check_packages() -> None:
    """Raise a SceneError if a package for exporting is not installed or cannot be imported."""
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            raise SceneError(f"exporting needs {package}: pip install {package}") from None
        except Exception as error:  # an incompatible package can raise any error
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SceneError(f"exporting needs {package}, which cannot be imported here ({reason})") from None


def to_onnx(pair: Pair, inputs: dict[str, torch.Tensor]) -> bytes:
    """Export both decoders for a batch of one, with weights in half precision and arithmetic in single precision.

    Parameters
    ----------
    pair : the decoders; their weights have half-precision values
    inputs : name → an example of this input

    Raises
    ------
    SceneError
        The exporter's packages are missing.
    """
    check_packages()
    program = torch.onnx.export(
        pair,
        tuple(inputs[name] for name in Pair.inputs),
        input_names=Pair.inputs,
        output_names=Pair.outputs,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # it is never None with `dynamo`
    return _halved(program.model_proto)


def _halved(model: ModelProto) -> bytes:
    """Store the large weights of an ONNX model in half precision; they are cast when it is loaded.

    Values that the exporter computed from weights, such as kernels, are not rounded.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size <= 64:
            continue
        halves, name = values.astype(np.float16), weight.name
        if np.array_equal(halves.astype(np.float32), values):
            weight.CopyFrom(numpy_helper.from_array(halves, f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]  # in the order in which they are computed
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def script(scene: Scene) -> str:
    """The script with a scene for pages: its plain data, and both decoders as a base64-encoded ONNX file."""
    model = base64.b64encode(to_onnx(scene.pair, scene.ask())).decode()
    name = json.dumps(scene.experiment.name)
    return f"gencapsExplorer.scenes[{name}] = {json.dumps({**scene.plain(), 'model': model})};\n"


def write(scene: Scene, folder: Path) -> list[Path]:
    """Write a scene as a file for Python and as a script for pages; return the paths."""
    page, python = (folder / f"{scene.experiment.name}.{kind}" for kind in ("js", "safetensors"))
    text = script(scene)
    scenes.save(scene, python)
    write_whole(page, text.encode())
    return [python, page]
