"""Files that belong to a result: pictures that the model drew, and the weights of a small decoder."""

from __future__ import annotations

import io
from typing import TypedDict

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.experiments import DRAWS, Experiment
from gencaps_lib.models import Autoencoder, Decoder
from gencaps_lib.tasks import Task
from gencaps_lib.training import precision_context

GALLERY = "gallery.npz"
DECODER = "decoder.safetensors"
SUFFIXES = (GALLERY, DECODER)
IMAGES = 3  # images of each held-out digit in a gallery
DECODER_BYTES = 500_000  # decoders of this size or larger are not kept


class Gallery(TypedDict):
    """Targets and the model's drawings: (P, 3·D, side, side) uint8, background 0, see `gallery`."""

    target: np.ndarray
    drawn: np.ndarray


def extras(experiment: Experiment, name: str, model: nn.Module, test: Digits, seed: int) -> dict[str, bytes]:
    """The files that belong to the result of a trained model, suffix → content; none for a model that names digits.

    Parameters
    ----------
    experiment : the experiment at the run's profile
    name : name of the model in it
    model : the trained model, on the device of the digits
    test : the test digits; a gallery shows the first images of each held-out digit
    seed : seed of the run; only the decoder of seed 0 is kept
    """
    if experiment.kind(name).judge is not DRAWS.judge:
        return {}
    assert isinstance(model, Autoencoder)  # checked before the training
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **gallery(model, experiment.task, test))
    kept = {GALLERY: buffer.getvalue()}
    if seed == 0:
        weights = pack_decoder(model)
        if len(weights) < DECODER_BYTES:
            kept[DECODER] = weights
    return kept


@torch.no_grad()
def gallery(model: nn.Module, task: Task, digits: Digits) -> Gallery:
    """Make small pictures of targets and of the model's drawings.

    Returns
    -------
    A row for each of the P points of ``task.some_points()``, a column for each of the D held-out digits' first 3 images
    """
    scenes = task.scenes(digits.of(*task.digits))
    images = torch.cat([scenes.of(digit).first(IMAGES).images for digit in task.held_out])
    points = torch.tensor(task.some_points(), dtype=torch.float32, device=images.device)
    values = task.transform.along_grid(points).repeat_interleave(len(images), 0)
    images = images.repeat(len(points), 1, 1, 1)
    was_training = model.training
    model.eval()
    try:
        with precision_context("float32", images.device):
            drawn = model(task.picture(images), task.code(values))
    finally:
        model.train(was_training)

    def thumbnails(batch: Tensor) -> np.ndarray:
        levels = ((batch + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.unflatten(0, (len(points), -1)).squeeze(2).cpu().numpy()

    return {"target": thumbnails(task.target(images, values)), "drawn": thumbnails(drawn)}


def pack_decoder(model: Autoencoder) -> bytes:
    """The weights of a model's decoder in half precision, as safetensors."""
    state = model.decoder.state_dict()
    halves = {
        name: (weights.half() if weights.is_floating_point() else weights).cpu().contiguous()
        for name, weights in state.items()
    }
    return safetensors.torch.save(halves)


def unpack_decoder(experiment: Experiment, name: str, content: bytes) -> Decoder:
    """The decoder of an experiment's model, in single precision, with the weights of `pack_decoder`.

    Raises
    ------
    ValueError
        The content is not a safetensors file, or has the weights of another decoder.
    """
    built = experiment.build(name)
    assert isinstance(built, Autoencoder)
    decoder = built.decoder.eval()
    try:
        decoder.load_state_dict(safetensors.torch.load(content))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise ValueError(f"these are not the weights of {name}: {' '.join(str(error).split())}") from None
    return decoder
