"""The registry: every experiment as one frozen dataclass, at the reference's sizes and at smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from gencaps_lib.experiments.profiles import BASELINES, GROWTH, SHORTER, adam, at_all_profiles, at_large
from gencaps_lib.experiments.spec import DRAWS, PROFILES, RECOGNISES, Experiment, Kind, check_profile, current_profile
from gencaps_lib.tasks import Task, training_ranges
from gencaps_lib.transforms import RawRotation, Rotation, RotationAndShift, Scale, Shear, Shift, Transform

__all__ = [
    "DRAWS",
    "EXPERIMENTS",
    "PROFILES",
    "RECOGNISES",
    "Experiment",
    "Kind",
    "check_profile",
    "current_profile",
]

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

    return at_all_profiles(
        "shift a '4' to where only other digits were seen",
        ("A1", "A2", "A3"),
        replace(task(margin=20, slight=(-5, 4), step=2), sizes={**_SHIFT_SIZES, "adversarial-autoencoder": {"z": 10}}),
        task(margin=8, slight=(-2, 2), step=1),
        rounded={"autoencoder": ("tf32",), "continuous-capsules": ("tf32", "bf16")},
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

    return at_all_profiles(
        "shift every digit beyond all shifts that were seen",
        (),
        replace(task(margin=20, reach=10, step=2), sizes={**_SHIFT_SIZES, **_LEARNED, **_composed(), **BASELINES}),
        task(margin=8, reach=4, step=1),
        steps=1000,
        optimisers=SHORTER,
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

    `short` goes to `at_all_profiles`.
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
    return at_all_profiles(title, figures, task, small, **short)


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
            optimisers=SHORTER,
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
                # All angles from the first step on: what seeing small ones first is worth.
                "composed-capsules-at-once": {"architecture": "composed-capsules", "z": 32},
                **BASELINES,
            },
            exceptions={4: (18, 18), 9: (18, 18)},
            inside=(16, 20),
            growth=GROWTH,
        ),
        _rotation(
            "rotation-one-shot-2-5",
            "the same with another pair of digits",
            (),
            _generator_and_article(),
            exceptions={2: (18, 18), 5: (18, 18)},
            held_out=(2, 5),
            inside=(16, 20),
            growth=GROWTH,
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
                **BASELINES,
            },
            everyone=(-90, 90),
            outside=91,
            rounded={"composed-capsules": ("tf32",)},
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
        optimisers={"capsnet": adam(1e-3), "plain-classifier": adam(1e-3)},
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
        optimisers={"capsnet": adam(8e-3), "plain-classifier": adam(4e-3)},
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
    return replace(full, profiles={"smoke": smoke, "quick": quick, "large": at_large(full), "full": full})


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
    return at_all_profiles(title, (), replace(task(full, 1 / 20), sizes=sizes), task(small, 1 / 8))


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


def named(name: str) -> Experiment:
    """The experiment of a name, or a ValueError that lists them."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}: choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]
