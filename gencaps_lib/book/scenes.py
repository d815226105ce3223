"""Scenes for the book's explorers: two trained decoders, some test digits and their latent codes, in one file.

The decoders are small enough for a page: capsules, and an autoencoder whose decoder has about the same number of
parameters and an equally long code.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from types import MappingProxyType

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.experiments import EXPERIMENTS, Experiment
from gencaps_lib.files import write_whole
from gencaps_lib.models import Autoencoder, CapsuleDecoder, Decoder, DigitCapsules
from gencaps_lib.routing import route_by_address
from gencaps_lib.tasks import Task
from gencaps_lib.transforms import Shift

FOLDER = Path(__file__).parent / "explorer" / "models"  # the scenes that come with the library
PARTS = ("capsules", "autoencoder")  # parts of a scene, in the order of its experiment's models


class SceneError(RuntimeError):
    """A scene cannot be read or made; the message says what to do."""


def shift_experiment(profile: str) -> Experiment:
    """Shift transfer with the explorer's two models, which have decoders, encoders and codes of equal size."""
    experiment = EXPERIMENTS["shift-transfer"].at(profile)
    capsules = experiment.spec("digit-capsules").sizes
    alike = {size: capsules[size] for size in ("z", "channels", "maps", "encoder")}
    return _with(experiment, {"digit-capsules": capsules, "autoencoder": {**alike, "hidden": 78}})


def rotation_experiment(profile: str) -> Experiment:
    """Rotation beyond all angles in training, with capsules whose poses compose and an autoencoder of equal size."""
    experiment = EXPERIMENTS["rotation-extrapolation"].at(profile)
    alike = {size: experiment.spec("composed-capsules").sizes[size] for size in ("z", "encoder")}
    sizes = {
        "composed-capsules": {**alike, "hidden": 256, "capsules": 128},
        "autoencoder": {**alike, "hidden": 326, "channels": 16, "maps": 16},
    }
    return _with(experiment, sizes)


def _with(experiment: Experiment, sizes: Mapping[str, Mapping[str, object]]) -> Experiment:
    """The experiment with only these models, of these sizes."""
    return replace(experiment, specs={name: replace(experiment.spec(name), sizes=own) for name, own in sizes.items()})


# Scene → its experiment at a profile.
SCENES: Mapping[str, Callable[[str], Experiment]] = MappingProxyType(
    {"shift-transfer": shift_experiment, "rotation-extrapolation": rotation_experiment}
)


def _check(name: str) -> None:
    if name not in SCENES:
        raise ValueError(f"unknown scene {name!r}: choose one of {', '.join(SCENES)}")


def experiment(name: str, profile: str) -> Experiment:
    """A scene's experiment at a profile, with its two models; a ValueError for an unknown scene."""
    _check(name)
    return SCENES[name](profile)


class Pair(nn.Module):
    """Both decoders of a scene as one function of an explorer's controls. This module is exported.

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
        mask : (B, N), factors for the capsules' activations; 0 removes a capsule

        Returns
        -------
        four tensors
            The capsules' image (B, 1, side, side), their addresses (B, N, 2) in index space, their activations averaged
            over the maps (B, N), before the mask, and the autoencoder's image.
        """
        addresses, activations = self.capsules.write(capsules_latent, code)
        maps = route_by_address(addresses, activations * mask[..., None], self.capsules.size)
        return self.capsules.paint(maps), addresses, activations.mean(2), self.autoencoder(autoencoder_latent, code)


def pair_of(models: Iterable[nn.Module]) -> Pair:
    """The decoders of a scene's two models, in the order of `PARTS`."""
    capsules, autoencoder = models
    assert isinstance(capsules, Autoencoder)
    assert isinstance(capsules.decoder, CapsuleDecoder)
    assert isinstance(autoencoder, Autoencoder)
    return Pair(capsules.decoder, autoencoder.decoder)


