"""Store the times of `make smoke`: ``python tools/smoke_times.py report.xml``, a report in pytest's JUnit format."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import torch

from gencaps_lib.files import write_whole
from gencaps_lib.results import device_name

KEPT = Path(__file__).parent.parent / "chapters" / "smoke-times.json"


def seconds_of(report: str, stems: list[str]) -> dict[str, float]:
    """The seconds of each chapter in a report.

    Raises
    ------
    ValueError
        A chapter is not in the report, or failed.
    """
    seconds = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        named = " ".join(case.attrib.values())
        for stem in stems:
            if stem in named and len(case) == 0:  # a failed test has a child element
                seconds[stem] = round(float(case.attrib["time"]), 1)
    missing = sorted(set(stems) - seconds.keys())
    if missing:
        raise ValueError(f"the report has no time of {', '.join(missing)}: run `make smoke-times` on all chapters")
    return dict(sorted(seconds.items()))


def main(report: str) -> None:
    """Write the times to the chapters' folder, with the machine and the date."""
    stems = [path.stem for path in KEPT.parent.glob("*.ipynb")]
    kept = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": device_name(torch.device("cpu")),
        "torch": torch.__version__,
        "seconds": seconds_of(Path(report).read_text(encoding="utf-8"), stems),
    }
    write_whole(KEPT, (json.dumps(kept, indent=1) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1])
