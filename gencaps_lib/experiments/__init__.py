"""What an experiment is, what each profile makes of it, and the registry of all."""

from gencaps_lib.experiments.registry import EXPERIMENTS, named
from gencaps_lib.experiments.spec import DRAWS, PROFILES, RECOGNISES, Experiment, Kind, check_profile, current_profile

__all__ = [
    "DRAWS",
    "EXPERIMENTS",
    "PROFILES",
    "RECOGNISES",
    "Experiment",
    "Kind",
    "check_profile",
    "current_profile",
    "named",
]
