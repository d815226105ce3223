"""The registry: every experiment as one frozen dataclass, at the reference's sizes and at smaller ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from torch import Tensor, nn

from gencaps_lib.capsnet import CLASSIFIERS, error_curve
from gencaps_lib.data import Digits
from gencaps_lib.evaluation import Curve, ImageMeans, loss_curve_and_images
from gencaps_lib.models import build, count_parameters
from gencaps_lib.optimisers import REFERENCE, Optimiser
from gencaps_lib.tasks import RawRotation, Rotation, Shift, Task, Transform, training_ranges
from gencaps_lib.warps import RotationAndShift, Scale, Shear

PROFILES = {
    "smoke": "embedded digits, tens of steps: does everything run?",
    "quick": "MNIST, minutes on a CPU: is the effect visible?",
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
    size : model → the number of parameters to compare
    counted : of what, in words
    """

    judge: Callable[[nn.Module, Task, Digits], tuple[Curve, ImageMeans]]
    answer: Callable[[nn.Module, Tensor, Tensor], Tensor]
    size: Callable[[nn.Module], int]
    counted: str


DRAWS = Kind(
    judge=loss_curve_and_images,
    answer=lambda model, images, code: model(images, code),
    size=lambda model: count_parameters(model.decoder),
    counted="decoder parameters",
)
RECOGNISES = Kind(
    judge=lambda model, task, digits: (error_curve(model, task, digits), {}),
    answer=lambda model, images, code: model(images),
    size=count_parameters,
    counted="parameters",
)


@dataclass(frozen=True)
class Experiment:
    """One experiment at one profile.

    Attributes
    ----------
    task : what is learned and how it is judged; it carries the models' sizes
    title : a line for people
    figures : the figures of the article that it makes
    models : names of the models, in the order in which they are shown
    steps : training steps
    optimisers : how each model is trained; the reference's optimiser where a model is not named
    batch : images in a batch
    seeds : the seeds that are run; a run's seed is that of its weights and of its batches
    test_digits : images of each test digit that are judged, all if None
    source : data set, as in `load_digits`
    profile : name of the profile
    smaller : the same experiment at other profiles
    """

    task: Task
    title: str
    figures: tuple[str, ...]
    models: tuple[str, ...]
    steps: int = 100_000
    optimisers: Mapping[str, Optimiser] = field(default_factory=dict)
    batch: int = 128
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    test_digits: int | None = None
    source: str = "mnist"
    profile: str = "full"
    smaller: Mapping[str, Experiment] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimisers", MappingProxyType(dict(self.optimisers)))
        object.__setattr__(self, "smaller", MappingProxyType(dict(self.smaller)))

    @property
    def name(self) -> str:
        return self.task.name

    def at(self, profile: str | None = None) -> Experiment:
        """The experiment at a profile, by default the current one. Sizes change, and nothing else."""
        profile = check_profile(profile) if profile else current_profile()
        return self if profile == self.profile else self.smaller[profile]

    def optimiser(self, model: str) -> Optimiser:
        """How a model is trained here."""
        return self.optimisers.get(model, REFERENCE)

    def build(self, model: str, seed: int = 0) -> nn.Module:
        """Build one of the experiment's models: an `Autoencoder`, or a classifier of `capsnet`."""
        if model not in self.models:
            raise ValueError(f"unknown model {model!r} in {self.name}: choose one of {', '.join(self.models)}")
        if self.kind(model) is RECOGNISES:
            return CLASSIFIERS[model](**self.task.sizes[model], seed=seed)
        return build(model, self.task, seed)

    def kind(self, model: str) -> Kind:
        """Whether a model draws or recognises, and so how it is judged."""
        return RECOGNISES if model in CLASSIFIERS else DRAWS


def _adam(lr: float) -> Optimiser:
    """What short runs on a CPU are trained with: it reaches the effect soonest."""
    return Optimiser("adam", lr, "one-cycle", {"fused": True})


