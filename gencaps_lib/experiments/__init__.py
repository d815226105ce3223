"""Experiments: their definition, their sizes at each profile, and the registry of them all."""

from gencaps_lib.experiments.profiles import at_all_profiles, model
from gencaps_lib.experiments.registry import EXPERIMENTS, named, spec_of
from gencaps_lib.experiments.spec import (
    DRAWS,
    NAMES_BY_DRAWING,
    PROFILES,
    RECOGNISES,
    Experiment,
    Kind,
    ModelSpec,
    check_profile,
    current_profile,
)
from gencaps_lib.experiments.trials import Trial, trials, winners

__all__ = [
    "DRAWS",
    "EXPERIMENTS",
    "NAMES_BY_DRAWING",
    "PROFILES",
    "RECOGNISES",
    "Experiment",
    "Kind",
    "ModelSpec",
    "Trial",
    "at_all_profiles",
    "check_profile",
    "current_profile",
    "model",
    "named",
    "spec_of",
    "trials",
    "winners",
]
