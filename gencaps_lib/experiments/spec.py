"""What an experiment is: a task, models and their training, at a profile; and what a kind of models is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.evaluation import Curve, ImageMeans, error_curve, loss_curve_and_images
from gencaps_lib.models import CLASSIFIERS, count_parameters, make
from gencaps_lib.tasks import Task
from gencaps_lib.training import REFERENCE, Optimiser, read_only

# Architectures whose loss TF32 moves by no more than seeds lie apart, on all published runs that tried (shift transfer
# at the quick profile); a test holds the list to them.
TF32_ON_CUDA = frozenset({"autoencoder", "continuous-capsules"})
PROFILES = {
    "smoke": "embedded digits, tens of steps: does everything run?",
    "quick": "MNIST, minutes on a CPU: is the effect visible?",
    "large": "MNIST, the reference's sizes, thousands of steps of Adam: a quarter of an hour on a CPU",
    "full": "MNIST, the reference's protocol: 100,000 steps at batch 128, for a GPU",
}


def current_profile() -> str:
    """The profile that ``$GENCAPS_PROFILE`` names; ``"quick"`` if it is not set.

    Raises
    ------
    ValueError
        It names none.
    """
    return check_profile(os.environ.get("GENCAPS_PROFILE") or "quick")


def check_profile(name: str) -> str:
    """The name of a profile, or a ValueError that lists them."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}: choose one of {', '.join(PROFILES)}")
    return name


@dataclass(frozen=True)
class Kind:
    """What a kind of models is asked, and what of it is compared.

    Attributes
    ----------
    judge : model, task, digits → per digit, what went wrong at each point of the task's grid; and of the held-out
        digits' images, see `evaluation.image_means`, if single ones are kept
    answer : model, untransformed images and codes → what the model makes of them
    learned : model → what it found out that is to be kept, see `Decoder.learned`
    size : model → the number of parameters to compare
    counted : of what, in words
    """

    judge: Callable[[Any, Task, Digits], tuple[Curve, ImageMeans]]
    answer: Callable[[Any, Tensor, Tensor], Tensor]
    learned: Callable[[Any], dict[str, list]]
    size: Callable[[Any], int]
    counted: str


DRAWS = Kind(
    judge=loss_curve_and_images,
    answer=lambda model, images, code: model(images, code),
    learned=lambda model: model.decoder.learned(),
    size=lambda model: count_parameters(model.decoder),
    counted="decoder parameters",
)
RECOGNISES = Kind(
    judge=lambda model, task, digits: (error_curve(model, task, digits), {}),
    answer=lambda model, images, code: model(images),
    learned=lambda model: {},
    size=count_parameters,
    counted="parameters",
)


@dataclass(frozen=True)
class ModelSpec:
    """One model of an experiment at one profile: what it is, how large, and how it is trained.

    Attributes
    ----------
    architecture : one of `models.ARCHITECTURES` or `models.CLASSIFIERS`
    sizes : as in `models.make`
    optimiser : by default the reference's
    growth : in which share of the steps the transforms grow, as in `training.fit`
    precision : of products in training; by default the usual one, see `Experiment.precision_on`
    """

    architecture: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    optimiser: Optimiser = REFERENCE
    growth: float = 0.0
    precision: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", read_only(self.sizes))

    @property
    def kind(self) -> Kind:
        """Whether it draws or recognises, and so how it is judged."""
        return RECOGNISES if self.architecture in CLASSIFIERS else DRAWS

    def build(self, task: Task, seed: int = 0) -> nn.Module:
        """The model, with weights that the seed fixes."""
        return make(self.architecture, task.transform, seed, **self.sizes)


@dataclass(frozen=True)
class Experiment:
    """One experiment at one profile.

    Attributes
    ----------
    task : what is learned and how it is judged
    title : a line for people
    figures : the figures of the article that it makes
    specs : the models by name, in the order in which they are shown
    steps : training steps
    batch : targets in a batch
    draws : transforms under which each image of a batch is drawn
    seeds : the seeds that are run; a run's seed is that of its weights and of its batches
    test_digits : images of each test digit that are judged, all if None
    test_sample : images drawn from all test digits that are judged in their place, see `Digits.sample`
    source : data set, as in `load_digits`
    profile : name of the profile
    profiles : the same experiment at each profile, this one included; what `at` chooses from
    """

    task: Task
    title: str
    figures: tuple[str, ...]
    specs: Mapping[str, ModelSpec]
    steps: int = 100_000
    batch: int = 128
    draws: int = 1
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    test_digits: int | None = None
    test_sample: int | None = None
    source: str = "mnist"
    profile: str = "full"
    profiles: Mapping[str, Experiment] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for where, counts in (("in", self.task.is_inside), ("out of", self.task.is_outside)):
            if not any(map(counts, self.task.grid)):  # else it would be noticed after the training
                raise ValueError(f"no point of the grid lies {where} the held-out digits' range ({self.task.scored})")
        object.__setattr__(self, "specs", read_only(self.specs))
        object.__setattr__(self, "profiles", read_only(self.profiles))

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(self.specs)

    def spec(self, model: str) -> ModelSpec:
        """One of the models, or a ValueError that lists them."""
        if model not in self.specs:
            raise ValueError(f"unknown model {model!r} in {self.name}: choose one of {', '.join(self.specs)}")
        return self.specs[model]

    def only(self, *models: str) -> Experiment:
        """The experiment with some of its models, in this order."""
        return replace(self, specs={model: self.spec(model) for model in models})

    def at(self, profile: str | None = None) -> Experiment:
        """The experiment at a profile, by default the current one. Sizes change, and nothing else.

        Raises
        ------
        ValueError
            An unknown profile, or an experiment of your own that is at another one only.
        """
        profile = check_profile(profile) if profile else current_profile()
        if profile == self.profile:
            return self
        # What `dataclasses.replace` made of an entry keeps the entry's profiles, which are not those of what it made.
        if profile not in self.profiles or self.profiles.get(self.profile) != self:
            raise ValueError(
                f"{self.name} is at the {self.profile} profile only: make it from the registry's experiment at "
                f"the {profile} profile"
            )
        return replace(self.profiles[profile], profiles=self.profiles)

    def optimiser(self, model: str) -> Optimiser:
        """How a model is trained here."""
        return self.spec(model).optimiser

    def precision_on(self, device: torch.device, model: str) -> str:
        """The precision of a model's products in training, as in `training.fit`.

        It is float32 unless the model says otherwise; on CUDA it is TF32 for the architectures in `TF32_ON_CUDA`.
        """
        spec = self.spec(model)
        usual = "tf32" if device.type == "cuda" and spec.architecture in TF32_ON_CUDA else "float32"
        return spec.precision or usual

    def fit_options(self, device: torch.device, model: str) -> dict[str, Any]:
        """How a model is trained on a device, as arguments of `training.fit`."""
        return {
            "optimiser": self.optimiser(model),
            "batch": self.batch,
            "growth": self.spec(model).growth,
            "precision": self.precision_on(device, model),
            "draws": self.draws,
        }

    def judged(self, test: Digits) -> Digits:
        """The test digits that models are judged on."""
        test = test.of(*self.task.digits)
        if self.test_sample is not None:
            return test.sample(self.test_sample)
        return test if self.test_digits is None else test.first(self.test_digits)

    def build(self, model: str, seed: int = 0) -> nn.Module:
        """Build one of the experiment's models: an `Autoencoder`, or one of `classifiers`."""
        return self.spec(model).build(self.task, seed)

    def kind(self, model: str) -> Kind:
        """Whether a model draws or recognises, and so how it is judged."""
        return self.spec(model).kind
