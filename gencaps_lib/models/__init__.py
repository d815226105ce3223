"""Encoders and decoders: their parts, the article's models, ours, and the baselines for comparison."""

from gencaps_lib.models.addresses import LearnedAddresses, PretrainedAddresses, reach
from gencaps_lib.models.adversarial import AdversarialAutoencoder, Critic
from gencaps_lib.models.article import ContinuousCapsules, ConvDecoder, DigitCapsules
from gencaps_lib.models.backwards import Backwards
from gencaps_lib.models.baselines import CoordinateDecoder, SpatialBroadcast, WarpedDecoder
from gencaps_lib.models.classifiers import (
    CLASSES,
    CLASSIFIERS,
    RECONSTRUCTION_WEIGHT,
    CapsNet,
    PlainClassifier,
    SpatialTransformer,
    SurestUpright,
    margin_loss,
    route_by_agreement,
    squash,
)
from gencaps_lib.models.composed import (
    BalancedAutoencoder,
    ComposedCapsules,
    GrowingCapsules,
    LearnedLinear,
    LinearParts,
)
from gencaps_lib.models.objects import AddedCapsules, GroupedCapsules, LayeredDecoder
from gencaps_lib.models.oriented import OrientedCapsules
from gencaps_lib.models.parts import LEAK, Autoencoder, CapsuleDecoder, Decoder, Encoder, Painter, PerCapsuleLinear
from gencaps_lib.models.registry import (
    ARCHITECTURES,
    BACKWARDS,
    UNTOLD,
    build,
    count_parameters,
    make,
    matched_decoder,
)
from gencaps_lib.models.untold import OneWayAutoencoder, Reader, UntoldAutoencoder

__all__ = [
    "ARCHITECTURES",
    "BACKWARDS",
    "CLASSES",
    "CLASSIFIERS",
    "LEAK",
    "RECONSTRUCTION_WEIGHT",
    "UNTOLD",
    "AddedCapsules",
    "AdversarialAutoencoder",
    "Autoencoder",
    "Backwards",
    "BalancedAutoencoder",
    "CapsNet",
    "CapsuleDecoder",
    "ComposedCapsules",
    "ContinuousCapsules",
    "ConvDecoder",
    "CoordinateDecoder",
    "Critic",
    "Decoder",
    "DigitCapsules",
    "Encoder",
    "GroupedCapsules",
    "GrowingCapsules",
    "LayeredDecoder",
    "LearnedAddresses",
    "LearnedLinear",
    "LinearParts",
    "OneWayAutoencoder",
    "OrientedCapsules",
    "Painter",
    "PerCapsuleLinear",
    "PlainClassifier",
    "PretrainedAddresses",
    "Reader",
    "SpatialBroadcast",
    "SpatialTransformer",
    "SurestUpright",
    "UntoldAutoencoder",
    "WarpedDecoder",
    "build",
    "count_parameters",
    "make",
    "margin_loss",
    "matched_decoder",
    "reach",
    "route_by_agreement",
    "squash",
]
