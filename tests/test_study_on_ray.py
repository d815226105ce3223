"""A study on a Ray cluster, which loses a machine in the middle: nothing is lost, nothing made twice."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gencaps_lib import results
from gencaps_lib.results import Study, plan

ROOT = Path(__file__).parents[1]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)  # most of it waits for the cluster's own processes, on a busy machine for minutes
def test_a_machine_is_killed_and_nothing_is_lost(tmp_path):
    # A process of its own: Ray needs sockets, which these tests are refused.
    process = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "ray_study.py"), str(tmp_path)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_raylet_start_wait_time_s": "200",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.returncode == 0, process.stdout
    assert "killed a machine that was making a run" in process.stdout
    assert "will be retried" in process.stdout
    jobs = plan("smoke", ["shift-transfer"], ["continuous-capsules", "digit-capsules"], range(3))
    done = re.findall(r"^(\S+, \S+, seed \d+): done in", process.stdout, re.MULTILINE)
    assert sorted(done) == sorted(map(str, jobs))  # each once
    assert results.check(tmp_path) == []
    assert {state.kind for state in Study(jobs, tmp_path).states.values()} == {"done"}
    here = results.machine(torch.device("cpu"))["commit"]
    assert {results.read(job.path(tmp_path)).machine["commit"] for job in jobs} == {here}
