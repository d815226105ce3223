"""An experiment: a task, models and their training, at one profile; and how each kind of model is evaluated."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.evaluation import Curve, ImageMeans, error_curve, loss_curve_and_images, readings, sorting
from gencaps_lib.models import BACKWARDS, CLASSIFIERS, UNTOLD, UntoldAutoencoder, count_parameters, make
from gencaps_lib.tasks import Task, check_name
from gencaps_lib.training import REFERENCE, Optimiser, read_only

# Architectures trained with TF32 on CUDA. In all published runs that compare (experiments named …-precision),
# TF32 changes their loss by no more than the spread between seeds; a test checks this.
TF32_ON_CUDA = frozenset({"autoencoder", "continuous-capsules"})
PROFILES = {
    "smoke": "embedded digits, tens of steps: does everything run?",
    "quick": "MNIST, minutes on a CPU: is the effect visible?",
    "large": "MNIST, the reference's sizes, thousands of steps of Adam: five minutes to an hour on a CPU",
    "large-rmsprop": "as large, with the reference's optimiser at its constant rate",
    "full": "MNIST, the reference's protocol: 100,000 steps at batch 128, for a GPU",
}


def current_profile() -> str:
    """The profile that ``$GENCAPS_PROFILE`` names; ``"quick"`` if it is not set.

    Raises
    ------
    ValueError
        There is no profile of this name.
    """
    return check_profile(os.environ.get("GENCAPS_PROFILE") or "quick")


def check_profile(name: str) -> str:
    """Return the name of a profile; an unknown name raises a ValueError that lists the profiles."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}: choose one of {', '.join(PROFILES)}")
    return name


@dataclass(frozen=True)
class Kind:
    """How a kind of model is evaluated: models that draw, or models that recognise.

    Attributes
    ----------
    judge
        model, task, digits → per digit, the error at each point of the task's grid; and the means of the held-out
        digits' images, see `evaluation.image_means`, if there are any
    answer : model, task, untransformed images and values of the transform → the model's output
    learned
        model, task, test digits → what it learned that is kept with the result, see `Decoder.learned` and
        `evaluation.sorting`
    size : model → the number of parameters to compare
    counted : in words, which parameters `size` counts
    """

    judge: Callable[[Any, Task, Digits], tuple[Curve, ImageMeans]]
    answer: Callable[[Any, Task, Tensor, Tensor], Tensor]
    learned: Callable[[Any, Task, Digits], dict[str, list]]
    size: Callable[[Any], int]
    counted: str


DRAWS = Kind(
    judge=loss_curve_and_images,
    answer=lambda model, task, images, values: model(images, task.code(values)),
    learned=lambda model, task, digits: model.decoder.learned() | sorting(model, task, digits),
    size=lambda model: count_parameters(model.decoder),
    counted="decoder parameters",
)
RECOGNISES = Kind(
    judge=lambda model, task, digits: (error_curve(model, task, digits), {}),
    # Asked of the untransformed images, on the task's canvas.
    answer=lambda model, task, images, values: model(task.target(images, torch.zeros_like(values))),
    learned=lambda model, task, digits: {},
    size=count_parameters,
    counted="parameters",
)
NAMES_BY_DRAWING = replace(
    RECOGNISES,
    learned=lambda model, task, digits: model.drawer.decoder.learned(),
    size=lambda model: count_parameters(model.drawer.decoder),
    counted="decoder parameters",
)


READ = 10  # test images of each digit whose readings are kept


def _learned_untold(model: UntoldAutoencoder, task: Task, digits: Digits) -> dict[str, list]:
    """The generator in the transform's unit, and what is read off pairs: (M, G), M images at the points of the grid."""
    generators = model.generators()
    found = {} if generators is None else {"generators": generators.tolist()}
    read = readings(model, task, digits.first(READ)).tolist()
    return {**found, "read": [[round(value, 1) for value in row] for row in read]}


DRAWS_UNTOLD = replace(DRAWS, learned=_learned_untold)