# What the smaller profiles change of each architecture; codes keep their length. The encoder of short runs is small:
# most of a CPU step goes there, and it is not what differs between models.
_SMALL_ENCODER = {"maps": (32, 64), "hidden": 256}
_TINY = {"hidden": 64, "channels": 8, "maps": 8, "encoder": {"maps": (8, 16), "hidden": 64}}
_CAPSULES = {"hidden": 512, "capsules": 64, "channels": 32, "maps": 16, "encoder": _SMALL_ENCODER}
_DENSE = {"hidden": 512, "channels": 64, "maps": 32, "encoder": _SMALL_ENCODER}
# The stamps are as large as pixels, not as feature maps' cells: it takes all the parts to draw a digit.
_COMPOSED = {"capsules": 192, "encoder": _SMALL_ENCODER}
_TINY_COMPOSED = {"hidden": 64, "channels": 2, "capsules": 16, "encoder": _TINY["encoder"]}
_SMALLER = {
    "quick": {
        "autoencoder": _DENSE,
        # Of the reference's five steps of the critic before each of the model, which would take most of the time, two.
        "adversarial-autoencoder": {**_DENSE, "critic": {"hidden": 128, "steps": 2}},
        "autoencoder-matched": _CAPSULES,
        "continuous-capsules": _CAPSULES,
        "digit-capsules": {"hidden": 64, "capsules": 40, "channels": 16, "maps": 16, "encoder": _SMALL_ENCODER},
        "learned-addresses": {**_CAPSULES, "channels": 4},
        "learned-addresses-pretrained": {**_CAPSULES, "channels": 4},
        "composed-capsules-map": _COMPOSED,
        "composed-capsules": _COMPOSED,
        "composed-capsules-known": _COMPOSED,
        "composed-capsules-oriented": _COMPOSED,
        "autoencoder-warp": {"encoder": _SMALL_ENCODER},
        "coordinate-decoder": {"width": 48, "encoder": _SMALL_ENCODER},
        "spatial-broadcast": {"hidden": 768, "channels": 64, "maps": 32, "encoder": _SMALL_ENCODER},
    },
    "smoke": {
        "autoencoder": _TINY,
        "adversarial-autoencoder": {**_TINY, "critic": {"hidden": 16}},
        "autoencoder-matched": {**_TINY, "capsules": 16},
        "continuous-capsules": {**_TINY, "capsules": 16},
        "digit-capsules": {**_TINY, "capsules": 10},
        "learned-addresses": {**_TINY, "capsules": 16, "channels": 2},
        "learned-addresses-pretrained": {**_TINY, "capsules": 16, "channels": 2, "steps": 20},
        "composed-capsules-map": _TINY_COMPOSED,
        "composed-capsules": _TINY_COMPOSED,
        "composed-capsules-known": _TINY_COMPOSED,
        "composed-capsules-oriented": _TINY_COMPOSED,
        "autoencoder-warp": _TINY,
        "coordinate-decoder": {"hidden": 64, "width": 8, "encoder": _TINY["encoder"]},
        "spatial-broadcast": _TINY,
    },
}
# What one would reach for first; their codes are as long as those of the capsules whose poses compose.
_BASELINES = {"autoencoder-warp": {"z": 32}, "coordinate-decoder": {"z": 32}, "spatial-broadcast": {"z": 32}}
_COMPOSED_MODELS = (
    "composed-capsules-map",
    "composed-capsules",
    "composed-capsules-known",
    "composed-capsules-oriented",
)
# How the short runs are trained, picked by the training loss of a few trials on shift transfer (learned addresses: on
# shift extrapolation), each architecture by itself. They are reused for the other tasks. Learned addresses diverge
# under Adam: it raises their unbounded activations until the softmax is stuck.
_QUICK_OPTIMISERS = {
    "autoencoder": _adam(6e-3),
    "adversarial-autoencoder": _adam(2e-3),
    "autoencoder-matched": _adam(6e-3),
    "continuous-capsules": _adam(8e-3),
    # With the longer code, half of the runs on rotations never left the blank image at 8e-3; 6e-3 learns more slowly.
    "continuous-capsules-z32": _adam(4e-3),
    "digit-capsules": _adam(8e-3),
    "learned-addresses": replace(REFERENCE, lr=2e-3, schedule="one-cycle"),
    "learned-addresses-pretrained": replace(REFERENCE, lr=4e-3, schedule="one-cycle"),
    # By the training loss of the learned generator on rotation extrapolation: the best of three, at 400 steps.
    **{name: _adam(8e-3) for name in _COMPOSED_MODELS},
    # On the same task, after a trial of the first steps at one rate each.
    "autoencoder-warp": _adam(4e-3),
    "coordinate-decoder": _adam(4e-3),
    "spatial-broadcast": _adam(2e-3),
}
# Capsules whose poses compose are not the reference's: long runs are trained as the first trial was, and so are those
# of the models that they are held against.
_FULL_OPTIMISERS = {name: _adam(2e-3) for name in (*_COMPOSED_MODELS, *_BASELINES)}
# Where one chapter trains five or six models, their runs are shorter. With the shorter warm-up the continuous capsules
# did not get off the blank image on shift extrapolation at 8e-3.
_SHORTER = {**_QUICK_OPTIMISERS, "continuous-capsules": _adam(6e-3)}


