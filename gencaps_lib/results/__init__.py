"""Results of runs: make, store, read and compare them; studies with many runs."""

from gencaps_lib.results.attachments import GALLERY, IMAGES, extras
from gencaps_lib.results.engines import Engine, EngineError, LocalEngine
from gencaps_lib.results.fingerprints import configuration, fingerprint, matches, plain
from gencaps_lib.results.folder import (
    FRESH,
    PUBLISHED,
    check,
    faults,
    fresh,
    load,
    load_decoder,
    published,
    read_beside,
    readable,
    unregistered,
)
from gencaps_lib.results.jobs import FAILED, STALE, plan, table
from gencaps_lib.results.provenance import device_name, forecast, machine, seconds_of, setting
from gencaps_lib.results.ray import RayEngine
from gencaps_lib.results.record import Result, ResultError, beside, check_free, read, result_path, thinned, write
from gencaps_lib.results.runs import Made, make, run
from gencaps_lib.results.statistics import RESAMPLES, Estimate, Runs, final_loss, moved
from gencaps_lib.results.study import Study

__all__ = [
    "FAILED",
    "FRESH",
    "GALLERY",
    "IMAGES",
    "PUBLISHED",
    "RESAMPLES",
    "STALE",
    "Engine",
    "EngineError",
    "Estimate",
    "LocalEngine",
    "Made",
    "RayEngine",
    "Result",
    "ResultError",
    "Runs",
    "Study",
    "beside",
    "check",
    "check_free",
    "configuration",
    "device_name",
    "extras",
    "faults",
    "final_loss",
    "fingerprint",
    "forecast",
    "fresh",
    "load",
    "load_decoder",
    "machine",
    "make",
    "matches",
    "moved",
    "plain",
    "plan",
    "published",
    "read",
    "read_beside",
    "readable",
    "result_path",
    "run",
    "seconds_of",
    "setting",
    "table",
    "thinned",
    "unregistered",
    "write",
]
