"""Every architecture by name: this module puts the parts together and draws the weights from a seed.

References
----------
Glorot, Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks": the
initial weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from gencaps_lib.capsules import GenerativeCapsules
from gencaps_lib.models.ablations import ChangedCapsules
from gencaps_lib.models.addresses import LearnedAddresses, PretrainedAddresses
from gencaps_lib.models.adversarial import AdversarialAutoencoder
from gencaps_lib.models.article import ContinuousCapsules, ConvDecoder, DigitCapsules
from gencaps_lib.models.backwards import Backwards
from gencaps_lib.models.baselines import CoordinateDecoder, SpatialBroadcast, WarpedDecoder
from gencaps_lib.models.classifiers import CLASSIFIERS
from gencaps_lib.models.composed import BalancedAutoencoder, ComposedCapsules, GrowingCapsules, LinearParts
from gencaps_lib.models.objects import AddedCapsules, GroupedCapsules, LayeredDecoder
from gencaps_lib.models.oriented import OrientedCapsules
from gencaps_lib.models.parts import Autoencoder, Decoder, Encoder, PerCapsuleLinear
from gencaps_lib.models.untold import OneWayAutoencoder, UntoldAutoencoder
from gencaps_lib.tasks import Task
from gencaps_lib.transforms import Transform


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def matched_decoder(z: int, code_length: int, side: int, **capsule_sizes) -> ConvDecoder:
    """The autoencoder's decoder with about the same number of parameters as `ContinuousCapsules` of the given sizes.

    It has the same painter and the same number of feature maps as the capsules. The width of its dense layer is chosen
    to match the number of parameters, so only the way to compute the maps differs. Takes the arguments of
    `ContinuousCapsules`.
    """
    with torch.device("meta"):  # to count parameters without memory or random numbers
        capsules = ContinuousCapsules(z, code_length, side, **capsule_sizes)
        channels, maps = capsules.paint.channels, capsules.paint.maps
        nonlinearity = capsule_sizes.get("nonlinearity", "leaky-relu")
        narrow, wide = (ConvDecoder(z, code_length, side, channels, maps, hidden, nonlinearity) for hidden in (1, 2))
    fixed = count_parameters(narrow)
    per_unit = count_parameters(wide) - fixed
    hidden = 1 + round((count_parameters(capsules) - fixed) / per_unit)
    return ConvDecoder(z, code_length, side, channels, maps, max(hidden, 1), nonlinearity)


def _told(make: Callable[..., Decoder]) -> Callable[..., Decoder]:
    """A function that makes a decoder which gets only the code of the transform."""

    def decoder(z: int, transform: Transform, **sizes) -> Decoder:
        return make(z, transform.code_length, transform.side, **sizes)

    return decoder


# For each name: the class of the whole model, and a function that makes the decoder from z, the transform and sizes.
ARCHITECTURES: dict[str, tuple[type[Autoencoder], Callable[..., Decoder]]] = {
    "autoencoder": (Autoencoder, _told(ConvDecoder)),
    "adversarial-autoencoder": (AdversarialAutoencoder, _told(partial(ConvDecoder, channels=128, maps=64))),
    "autoencoder-matched": (Autoencoder, _told(matched_decoder)),
    "continuous-capsules": (Autoencoder, _told(ContinuousCapsules)),
    "changed-capsules": (Autoencoder, _told(ChangedCapsules)),
    "digit-capsules": (Autoencoder, _told(DigitCapsules)),
    "learned-addresses": (Autoencoder, _told(LearnedAddresses)),
    "learned-addresses-pretrained": (Autoencoder, _told(PretrainedAddresses)),
    "composed-capsules-map": (Autoencoder, partial(ComposedCapsules, action="map")),
    "composed-capsules": (Autoencoder, partial(ComposedCapsules, action="generator")),
    "composed-capsules-known": (Autoencoder, partial(ComposedCapsules, action="known")),
    "composed-capsules-linear": (Autoencoder, partial(ComposedCapsules, action="linear")),
    "composed-capsules-growing": (Autoencoder, partial(GrowingCapsules, action="generator")),
    "composed-capsules-oriented": (Autoencoder, partial(OrientedCapsules, action="generator")),
    "composed-capsules-balanced": (BalancedAutoencoder, partial(ComposedCapsules, action="generator")),
    "linear-parts": (Autoencoder, LinearParts),
    "composed-capsules-groups": (Autoencoder, GroupedCapsules),
    "composed-capsules-added": (Autoencoder, AddedCapsules),
    "autoencoder-warp": (Autoencoder, WarpedDecoder),
    "autoencoder-layers": (Autoencoder, LayeredDecoder),
    "coordinate-decoder": (Autoencoder, CoordinateDecoder),
    "autoencoder-warp-generator": (Autoencoder, partial(WarpedDecoder, action="generator")),
    "autoencoder-warp-affine": (Autoencoder, partial(WarpedDecoder, action="affine")),
    "coordinate-decoder-generator": (Autoencoder, partial(CoordinateDecoder, action="generator")),
    "spatial-broadcast": (Autoencoder, _told(SpatialBroadcast)),
}
# Networks that draw and are run backwards, to name what a picture shows: the architecture that draws.
BACKWARDS: dict[str, str] = {
    "capsules-backwards": "composed-capsules",
    "capsules-backwards-known": "composed-capsules-known",
    "capsules-backwards-linear": "composed-capsules-linear",
    "capsules-backwards-map": "composed-capsules-map",
    "warp-backwards": "autoencoder-warp-generator",
}
# Models that are not told the transform, and read it off pairs of pictures: the class, and the decoder's architecture.
UNTOLD: dict[str, tuple[type[UntoldAutoencoder], str]] = {
    "untold-capsules": (UntoldAutoencoder, "composed-capsules"),
    "untold-capsules-known": (UntoldAutoencoder, "composed-capsules-known"),
    "untold-capsules-one-way": (OneWayAutoencoder, "composed-capsules"),
    "untold-warp": (UntoldAutoencoder, "autoencoder-warp-generator"),
}


def _check_sizes(sizes: Mapping[str, Any]) -> None:
    """Raise a ValueError if a size, or one of a list of sizes, is below 1: a layer would pass nothing on."""
    for name, given in sizes.items():
        if isinstance(given, Mapping):
            _check_sizes(given)
            continue
        each = given if isinstance(given, (tuple, list)) else [given]
        if any(isinstance(size, int) and not isinstance(size, bool) and size < 1 for size in each):
            raise ValueError(f"the size {name!r} of a model must be at least 1; got {given!r}")


def make(architecture: str, transform: Transform, seed: int = 0, **sizes: Any) -> nn.Module:
    """Make a model of an architecture.

    Parameters
    ----------
    architecture : one of `ARCHITECTURES`, `CLASSIFIERS`, `BACKWARDS` or `UNTOLD`
    transform : gives the image's side and the length of the transform's code
    seed : seed of the weights; the global generator is not changed
    sizes
        ``z``, the length of the latent code (10 by default); ``encoder`` and ``critic``, their sizes; all others are
        sizes of the decoder or the classifier. Defaults are the article's.

    Raises
    ------
    ValueError
        The architecture is unknown, or a size is below 1.
    """
    _check_sizes(sizes)
    if architecture in CLASSIFIERS:
        return CLASSIFIERS[architecture](**sizes, seed=seed, side=transform.side)
    if architecture in BACKWARDS:
        return Backwards(make(BACKWARDS[architecture], transform, seed, **sizes), seed)
    if architecture not in [*ARCHITECTURES, *UNTOLD]:
        known = ", ".join([*ARCHITECTURES, *CLASSIFIERS, *BACKWARDS, *UNTOLD])
        raise ValueError(f"unknown model {architecture!r}: choose one of {known}")
    untold, drawer = UNTOLD.get(architecture, (None, architecture))
    assemble, make_decoder = ARCHITECTURES[drawer]
    assemble = untold or assemble
    z, encoder, critic = sizes.pop("z", 10), sizes.pop("encoder", {}), sizes.pop("critic", {})
    # PyTorch's layers draw initial weights from the global generator; most are drawn again below. The seed decides of
    # the rest, as of a parameter of a decoder of your own.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        decoder = make_decoder(z, transform, **sizes)
        model = assemble(Encoder(z, **encoder), decoder, z, transform.code_length, **critic)
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (GenerativeCapsules, PerCapsuleLinear)):
            module.reset_parameters(generator)
    model.decoder.reset_parameters(generator)
    return model


def build(name: str, task: Task, seed: int = 0, **sizes: Any) -> nn.Module:
    """Build a model for a task.

    Parameters
    ----------
    name : name of a model in the registry's experiment with the task's name; or else of an architecture, see `make`
    task : the task on which the model will be trained
    seed : seed of the weights; the global generator is not changed
    sizes : as in `make`; by default the experiment's sizes, at the profile that has this task

    Raises
    ------
    ValueError
        The name is unknown.
    """
    from gencaps_lib.experiments import spec_of  # the only import from a higher room, to keep this call

    spec = None if sizes else spec_of(name, task)
    return make(name, task.transform, seed, **sizes) if spec is None else spec.build(task, seed)
