"""What an explorer of the book shows: two trained decoders, some test digits and their latent codes, in one file.

The decoders are small, so that a page can carry them: digit capsules at the quick profile's sizes, and an autoencoder
whose decoder has about as many parameters and an equally long code.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.decoders import CapsuleDecoder, Decoder, DigitCapsules
from gencaps_lib.experiments import EXPERIMENTS, Experiment
from gencaps_lib.files import write_whole
from gencaps_lib.routing import route_by_address
from gencaps_lib.tasks import Task

FOLDER = Path(__file__).parent / "explorer" / "models"  # the scenes that are shipped with the library
MODELS = MappingProxyType({"capsules": "digit-capsules", "autoencoder": "autoencoder"})  # part of a scene → model


class SceneError(RuntimeError):
    """A scene that cannot be read or made; the message says what to do."""


def shift_experiment(profile: str) -> Experiment:
    """Shift transfer with the two models that its explorer shows, of equal size: decoder, encoder and code."""
    experiment = EXPERIMENTS["shift-transfer"].at(profile)
    capsules = experiment.task.sizes["digit-capsules"]
    alike = {size: capsules[size] for size in ("z", "channels", "maps", "encoder")}
    sizes = {"digit-capsules": capsules, "autoencoder": {**alike, "hidden": 78}}
    return replace(experiment, task=replace(experiment.task, sizes=sizes), models=tuple(MODELS.values()))


class Pair(nn.Module):
    """Both decoders of a scene as one function of what an explorer's controls set; it is what is exported.

    Parameters
    ----------
    capsules, autoencoder : the decoders
    """

    inputs = ("capsules_latent", "autoencoder_latent", "code", "mask")
    outputs = ("image", "addresses", "strengths", "autoencoder_image")

    def __init__(self, capsules: CapsuleDecoder, autoencoder: Decoder) -> None:
        super().__init__()
        self.capsules = capsules
        self.autoencoder = autoencoder

    def forward(
        self, capsules_latent: Tensor, autoencoder_latent: Tensor, code: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw with both decoders.

        Parameters
        ----------
        capsules_latent, autoencoder_latent : (B, z)
        code : (B, code_length)
        mask : (B, N), what each capsule's activations are multiplied by: 0 leaves it out

        Returns
        -------
        the capsules' image (B, 1, side, side), their addresses (B, N, 2) in index space, what each writes in the mean
        over the maps (B, N), before the mask, and the autoencoder's image
        """
        addresses, activations = self.capsules.write(capsules_latent, code)
        maps = route_by_address(addresses, activations * mask[..., None], self.capsules.size)
        return self.capsules.paint(maps), addresses, activations.mean(2), self.autoencoder(autoencoder_latent, code)


