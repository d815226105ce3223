"""Two objects in one picture: does each group of parts, or each layer, draw its own object?"""

from __future__ import annotations

import torch
from torch import Tensor

from gencaps_lib.data import Digits
from gencaps_lib.models import Autoencoder, GroupedCapsules, LayeredDecoder
from gencaps_lib.tasks import Task
from gencaps_lib.transforms import TwoObjects


def share_on_own(ink: Tensor, objects: Tensor) -> list[float]:
    """Of what is drawn where one object has more ink than the other, the share that its own group draws.

    Parameters
    ----------
    ink : (B, 2, S, S), what each of two groups draws alone, at least 0
    objects : (B, 2, S, S), the ink of the two objects, of which the first is on the left

    Returns
    -------
    two numbers
        everywhere; and only across the middle, where an object lies on the other one's half. Groups that draw what is
        on their half have 0 there, and groups that draw the same 0.5. The true objects have less than 1: where they
        overlap, each has some ink where the other has more.
    """
    more = (objects > objects.flip(1)).to(ink.dtype)
    half = ink.shape[-1] // 2
    across = more.clone()
    across[:, 0, :, :half] = 0  # the first object on its own half
    across[:, 1, :, half:] = 0
    return [float((ink * where).sum() / (ink.sum(1, keepdim=True) * where).sum()) for where in (more, across)]


@torch.no_grad()
def sorted_ink(model: Autoencoder, task: Task, digits: Digits, batch: int = 500) -> list[float]:
    """How well a model that was never told where one object ends sorted the picture: `share_on_own`, at rest.

    Parameters
    ----------
    model : its decoder is a `models.GroupedCapsules` or a `models.LayeredDecoder`
    task : its transform moves two objects
    digits : test digits, on the model's device
    batch : pairs drawn at once

    Raises
    ------
    ValueError
        The task or the model has no two objects.
    """
    transform, decoder = task.transform, model.decoder
    if not isinstance(transform, TwoObjects) or not isinstance(decoder, GroupedCapsules | LayeredDecoder):
        raise ValueError("ink is sorted where a task has two objects, and a decoder groups of parts or layers for them")
    drawn, objects = [], []
    for images in task.scenes(digits).images.split(batch):
        still = torch.zeros(len(images), transform.dimensions, device=images.device)
        drawn.append(decoder.layers(model.encode(task.picture(images)), task.code(still)))
        objects.append(transform.moved(images, still))
    return share_on_own(torch.cat(drawn), torch.cat(objects))


def sorting(model: Autoencoder, task: Task, digits: Digits) -> dict[str, list[float]]:
    """What is kept with a result: ``"sorted"``, see `sorted_ink`; nothing for other tasks and models."""
    if isinstance(task.transform, TwoObjects) and isinstance(model.decoder, GroupedCapsules | LayeredDecoder):
        return {"sorted": sorted_ink(model, task, digits)}
    return {}
