"""A chapter alone, where PyTorch and the rest are installed and the library is not: as Colab opens it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest
from colab import run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
CHAPTER = ROOT / "chapters" / "03-generative-capsules.ipynb"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The address of a git repository that holds what an installation needs, as it is in the working tree."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "gencaps_lib", folder / "gencaps_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "pyproject.toml", ROOT / "README.md", ROOT / "LICENSE", *ROOT.glob("requirements*.txt")):
        shutil.copy(path, folder)
    for command in ("init", "add --all", "-c user.name=tests -c user.email=tests@localhost commit --message state"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder.as_uri()


@pytest.fixture
def colab(tmp_path):
    """Runs `tools/colab.py` with a fresh Python that has every package of this one but the library.

    The packages are links, as copies of PyTorch would take minutes. No package index is asked, and the library is built
    with the setuptools that is there.
    """
    preinstalled = tmp_path / "preinstalled"
    preinstalled.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "gencaps_lib" not in entry.name:
            (preinstalled / entry.name).symlink_to(entry)
    venv.create(tmp_path / "python", symlinks=True)
    (packages,) = (tmp_path / "python" / "lib").glob("python*/site-packages")
    (packages / "preinstalled.pth").write_text(f"{preinstalled}\n")
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "GENCAPS_DATA", "JUPYTER_PATH")
    settings = {name: value for name, value in os.environ.items() if name not in hidden}
    settings |= {"HOME": str(tmp_path), "GENCAPS_PROFILE": "smoke", "TQDM_DISABLE": "1"}
    settings |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0 is how pip spells: no isolation

    def act(chapter, repository, **more):
        program = [tmp_path / "python" / "bin" / "python", ROOT / "tools" / "colab.py"]
        return subprocess.run(
            [*program, "--repository", repository, chapter],
            env=settings | more,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    act.packages = preinstalled
    return act


def test_a_chapter_installs_the_library_alone_and_runs(colab, clone):
    done = colab(CHAPTER, clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{CHAPTER.name}: ran (")


@pytest.fixture
def chapter(tmp_path):
    """Write a chapter of a title, the setup cell of the book, and one more cell."""

    def write(code):
        cells = nbformat.read(CHAPTER, as_version=4).cells[:2]
        path = tmp_path / "chapter.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(code)]), path)
        return path

    return write


def test_a_chapter_that_needs_its_neighbours_is_found(colab, clone, chapter):
    done = colab(chapter("import gencaps_lib\nopen('../_config.yml')"), clone)
    assert done.returncode == 1
    assert "FileNotFoundError" in done.stdout


def test_a_package_that_the_setup_cell_replaces_is_found(colab, clone, chapter, tmp_path):
    """As when `requirements.txt` asks for a newer PyTorch than Colab has: pip fetches gigabytes."""
    (found,) = colab.packages.glob("tqdm-*.dist-info")
    found.unlink()
    (colab.packages / "tqdm-4.1.dist-info").mkdir()
    (colab.packages / "tqdm-4.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tqdm\nVersion: 4.1\n")
    with zipfile.ZipFile(tmp_path / "tqdm-4.999-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tqdm-4.999.dist-info/METADATA", "Metadata-Version: 2.1\nName: tqdm\nVersion: 4.999\n")
        wheel.writestr("tqdm-4.999.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tqdm-4.999.dist-info/RECORD", "")
    done = colab(chapter("'nothing'"), clone, PIP_FIND_LINKS=str(tmp_path))
    assert done.returncode == 1
    assert "chapter.ipynb: tqdm was 4.1, is 4.999 (" in done.stdout


def test_an_environment_that_has_the_library_is_refused():
    assert run(CHAPTER, "file:///nowhere") == [
        f"gencaps-lib is installed in {sys.prefix} already: use an environment without it"
    ]
