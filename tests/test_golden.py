"""What every run depends on, to the byte: moving code must not make a published result stale.

The golden file is made anew, after a change that is meant, by ``python tests/test_golden.py``.
"""

import hashlib
import json
from pathlib import Path

import pytest

from gencaps_lib.experiments import EXPERIMENTS, PROFILES
from gencaps_lib.results import fingerprint, matches
from gencaps_lib.results.fingerprints import configuration

GOLDEN = Path(__file__).parent / "golden.json"
PAIRS = [(name, model) for name, entry in EXPERIMENTS.items() for model in entry.models]


def digests(name, model):
    """A digest of the configuration at each profile."""
    configs = {profile: configuration(EXPERIMENTS[name].at(profile), model) for profile in PROFILES}
    return {
        profile: hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
        for profile, config in configs.items()
    }


def probe(name, model):
    """What the freshly built model draws at smoke."""
    return fingerprint(EXPERIMENTS[name].at("smoke"), model)


def golden():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_every_pair_of_the_registry_is_in_the_golden_file():
    assert list(golden()) == [f"{name}/{model}" for name, model in PAIRS]


@pytest.mark.parametrize(("name", "model"), PAIRS, ids=lambda part: part)
def test_configuration_and_fingerprint_are_what_they_were(name, model):
    kept = golden()[f"{name}/{model}"]
    assert digests(name, model) == kept["configurations"]
    assert matches(probe(name, model), kept["smoke"])


if __name__ == "__main__":
    made = {
        f"{name}/{model}": {"configurations": digests(name, model), "smoke": probe(name, model)}
        for name, model in PAIRS
    }
    lines = [f"{json.dumps(pair)}: {json.dumps(entry)}" for pair, entry in made.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
