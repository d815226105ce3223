"""A study on a Ray cluster of two machines, one of which is killed in the middle of a run; the program of
test_study_on_ray.

Usage: ray_study.py FOLDER. It prints the lines that the study reports.
"""

import sys
import threading
import time

import psutil
from ray.cluster_utils import Cluster

from gencaps_lib.data import load_digits
from gencaps_lib.results import RayEngine, Study, plan


def makes_a_run(process):
    """Whether a process is one of Ray's that is making a run; one that has ended is not."""
    try:
        return " ".join(process.cmdline()).startswith("ray::_attempt")
    except psutil.NoSuchProcess:
        return False


def kill_when_busy(cluster, node):
    """Kill a machine of the cluster as soon as one of its processes is making a run."""
    (raylet,) = node.all_processes["raylet"]
    started = psutil.Process(raylet.process.pid)
    while not any(makes_a_run(child) for child in started.children(recursive=True)):
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    print("killed a machine that was making a run", flush=True)


def main(folder):
    size = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    threading.Thread(target=kill_when_busy, args=(cluster, cluster.add_node(**size)), daemon=True).start()
    digits = {"embedded": tuple(load_digits(split, "embedded") for split in ("train", "test"))}
    study = Study(plan("smoke", ["shift-transfer"], ["continuous-capsules", "digit-capsules"], [0, 1, 2]), folder)
    try:
        study.run(RayEngine(digits, cluster.address), report=lambda line: print(line, flush=True))
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
