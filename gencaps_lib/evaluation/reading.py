"""What a model reads off pairs of pictures: how far the second is moved from the first."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from gencaps_lib.data import Digits
from gencaps_lib.evaluation.curves import over_grid
from gencaps_lib.tasks import Task


class ReadingModel(Protocol):
    """What `readings` needs of a model, for example an `UntoldAutoencoder`."""

    def read(self, images: Tensor, moved: Tensor) -> Tensor:
        """The codes (B, 1) that lie between pictures and moved ones, both (B, 1, 28, 28)."""
        ...


@torch.no_grad()
def readings(model: ReadingModel, task: Task, digits: Digits, batch: int = 500) -> Tensor:
    """The value that a model reads off every image and its transform, at each point of the task's grid.

    Parameters
    ----------
    model : a model that reads
    task : gives the transform, with one parameter and a code proportional to its values, and the grid
    digits : M test digits, on the model's device
    batch : pairs read at once

    Returns
    -------
    (M, G), in the transform's unit, on the CPU

    Raises
    ------
    ValueError
        No digits.
    """
    of_one = task.code(torch.ones(1, 1)).item()

    def score(rows: slice, values: Tensor) -> Tensor:
        images = digits.images[rows]
        return model.read(images, task.target(images, values))[:, 0] / of_one

    return over_grid(task, digits, batch, score)
