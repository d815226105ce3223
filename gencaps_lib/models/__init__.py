"""Encoders and decoders: their parts, the article's models, ours, and the baselines for comparison."""

from gencaps_lib.models.addresses import LearnedAddresses, PretrainedAddresses, reach
from gencaps_lib.models.adversarial import AdversarialAutoencoder, Critic
from gencaps_lib.models.article import ContinuousCapsules, ConvDecoder, DigitCapsules
from gencaps_lib.models.baselines import CoordinateDecoder, SpatialBroadcast, WarpedDecoder
from gencaps_lib.models.classifiers import (
    CLASSES,
    CLASSIFIERS,
    RECONSTRUCTION_WEIGHT,
    CapsNet,
    PlainClassifier,
    margin_loss,
    route_by_agreement,
    squash,
)
from gencaps_lib.models.composed import BalancedAutoencoder, ComposedCapsules
from gencaps_lib.models.oriented import OrientedCapsules
from gencaps_lib.models.parts import LEAK, Autoencoder, CapsuleDecoder, Decoder, Encoder, Painter, PerCapsuleLinear
from gencaps_lib.models.registry import ARCHITECTURES, build, count_parameters, layer_table, make, matched_decoder

__all__ = [
    "ARCHITECTURES",
    "CLASSES",
    "CLASSIFIERS",
    "LEAK",
    "RECONSTRUCTION_WEIGHT",
    "AdversarialAutoencoder",
    "Autoencoder",
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
    "LearnedAddresses",
    "OrientedCapsules",
    "Painter",
    "PerCapsuleLinear",
    "PlainClassifier",
    "PretrainedAddresses",
    "SpatialBroadcast",
    "WarpedDecoder",
    "build",
    "count_parameters",
    "layer_table",
    "make",
    "margin_loss",
    "matched_decoder",
    "reach",
    "route_by_agreement",
    "squash",
]