def _architecture(task: Task, model: str) -> str:
    return task.sizes[model].get("architecture", model)


def _at_small_sizes(profile: str, task: Task) -> Task:
    """The task with its models at a smaller profile's sizes."""
    kept = ("architecture", "z", "nonlinearity")
    sizes = {
        model: {
            **{key: value for key, value in size.items() if key in kept},
            **_SMALLER[profile][_architecture(task, model)],
        }
        for model, size in task.sizes.items()
    }
    return replace(task, sizes=sizes)


def _experiment(
    title: str,
    figures: tuple[str, ...],
    full: Task,
    small: Task | None = None,
    steps: int = 1400,
    optimisers: Mapping[str, Optimiser] = _QUICK_OPTIMISERS,
) -> Experiment:
    """An experiment at all profiles, of a task at the reference's sizes.

    `small` is the task on which the smaller profiles train, where it is not the same one; `steps` and `optimisers`, by
    model or else by architecture, are the quick profile's.
    """
    small = full if small is None else replace(small, sizes=full.sizes)
    own = {name: optimiser for name, optimiser in _FULL_OPTIMISERS.items() if name in full.sizes}
    reference = Experiment(task=full, title=title, figures=figures, models=tuple(full.sizes), optimisers=own)
    quick = replace(
        reference,
        profile="quick",
        task=_at_small_sizes("quick", small),
        steps=steps,
        batch=64,
        optimisers={model: optimisers.get(model) or optimisers[_architecture(full, model)] for model in full.sizes},
        seeds=(0,),
        test_digits=100,
        source="auto",
    )
    smoke = replace(
        quick,
        profile="smoke",
        task=_at_small_sizes("smoke", small),
        steps=20,
        batch=32,
        test_digits=5,
        source="embedded",
    )
    return replace(reference, smaller={"quick": quick, "smoke": smoke})


_SHIFT_SIZES = {
    "autoencoder": {"z": 10},
    "autoencoder-matched": {"z": 10},
    "continuous-capsules": {"z": 10},
    "digit-capsules": {"z": 20},
}


_LEARNED = {"learned-addresses": {"z": 10}, "learned-addresses-pretrained": {"z": 10}}


def _composed(**sizes) -> dict[str, dict]:
    """Capsules whose poses compose, and beside them the article's, with a code as long and a decoder about as large.

    The code is longer than the article's: parts are drawn by small stamps, and a short code makes one digit of many.
    `sizes` are further sizes of the article's capsules.
    """
    return {
        "continuous-capsules-z32": {"architecture": "continuous-capsules", "z": 32, "hidden": 192, **sizes},
        "composed-capsules-map": {"z": 32},
        "composed-capsules": {"z": 32},
        "composed-capsules-known": {"z": 32},
        "composed-capsules-oriented": {"z": 32},
    }


def _generator_and_article() -> dict[str, dict]:
    """The learned generator, and beside it the article's capsules, on rotations."""
    sizes = _composed(**_RELU)
    return {name: sizes[name] for name in ("continuous-capsules-z32", "composed-capsules")}


def _shift_transfer() -> Experiment:
    def task(margin: int, slight: tuple[int, int], step: int) -> Task:
        """Shifts up to `margin`, of which 4 and 9 see `slight`; judged every `step` pixels."""
        return Task(
            name="shift-transfer",
            transform=Shift(margin),
            seen=training_ranges((-margin, margin - 1), {4: slight, 9: slight}),
            grid=tuple(range(-margin, margin, step)),
            inside=(-slight[1], slight[1]),
            outside=2 * slight[1],
        )

    return _experiment(
        "shift a '4' to where only other digits were seen",
        ("A1", "A2", "A3"),
        replace(task(margin=20, slight=(-5, 4), step=2), sizes={**_SHIFT_SIZES, "adversarial-autoencoder": {"z": 10}}),
        task(margin=8, slight=(-2, 2), step=1),
    )