@dataclass(frozen=True)
class Scene:
    """A scene of an explorer.

    Attributes
    ----------
    experiment : the experiment in which the decoders were trained
    pair : the decoders
    digits : test digits, the same number of each, sorted by digit
    latents : part → (M, z), the digits' latent codes
    spread : part → (z,), the standard deviation of each latent value over all test digits
    about : one line that says how the scene was made
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
    def capsules(self) -> CapsuleDecoder:
        """The capsules' decoder."""
        return self.pair.capsules

    @cached_property
    def count(self) -> int:
        """The number of capsules."""
        code = self.task.code(torch.zeros(1, self.task.transform.dimensions, dtype=torch.float32))
        return self.capsules.write(self.latents["capsules"][:1], code)[0].shape[1]

    @property
    def parents(self) -> int:
        """How many of the capsules' first latent values decide which digit capsule is active."""
        return self.capsules.parents if isinstance(self.capsules, DigitCapsules) else 0

    @property
    def axes(self) -> dict[str, tuple[int, int]]:
        """The transform's controls: name → (lowest, highest), in pixels for a shift, in degrees for a rotation."""
        transform = self.task.transform
        if isinstance(transform, Shift):
            return dict.fromkeys(("row", "column"), (-transform.margin, transform.margin))
        return {"angle": (-180, 180)}

    @property
    def samples(self) -> int:
        """The number of images of each digit."""
        return len(self.digits) // 10

    def _chosen(self, digit: int, sample: int) -> slice:
        """The row of a digit's image in the scene's digits."""
        place = digit * self.samples + sample
        return slice(place, place + 1)

    def _values(self, place: Mapping[str, int]) -> Tensor:
        """The transform's values (1, dimensions) of a place."""
        return torch.tensor([[place.get(axis, 0) for axis in self.axes]])

    def ask(
        self,
        digit: int = 4,
        sample: int = 0,
        latent: int = 0,
        deviation: float = 0.0,
        capsule: int | None = None,
        **place: int,
    ) -> dict[str, Tensor]:
        """The inputs of `pair` for a reader's settings.

        Parameters
        ----------
        digit : 0 … 9
        sample : index of the digit's image, from 0
        latent : index of the latent value to change
        deviation : the change, in standard deviations of this latent value
        capsule : index of the capsule to remove, if any
        place : values on the `axes`, by default 0: ``row`` and ``column``, a shift down and right in pixels, or
            ``angle``, counter-clockwise in degrees

        Raises
        ------
        TypeError
            The scene does not have one of the axes.
        ValueError
            A value is out of the scene's range.
        """
        for axis in place.keys() - self.axes.keys():
            raise TypeError(f"this scene has no {axis}: it has {' and '.join(self.axes)}")
        allowed = {
            "digit": (digit, 0, 9),
            "sample": (sample, 0, self.samples - 1),
            **{axis: (place.get(axis, 0), *reach) for axis, reach in self.axes.items()},
            "latent": (latent, 0, len(self.spread["capsules"]) - 1),
            "capsule": (0 if capsule is None else capsule, 0, self.count - 1),
        }
        for name, (value, low, high) in allowed.items():
            if not isinstance(value, Integral) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}; got {value!r}")
        mask = torch.ones(1, self.count, dtype=torch.float32)
        if capsule is not None:
            mask[0, capsule] = 0
        chosen = self._chosen(digit, sample)
        latents = {part: codes[chosen].clone() for part, codes in self.latents.items()}
        for part, codes in latents.items():
            codes[0, latent] += deviation * self.spread[part][latent]
        code = self.task.code(self._values(place))
        return {**{f"{part}_latent": codes for part, codes in latents.items()}, "code": code, "mask": mask}

    @torch.no_grad()
    def answer(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of `pair` for inputs, by name."""
        return dict(zip(Pair.outputs, self.pair(*(inputs[name] for name in Pair.inputs)), strict=True))

    def target(self, digit: int, sample: int, **place: int) -> Tensor:
        """The target: the transformed digit (side, side)."""
        return self.task.target(self.digits.images[self._chosen(digit, sample)], self._values(place))[0, 0]

    def plain(self) -> dict[str, object]:
        """The scene without the decoders as plain data, for a page or a widget."""
        return {
            "side": self.task.transform.side,
            "axes": self.axes,
            "size": self.capsules.size,
            "capsules": self.count,
            "parents": self.parents,
            "seen": [list(limits) for limits in self.task.seen],
            "images": [packed(image) for image in self.digits.images],
            "latents": {part: [_rounded(code) for code in codes] for part, codes in self.latents.items()},
            "spread": {part: _rounded(spread) for part, spread in self.spread.items()},
            "about": self.about,
        }


def _levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] as bytes, with background 0."""
    return ((images + 1) * 127.5).round().to(torch.uint8)


def packed(image: Tensor) -> str:
    """An image in [-1, 1] as a page reads it: its bytes in base64."""
    return base64.b64encode(_levels(image.cpu()).numpy().tobytes()).decode()


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


def load(name: str = "shift-transfer", folder: Path | None = None) -> Scene:
    """Read a scene.

    Parameters
    ----------
    name : one of `SCENES`
    folder : the scene's folder; by default the library's

    Raises
    ------
    ValueError
        The name is unknown.
    SceneError
        The scene is missing or damaged, or does not fit the present decoders.
    """
    _check(name)
    path = (FOLDER if folder is None else folder) / f"{name}.safetensors"
    remedy = f"make it with `python -m gencaps_lib explorer --out {path.parent}`"
    try:
        with safetensors.safe_open(path, "pt") as file:
            told = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        trained_in = experiment(name, told["profile"])
        pair = pair_of(trained_in.build(model) for model in trained_in.models).float().eval()
        pair.load_state_dict({name: tensors[name] for name in pair.state_dict()})
        digits = Digits(tensors["images"].float() / 127.5 - 1, tensors["labels"], told["source"])
        latents, spread = ({part: tensors[f"{kind}.{part}"] for part in PARTS} for kind in ("latents", "spread"))
    except FileNotFoundError:
        raise SceneError(f"{path} does not exist: {remedy}") from None
    except (safetensors.SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise SceneError(f"{path} cannot be read ({str(error).splitlines()[0]}): {remedy}") from None
    return Scene(trained_in, pair, digits, latents, spread, told["about"])
