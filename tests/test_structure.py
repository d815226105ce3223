"""The library's structure: a reading path that is as long as it says, and registries that are the only lists."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "gencaps_lib"
# An architecture and an experiment: each an entry after the line that is given.
ENTRIES = {
    "models/registry.py": (
        '    "spatial-broadcast": (Autoencoder, _told(SpatialBroadcast)),\n',
        '    "narrow": (Autoencoder, _told(partial(ConvDecoder, hidden=8, channels=4, maps=4))),\n',
    ),
    "experiments/profiles.py": (
        "SCALES: dict[str, Scale] = {\n",
        '    "narrow": Scale(quick={}, smoke={"encoder": _TINY["encoder"]}, short=adam(1e-3)),\n',
    ),
    "experiments/registry.py": (
        "        *_rotation_ranges(),\n",
        """            at_all_profiles(
                "turn a '7' by angles at which only other digits were seen",
                (),
                {"narrow": model("narrow", z=5), "continuous-capsules": model("continuous-capsules", z=10)},
                Task(
                    name="turn-a-seven",
                    transform=Rotation(),
                    seen=training_ranges((-180, 180), {7: (-20, 20)}),
                    grid=_SOME_ANGLES,
                    inside=(-20, 20),
                    outside=40,
                    held_out=(7,),
                ),
            ),
""",
    ),
}
USES = """
from gencaps_lib import results
from gencaps_lib.book import figures
from gencaps_lib.data import load_digits
from gencaps_lib.experiments import EXPERIMENTS
experiment = EXPERIMENTS["turn-a-seven"].at("smoke")
runs = {model: results.load("results", experiment.name, model) for model in experiment.models}
looks = {name: figures.look(name) for name in ("narrow", *EXPERIMENTS["rotation-extrapolation"].models[:4])}
assert list(looks.values()).count(looks["narrow"]) == 1, looks
assert "narrow" in figures.study_curves(runs, 7).alt
assert figures.gallery("results", experiment.name, experiment.models, 0, 7, "A '7'").png()
assert results.check("results") == []
"""


def test_the_reading_path_is_as_long_as_it_says():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (\d+) \|", text, re.MULTILINE)
    assert len(rows) == 8
    lines = {name: len((LIBRARY / name).read_text().splitlines()) for name, _ in rows}
    assert {name: int(count) for name, count in rows} == lines
    assert f"these {sum(lines.values()):,} lines" in text


@pytest.mark.slow
def test_an_entry_is_all_that_a_model_or_an_experiment_needs(tmp_path):
    """It is listed, trained, judged, published, reported and drawn, and no other file is edited."""
    shutil.copytree(LIBRARY, tmp_path / "gencaps_lib", ignore=shutil.ignore_patterns("published", "__pycache__"))
    for name, (after, entry) in ENTRIES.items():
        path = tmp_path / "gencaps_lib" / name
        text = path.read_text()
        assert text.count(after) == 1, name
        path.write_text(text.replace(after, after + entry))

    def python(*arguments):
        told = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        return told.stdout

    commands = ("-m", "gencaps_lib")
    assert re.search(r"turn-a-seven .*\n(.*\n)*    narrow ", python(*commands, "list", "--profile", "smoke"))
    made = python(*commands, "study", "turn-a-seven", "--profile", "smoke")
    assert "turn-a-seven" in made
    assert re.search(
        r"^turn-a-seven +narrow +embedded +smoke +20 +0 ", python(*commands, "report", "results"), re.MULTILINE
    )
    python("-c", USES)