@dataclass(frozen=True)
class Scene:
    """A scene.

    Attributes
    ----------
    experiment : that the decoders were trained in
    pair : the decoders
    digits : test digits, equally many of each, in the digits' order
    latents : part → (M, z), the digits' latent codes
    spread : part → (z,), the standard deviation of each latent over all test digits
    about : what all this was made with, a line
    """

    experiment: Experiment
    pair: Pair
    digits: Digits
    latents: Mapping[str, Tensor]
    spread: Mapping[str, Tensor]
    about: str

    @property
    def task(self) -> Task:
        return self.experiment.task

    @property
    def capsules(self) -> DigitCapsules:
        """The capsules' decoder."""
        return self.pair.capsules

    @property
    def count(self) -> int:
        """How many capsules there are."""
        return self.capsules.parts.weight.shape[1]

    @property
    def samples(self) -> int:
        """How many images there are of each digit."""
        return len(self.digits) // 10

    def _chosen(self, digit: int, sample: int) -> slice:
        """The row of a digit's image, among all."""
        place = digit * self.samples + sample
        return slice(place, place + 1)

    def ask(
        self,
        digit: int = 4,
        sample: int = 0,
        row: int = 0,
        column: int = 0,
        latent: int = 0,
        deviation: float = 0.0,
        capsule: int | None = None,
    ) -> dict[str, Tensor]:
        """The inputs of `pair` for what a reader asks.

        Parameters
        ----------
        digit : 0 … 9
        sample : which of the digit's images, from 0
        row, column : shift down and right, in pixels, at most the margin of the task
        latent : index of the latent that is changed
        deviation : by how many of its standard deviations
        capsule : index of the capsule that is left out, if any

        Raises
        ------
        ValueError
            Something that the scene does not have.
        """
        margin = self.task.transform.margin
        allowed = {
            "digit": (digit, 0, 9),
            "sample": (sample, 0, self.samples - 1),
            "row": (row, -margin, margin),
            "column": (column, -margin, margin),
            "latent": (latent, 0, len(self.spread["capsules"]) - 1),
            "capsule": (0 if capsule is None else capsule, 0, self.count - 1),
        }
        for name, (value, low, high) in allowed.items():
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}; got {value!r}")
        mask = torch.ones(1, self.count)
        if capsule is not None:
            mask[0, capsule] = 0
        chosen = self._chosen(digit, sample)
        latents = {part: codes[chosen].clone() for part, codes in self.latents.items()}
        for part, codes in latents.items():
            codes[0, latent] += deviation * self.spread[part][latent]
        code = self.task.code(torch.tensor([[row, column]]))
        return {**{f"{part}_latent": codes for part, codes in latents.items()}, "code": code, "mask": mask}

    @torch.no_grad()
    def answer(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `pair` makes of inputs, by name."""
        return dict(zip(Pair.outputs, self.pair(*(inputs[name] for name in Pair.inputs)), strict=True))

    def target(self, digit: int, sample: int, row: int, column: int) -> Tensor:
        """The shifted digit (side, side) that is asked for."""
        return self.task.target(self.digits.images[self._chosen(digit, sample)], torch.tensor([[row, column]]))[0, 0]

    def plain(self) -> dict[str, object]:
        """What a page or a widget needs besides the decoders, as plain data."""
        return {
            "margin": self.task.transform.margin,
            "size": self.capsules.size,
            "capsules": self.count,
            "parents": self.capsules.parents,
            "seen": [list(limits) for limits in self.task.seen],
            "images": [base64.b64encode(_levels(image).numpy().tobytes()).decode() for image in self.digits.images],
            "latents": {part: [_rounded(code) for code in codes] for part, codes in self.latents.items()},
            "spread": {part: _rounded(spread) for part, spread in self.spread.items()},
            "about": self.about,
        }


def _levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] as bytes, 0 the background."""
    return ((images + 1) * 127.5).round().to(torch.uint8)


def _rounded(numbers: Tensor) -> list[float]:
    return [round(number, 5) for number in numbers.tolist()]


def save(scene: Scene, path: Path) -> None:
    """Write a scene to a safetensors file: decoders in half precision, images as bytes."""
    weights = {name: weight.half().contiguous() for name, weight in scene.pair.state_dict().items()}
    codes = {f"latents.{part}": latents.contiguous() for part, latents in scene.latents.items()}
    spreads = {f"spread.{part}": spread.contiguous() for part, spread in scene.spread.items()}
    digits = {"images": _levels(scene.digits.images), "labels": scene.digits.labels}
    told = {"profile": scene.experiment.profile, "source": scene.digits.source, "about": scene.about}
    write_whole(path, safetensors.torch.save({**weights, **codes, **spreads, **digits}, told))


def load(path: Path | None = None) -> Scene:
    """Read a scene, by default the one that is shipped with the library.

    Raises
    ------
    SceneError
        It is not there, damaged, or of other decoders than today's.
    """
    path = FOLDER / "shift-transfer.safetensors" if path is None else path
    remedy = f"make it with `python -m gencaps_lib explorer --out {path.parent}`"
    try:
        with safetensors.safe_open(path, "pt") as file:
            told = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        experiment = shift_experiment(told["profile"])
        pair = Pair(*(experiment.build(model).decoder for model in MODELS.values())).eval()
        pair.load_state_dict({name: tensors[name] for name in pair.state_dict()})
        digits = Digits(tensors["images"].float() / 127.5 - 1, tensors["labels"], told["source"])
        latents, spread = ({part: tensors[f"{kind}.{part}"] for part in MODELS} for kind in ("latents", "spread"))
    except FileNotFoundError:
        raise SceneError(f"{path} is not there: {remedy}") from None
    except (safetensors.SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise SceneError(f"{path} cannot be read ({str(error).splitlines()[0]}): {remedy}") from None
    return Scene(experiment, pair, digits, latents, spread, told["about"])
