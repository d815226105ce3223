"""What the profiles change of an experiment: the sizes of each architecture, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from gencaps_lib.experiments.spec import Experiment
from gencaps_lib.tasks import Task
from gencaps_lib.training import REFERENCE, Optimiser
from gencaps_lib.transforms import SIDE

# Of each learned address's cell there are as many as maps: the reference's 128 cost six seconds a step on a CPU.
LEARNED = ("learned-addresses", "learned-addresses-pretrained")


def adam(lr: float) -> Optimiser:
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
BASELINES = {"autoencoder-warp": {"z": 32}, "coordinate-decoder": {"z": 32}, "spatial-broadcast": {"z": 32}}
_COMPOSED_MODELS = (
    "composed-capsules-map",
    "composed-capsules",
    "composed-capsules-known",
    "composed-capsules-oriented",
)
# How the short runs are trained, picked by the training loss of a few trials on shift transfer (learned addresses: on
# shift extrapolation), each architecture by itself. They are reused for the other tasks. Learned addresses diverge
# under Adam: it raises their unbounded activations until the softmax is stuck.
QUICK = {
    "autoencoder": adam(6e-3),
    "adversarial-autoencoder": adam(2e-3),
    "autoencoder-matched": adam(6e-3),
    "continuous-capsules": adam(8e-3),
    # With the longer code, half of the runs on rotations never left the blank image at 8e-3; 6e-3 learns more slowly.
    "continuous-capsules-z32": adam(4e-3),
    "digit-capsules": adam(8e-3),
    "learned-addresses": replace(REFERENCE, lr=2e-3, schedule="one-cycle"),
    "learned-addresses-pretrained": replace(REFERENCE, lr=4e-3, schedule="one-cycle"),
    # By the training loss of the learned generator on rotation extrapolation, and on rotation and shift at once, where
    # one of two seeds never left the blank image at 8e-3: the best of three, at 420 steps.
    **{name: adam(4e-3) for name in _COMPOSED_MODELS},
    # On the same task, the best of three likewise.
    "autoencoder-warp": adam(4e-3),
    "coordinate-decoder": adam(4e-3),
    "spatial-broadcast": adam(2e-3),
}
# Capsules whose poses compose are not the reference's: long runs are trained as the first trial was, and so are those
# of the models that they are held against.
FULL = {name: adam(2e-3) for name in (*_COMPOSED_MODELS, *BASELINES)}
# On a whole circle nothing leads a learned generator from where it starts to where it should be (chapter 12 says why),
# and it is found late: the models that have one see small transforms first.
GROWTH = dict.fromkeys(("composed-capsules", "composed-capsules-oriented"), 0.3)
# Where one chapter trains five or six models, their runs are shorter. With the shorter warm-up the continuous capsules
# did not get off the blank image on shift extrapolation at 8e-3.
SHORTER = {**QUICK, "continuous-capsules": adam(6e-3)}


def _architecture(task: Task, model: str) -> str:
    return task.sizes[model].get("architecture", model)


def at_small_sizes(profile: str, task: Task) -> Task:
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


def at_large(reference: Experiment) -> Experiment:
    """An experiment at the reference's sizes with a schedule for a CPU, the same one for every model.

    No rate was tried out on any task, so that none is tuned better than another. Encoding an image once and drawing it
    several times makes a step cheaper.
    """
    sizes = {
        model: {**size, "channels": 8} if _architecture(reference.task, model) in LEARNED else size
        for model, size in reference.task.sizes.items()
    }
    optimisers = {
        model: replace(REFERENCE, lr=2e-3, schedule="one-cycle")
        if _architecture(reference.task, model) in LEARNED
        else adam(2e-3)
        for model in sizes
    }
    return replace(
        reference,
        profile="large",
        task=replace(reference.task, sizes=sizes),
        steps=4000,
        draws=4,
        optimisers=optimisers,
        seeds=(0,),
        test_sample=None if reference.task.transform.side > SIDE else 1000,
    )


def at_all_profiles(
    title: str,
    figures: tuple[str, ...],
    full: Task,
    small: Task | None = None,
    steps: int = 1400,
    optimisers: Mapping[str, Optimiser] = QUICK,
    growth: Mapping[str, float] = MappingProxyType({}),
    rounded: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Experiment:
    """An experiment at all profiles, of a task at the reference's sizes.

    `small` is the task on which the smaller profiles train, where it is not the same one; `steps` and `optimisers`, by
    model or else by architecture, are the quick profile's; `growth` is that of all profiles. Models in `rounded` are
    there once more for each precision that is named, as ``model-precision``: does it matter?
    """
    precision = {f"{model}-{name}": name for model, names in rounded.items() for name in names}
    again = {
        f"{model}-{name}": {"architecture": model, **full.sizes[model]}
        for model, names in rounded.items()
        for name in names
    }
    full = replace(full, sizes={**full.sizes, **again})
    small = full if small is None else replace(small, sizes=full.sizes)
    own = {model: FULL[_architecture(full, model)] for model in full.sizes if _architecture(full, model) in FULL}
    grown = {name: share for name, share in growth.items() if name in full.sizes}
    reference = Experiment(
        task=full,
        title=title,
        figures=figures,
        models=tuple(full.sizes),
        optimisers=own,
        growth=grown,
        precision=precision,
    )
    quick = replace(
        reference,
        profile="quick",
        task=at_small_sizes("quick", small),
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
        task=at_small_sizes("smoke", small),
        steps=20,
        batch=32,
        test_digits=5,
        source="embedded",
    )
    return replace(
        reference, profiles={"smoke": smoke, "quick": quick, "large": at_large(reference), "full": reference}
    )