def _shift_extrapolation() -> Experiment:
    def task(margin: int, reach: int, step: int) -> Task:
        """Shifts up to `margin`, of which every digit sees half; judged every `step` pixels."""
        return Task(
            name="shift-extrapolation",
            transform=Shift(margin),
            seen=training_ranges((-reach, reach - 1), {}),
            grid=tuple(range(-margin, margin, step)),
            inside=(-reach, reach),
            outside=reach + 1,
        )

    return _experiment(
        "shift every digit beyond all shifts that were seen",
        (),
        replace(task(margin=20, reach=10, step=2), sizes={**_SHIFT_SIZES, **_LEARNED, **_composed(), **_BASELINES}),
        task(margin=8, reach=4, step=1),
        steps=1000,
        optimisers=_SHORTER,
    )


_EVERY_ANGLE = tuple(round(-180 + 1.8 * step, 1) for step in range(200))
# For short runs: every 9°, without the multiples of 90°, where the target is sharper than elsewhere.
_SOME_ANGLES = tuple(angle for angle in range(-180, 180, 9) if angle % 90)
# The reference's continuous capsules on small canvases: more maps, and ReLU.
_MANY_MAPS = {"channels": 128, "maps": 64, "nonlinearity": "relu"}
# And for rotations beyond the range: a narrow dense layer.
_RELU = {"channels": 32, "maps": 32, "nonlinearity": "relu"}
_NARROW = {"hidden": 128, **_RELU}


def _rotation(
    name: str,
    title: str,
    figures: tuple[str, ...],
    sizes: Mapping[str, Mapping],
    everyone: tuple[float, float] = (-180, 180),
    exceptions: Mapping[int, tuple[float, float]] = MappingProxyType({}),
    held_out: tuple[int, ...] = (4, 9),
    inside: tuple[float, float] | None = None,
    outside: float = 45.5,
    turns: int = 1,
    transform: Rotation = Rotation(),  # noqa: B008, it is frozen
    **short,
) -> Experiment:
    """An experiment on rotations: `everyone` sees one range of angles but for `exceptions`; judged over whole turns.

    `short` goes to `_experiment`.
    """
    seen = training_ranges(everyone, exceptions)
    task = Task(
        name=name,
        transform=transform,
        seen=seen,
        grid=tuple(turns * angle for angle in _EVERY_ANGLE),
        inside=seen[held_out[0]] if inside is None else inside,
        outside=outside,
        held_out=held_out,
        sizes=sizes,
    )
    small = replace(task, grid=tuple(turns * angle for angle in _SOME_ANGLES))
    return _experiment(title, figures, task, small, **short)


def _rotation_experiments() -> list[Experiment]:
    lengths = (10, 20, 128)
    return [
        _rotation(
            "rotation-transfer",
            "rotate a '4' by angles at which only other digits were seen",
            ("A4",),
            {
                "autoencoder": {"z": 10},
                "adversarial-autoencoder": {"z": 10},
                "continuous-capsules": {"z": 10, **_MANY_MAPS},
                "digit-capsules": {"z": 20},
            },
            exceptions={4: (-45, 45), 9: (-45, 45)},
        ),
        _rotation(
            "rotation-long-code",
            "the same with longer codes",
            ("A5", "A6"),
            {f"autoencoder-z{z}": {"architecture": "autoencoder", "z": z} for z in lengths}
            | {
                f"continuous-capsules-z{z}": {"architecture": "continuous-capsules", "z": z, **_MANY_MAPS}
                for z in lengths
            },
            exceptions={4: (-45, 45), 9: (-45, 45)},
            steps=900,
            optimisers=_SHORTER,
        ),
        _rotation(
            "rotation-one-shot",
            "rotate a '4' that was seen at one angle only",
            ("A7", "A8", "A9"),
            {
                "autoencoder": {"z": 20},
                "autoencoder-matched": {"z": 20, **_MANY_MAPS},
                "continuous-capsules": {"z": 20, **_MANY_MAPS},
                "digit-capsules": {"z": 20},
                **_composed(**_RELU),
                **_BASELINES,
            },
            exceptions={4: (18, 18), 9: (18, 18)},
            inside=(16, 20),
        ),
        _rotation(
            "rotation-one-shot-2-5",
            "the same with another pair of digits",
            (),
            _generator_and_article(),
            exceptions={2: (18, 18), 5: (18, 18)},
            held_out=(2, 5),
            inside=(16, 20),
        ),
        _rotation(
            "rotation-extrapolation",
            "rotate every digit beyond all angles that were seen",
            ("A10", "A11"),
            {
                "autoencoder": {"z": 10},
                "autoencoder-matched": {"z": 10, **_NARROW},
                "continuous-capsules": {"z": 10, **_NARROW},
                "digit-capsules": {"z": 20},
                **_composed(**_RELU),
                **_BASELINES,
            },
            everyone=(-90, 90),
            outside=91,
        ),
        *(
            _rotation(
                f"rotation-within-{most}",
                f"the same, with angles within ±{most}° seen",
                (),
                _generator_and_article(),
                everyone=(-most, most),
                outside=91,
            )
            for most in (45, 20, 10)
        ),
        _rotation(
            "rotation-one-class",
            "rotate every digit, when only one class was ever seen rotated",
            (),
            _generator_and_article(),
            everyone=(0, 0),
            exceptions={2: (-90, 90)},
            # The multiples of 90° are left out of the grid; the next ones are near enough to upright.
            inside=(-9, 9),
        ),
        _rotation(
            "rotation-raw-angle",
            "the same with the angle itself as code, seen on a whole turn and asked for on two",
            ("A10", "A11"),
            {
                "autoencoder": {"z": 10},
                "continuous-capsules": {"z": 10, **_NARROW},
                "digit-capsules": {"z": 20},
            },
            outside=181,
            turns=2,
            transform=RawRotation(),
        ),
    ]


