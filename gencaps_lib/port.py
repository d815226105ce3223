"""The straightforward port, which `bench` compares with: images are transformed one by one behind a DataLoader.

It trains on what `training.fit` trains on, and shows what is gained by transforming whole batches where they are used.
"""

from __future__ import annotations

import random

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from gencaps_lib.data import Digits
from gencaps_lib.tasks import Shift, Task
from gencaps_lib.training import Batch, Trainer


class PortedDigits(Dataset):
    """Digits as a straightforward port has them: each transformed by Pillow when it is asked for.

    An item is an image (1, 28, 28), its label, the value (dimensions,) of the transform and the target.
    """

    def __init__(self, digits: Digits, task: Task, seed: int = 0) -> None:
        self.images, self.labels = (digits.images[:, 0] + 1).cpu().numpy(), digits.labels.tolist()
        self.task, self.random = task, random.Random(seed)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int, Tensor, Tensor]:
        picture = Image.fromarray(self.images[index])
        transform, (low, high) = self.task.transform, self.task.seen[self.labels[index]]
        if isinstance(transform, Shift):
            value = torch.tensor([self.random.randint(low, high) for _ in range(2)])
            moved = Image.new("F", (transform.side, transform.side))
            moved.paste(picture, (transform.margin + int(value[1]), transform.margin + int(value[0])))
        else:
            value = torch.tensor([self.random.uniform(low, high)])
            moved = picture.rotate(value.item(), Image.Resampling.BILINEAR)
        return _tensor(picture), self.labels[index], value, _tensor(moved)


def _tensor(picture: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.float32)
    return pixels.view(1, picture.height, picture.width) - 1


class Port(Trainer):
    """The straightforward port: batches come from a DataLoader, and each loss is looked at."""

    def __init__(self, model: nn.Module, task: Task, digits: Digits, steps: int, device: str, **options) -> None:
        super().__init__(model, task, digits.first(1).to(device), steps, **options)
        data = PortedDigits(digits, task)
        sampler = RandomSampler(data, replacement=True, num_samples=steps * self.batch)
        self.batches = iter(DataLoader(data, self.batch, sampler=sampler))

    def draw(self) -> Batch:
        images, labels, values, target = (part.to(self.device) for part in next(self.batches))
        return Batch(images, labels, self.task.code(values), target)

    def step(self) -> None:
        super().step()
        self.losses[-1].item()
