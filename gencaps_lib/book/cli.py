"""The commands of the book: ``report`` and ``explorer``."""

from __future__ import annotations

import argparse
from pathlib import Path

from gencaps_lib.arguments import Commands, add_data_and_folder, folder, seed, usable
from gencaps_lib.book import export, scenes
from gencaps_lib.book.report import report
from gencaps_lib.data import load_digits
from gencaps_lib.files import check_writable
from gencaps_lib.results import PUBLISHED


def add_commands(commands: Commands) -> None:
    """Add the commands to the command line."""
    reporting = commands.add_parser("report", help="what results say of each model and of each claim of the article")
    reporting.add_argument(
        "folder", nargs="?", type=folder, default=PUBLISHED, help="of results (default: the published)"
    )
    reporting.set_defaults(do=print_report)
    making = commands.add_parser("explorer", help="train the small models of the book's explorers, and export them")
    making.add_argument("scenes", nargs="*", metavar="SCENE", help=f"{', '.join(scenes.SCENES)} (default: all)")
    making.add_argument("--seed", type=seed, default=0, help="seed of weights and batches (default: 0)")
    making.add_argument("--force", action="store_true", help="replace the models that are there")
    add_data_and_folder(making, str(scenes.FOLDER))
    making.set_defaults(do=make_explorer)


def print_report(options: argparse.Namespace, profile: str) -> int:
    """Print the report on results; return the exit status."""
    print("\n".join(report(options.folder)))
    return 0


def make_explorer(options: argparse.Namespace, profile: str) -> int:
    """Train and export the models of explorers; return the exit status."""
    export.check_packages()
    names = options.scenes or list(scenes.SCENES)
    for name in names:  # before any work
        path = Path(options.out) / f"{name}.js"
        if path.exists() and not options.force:
            raise ValueError(f"{path} exists: replace it with --force, or name another folder with --out")
        check_writable(path)
    # All scenes have the same source, the profile's.
    (source,) = {scenes.experiment(name, profile).source for name in names}
    train, test = (
        load_digits(split, source, root=options.data, device=usable(options.device)) for split in ("train", "test")
    )
    for name in names:
        scene = export.make(name, train, test, profile, options.seed)
        print(f"{name}: {scene.about}")
        for path in export.write(scene, Path(options.out)):
            print(f"  {path}: {path.stat().st_size:,} bytes")
    return 0