def _rotation_range() -> Experiment:
    """The test of capsules that recognise: 3 and 4 are seen near upright only; 6 and 9, alike upside down, never."""
    full = Experiment(
        task=Task(
            name="rotation-range",
            transform=Rotation(),
            seen=training_ranges((-180, 180), {3: (-45, 45), 4: (-45, 45)}),
            grid=_EVERY_ANGLE,
            inside=(-45, 45),
            outside=45.5,
            held_out=(3, 4),
            digits=(0, 1, 2, 3, 4, 5, 7, 8),
            sizes={"capsnet": {}, "plain-classifier": {}},
        ),
        title="recognise a '3' and a '4' at angles at which only other digits were seen",
        figures=(),
        models=("capsnet", "plain-classifier"),
        steps=20_000,
        optimisers={"capsnet": _adam(1e-3), "plain-classifier": _adam(1e-3)},
    )
    small = {"maps": 16, "types": 4}
    quick = replace(
        full,
        profile="quick",
        task=replace(
            full.task, grid=_SOME_ANGLES, sizes={"capsnet": {**small, "decoder": (128, 256)}, "plain-classifier": small}
        ),
        steps=1200,
        batch=64,
        # The best of three for the training loss, for each model by itself.
        optimisers={"capsnet": _adam(8e-3), "plain-classifier": _adam(4e-3)},
        seeds=(0,),
        test_digits=100,
        source="auto",
    )
    tiny = {"maps": 4, "types": 2}
    smoke = replace(
        quick,
        profile="smoke",
        task=replace(
            full.task,
            grid=_SOME_ANGLES[::2],
            sizes={"capsnet": {**tiny, "decoder": (16, 32)}, "plain-classifier": tiny},
        ),
        steps=20,
        batch=32,
        test_digits=5,
        source="embedded",
    )
    return replace(full, smaller={"quick": quick, "smoke": smoke})


def _steps_of(step: float) -> tuple[float, ...]:
    """The points from -1 to 1, `step` apart."""
    half = round(1 / step)
    return tuple(index / half for index in range(-half, half + 1))


def _extrapolation(name: str, title: str, full: Transform, small: Transform) -> Experiment:
    """An experiment on a transform that reaches from -1 to 1, of which every digit sees the inner half."""

    def task(transform: Transform, step: float) -> Task:
        return Task(
            name=name,
            transform=transform,
            seen=training_ranges((-0.5, 0.5), {}),
            grid=_steps_of(step),
            inside=(-0.5, 0.5),
            outside=0.51,
        )

    sizes = _composed(**_RELU)
    return _experiment(title, (), replace(task(full, 1 / 20), sizes=sizes), task(small, 1 / 8))


def _extrapolations() -> list[Experiment]:
    """What a learned generator must do beside shift and rotation."""
    return [
        _extrapolation("scale-extrapolation", "scale every digit beyond all sizes that were seen", Scale(), Scale()),
        _extrapolation("shear-extrapolation", "shear every digit beyond all shears that were seen", Shear(), Shear()),
        _extrapolation(
            "rotation-and-shift",
            "rotate and shift every digit beyond all angles and shifts that were seen",
            RotationAndShift(),
            RotationAndShift(margin=8),
        ),
    ]


EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        experiment.name: experiment
        for experiment in [
            _shift_transfer(),
            _shift_extrapolation(),
            *_rotation_experiments(),
            _rotation_range(),
            *_extrapolations(),
        ]
    }
)