@dataclass(frozen=True)
class ModelSpec:
    """One model of an experiment at one profile: its architecture, its sizes, and its training.

    Attributes
    ----------
    architecture : one of `models.ARCHITECTURES`, `models.CLASSIFIERS`, `models.BACKWARDS` or `models.UNTOLD`
    sizes : as in `models.make`
    optimiser : by default the reference's
    growth : share of the steps in which the transforms grow, as in `training.fit`
    precision : precision of products in training; if None, see `Experiment.precision_on`
    faster : learning rates of some parameters, as in `training.fit`
    rival : the optimiser of the model's rival, if it has one; if None, the model's, without its schedule
    """

    architecture: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    optimiser: Optimiser = REFERENCE
    growth: float = 0.0
    precision: str | None = None
    faster: Mapping[str, float] = field(default_factory=dict)
    rival: Optimiser | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", read_only(self.sizes))
        object.__setattr__(self, "faster", read_only(self.faster))

    @property
    def kind(self) -> Kind:
        """The kind of model: it draws or recognises, and is evaluated accordingly."""
        if self.architecture in BACKWARDS:
            return NAMES_BY_DRAWING
        if self.architecture in UNTOLD:
            return DRAWS_UNTOLD
        return RECOGNISES if self.architecture in CLASSIFIERS else DRAWS

    def build(self, task: Task, seed: int = 0) -> nn.Module:
        """Build the model, with weights drawn from the seed."""
        return make(self.architecture, task.transform, seed, **self.sizes)


@dataclass(frozen=True)
class Experiment:
    """One experiment at one profile.

    Attributes
    ----------
    task : what is learned, and how models are tested
    title : one line that describes it to people
    figures : the figures of the article that it reproduces
    specs : the models by name, in the order in which they are shown
    steps : number of training steps
    batch : number of targets in a batch
    draws : number of transforms of each image in a batch
    seeds : the seeds of the runs; a run uses its seed for its weights and its batches
    test_digits : number of test images of each digit; all if None
    test_sample : if given, test instead on this number of images drawn from all test digits, see `Digits.sample`
    source : data set, as in `load_digits`
    profile : name of the profile
    profiles : the same experiment at each profile, including this one; `at` chooses from these
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
        for name in self.specs:
            check_name(name, "model")
        for where, counts in (("in", self.task.is_inside), ("out of", self.task.is_outside)):
            if not any(map(counts, self.task.grid)):  # otherwise the error would come only after the training
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
        """Return one of the models; an unknown name raises a ValueError that lists them."""
        if model not in self.specs:
            raise ValueError(f"unknown model {model!r} in {self.name}: choose one of {', '.join(self.specs)}")
        return self.specs[model]

    def only(self, *models: str) -> Experiment:
        """The experiment with some of its models, in this order."""
        return replace(self, specs={model: self.spec(model) for model in models})

    def at(self, profile: str | None = None) -> Experiment:
        """The experiment at a profile, by default the current one. Sizes and schedule differ between profiles.

        Raises
        ------
        ValueError
            The profile is unknown, or this is your own experiment, which exists only at another profile.
        """
        profile = check_profile(profile) if profile else current_profile()
        if profile == self.profile:
            return self
        # A copy that `dataclasses.replace` made of an entry still has the entry's profiles, which do not fit the copy.
        if profile not in self.profiles or self.profiles.get(self.profile) != self:
            raise ValueError(
                f"{self.name} exists at the {self.profile} profile only: make it again from the registry's experiment "
                f"at the {profile} profile"
            )
        return replace(self.profiles[profile], profiles=self.profiles)

    def optimiser(self, model: str) -> Optimiser:
        """The optimiser of a model."""
        return self.spec(model).optimiser

    def precision_on(self, device: torch.device, model: str) -> str:
        """The precision of a model's products in training, as in `training.fit`.

        It is float32 unless the model says otherwise; on CUDA it is TF32 for the architectures in `TF32_ON_CUDA`.
        """
        spec = self.spec(model)
        usual = "tf32" if device.type == "cuda" and spec.architecture in TF32_ON_CUDA else "float32"
        return spec.precision or usual

    def fit_options(self, device: torch.device, model: str) -> dict[str, Any]:
        """The arguments of `training.fit` for a model on a device."""
        return {
            "optimiser": self.optimiser(model),
            "batch": self.batch,
            "growth": self.spec(model).growth,
            "precision": self.precision_on(device, model),
            "draws": self.draws,
            "faster": self.spec(model).faster,
            "rival_optimiser": self.spec(model).rival,
        }

    def judged(self, test: Digits) -> Digits:
        """The test digits on which models are evaluated."""
        test = self.task.scenes(test.of(*self.task.digits))
        if self.test_sample is not None:
            return test.sample(self.test_sample)
        return test if self.test_digits is None else test.first(self.test_digits)

    def build(self, model: str, seed: int = 0) -> nn.Module:
        """Build one of the experiment's models: an `Autoencoder`, or a classifier of `classifiers`."""
        return self.spec(model).build(self.task, seed)

    def kind(self, model: str) -> Kind:
        """The kind of a model: it draws or recognises, and is evaluated accordingly."""
        return self.spec(model).kind
