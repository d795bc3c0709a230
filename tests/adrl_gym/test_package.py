"""The distribution: its dependencies, its wheel, and the promises of documents and commands."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

import adrl_gym
from commands import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text()
README = (ROOT / "README.md").read_text()
FILES = [*sorted(ROOT.glob("agents/*.py")), *sorted(ROOT.glob("benchmarks/*.py"))]
SCRIPTS = [path for path in FILES if "__main__" in path.read_text()]  # the others are imported by these

EXTRAS_ONLY = (
    *("adrl_agents", "stable_baselines3", "wandb", "matplotlib", "rich", "tyro", "optuna", "ray"),
    *("onnx", "onnxruntime", "onnxscript"),
)
IMPORT_ALL = f"""
import importlib, pkgutil, sys
for name in {EXTRAS_ONLY}:
    sys.modules[name] = None  # importing it is now an ImportError
import adrl_gym
for module in pkgutil.walk_packages(adrl_gym.__path__, "adrl_gym."):
    importlib.import_module(module.name)
"""


def test_adrl_gym_needs_none_of_the_extras() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORT_ALL], check=True, cwd=ROOT)


def third_party_imports(folder: Path) -> set[str]:
    modules: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                modules.add(node.module or "")
    names = {module.partition(".")[0] for module in modules}
    return names - set(sys.stdlib_module_names) - {"adrl_gym", "adrl_agents"}


@pytest.mark.parametrize(("folder", "extras"), [("adrl_gym", ()), ("agents", ("agents",))])
def test_all_that_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    declared = set()
    for requirement in requires("adrl-gym") or []:
        name, _, condition = requirement.partition(";")
        if not condition or any(f'extra == "{extra}"' in condition for extra in extras):
            declared.add(re.split(r"[<>=!~\[ ]", name)[0].replace("-", "_"))
    imported = {{"PIL": "pillow"}.get(name, name) for name in third_party_imports(ROOT / folder)}
    assert imported <= declared


def test_every_dependency_has_a_lower_bound() -> None:
    requirements = [r for r in requires("adrl-gym") or [] if not r.startswith("adrl-gym[")]
    assert len(requirements) > 10
    assert [r for r in requirements if ">=" not in r] == []


def test_the_version_stands_in_pyproject_alone() -> None:
    assert f'\nversion = "{adrl_gym.__version__}"\n' in PYPROJECT
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what setuptools sees in a checkout."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("adrl_gym", "agents", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.part"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, built], check=True, cwd=source, capture_output=True)
    (file,) = built.glob("*.whl")
    return file


def test_the_wheel_holds_two_packages_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {n.partition("/")[0] for n in names if ".dist-info/" not in n} == {"adrl_gym", "adrl_agents"}
    shipped = [*ROOT.glob("adrl_gym/**/*"), *ROOT.glob("agents/adrl_agents/**/*")]
    shipped = [path for path in shipped if "__pycache__" not in path.parts and path.suffix != ".part"]
    expected = {p.relative_to(ROOT).as_posix().removeprefix("agents/") for p in shipped if p.is_file()}
    assert {"adrl_gym/py.typed", "adrl_agents/py.typed"} <= expected
    assert expected <= names


def test_the_installed_command_works_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    """In a virtual environment of its own: what is installed here, but for this checkout, and the wheel."""
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    command = [sys.executable, "-m", "pip", "--python", str(tmp_path / "venv" / "bin" / "python"), "install"]
    subprocess.run([*command, "--no-deps", "--quiet", "--force-reinstall", str(wheel)], check=True)
    program = tmp_path / "venv" / "bin" / "adrl-gym"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"COLUMNS": "80"}

    def run(*arguments: str) -> str:
        given = [str(program), *arguments]
        done = subprocess.run(given, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    assert 24 <= len(run("--help").splitlines()) <= 40
    where = "from importlib.util import find_spec as s; print(s('adrl_gym').origin, s('adrl_agents').origin)"
    python = [str(tmp_path / "venv" / "bin" / "python"), "-c", where]
    files = subprocess.run(python, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True).stdout
    assert files.count(str(site)) == 2, "the wheel's, not the checkout's"
    network = ("--env-id", "adrl_gym/CifarNet-Cifar10-v0", "--quantizer", "linear", "--images", "50")
    run("adrl", *network, "--episodes", "5", "--profile-images", "20")
    folder = "runs/CifarNet-Cifar10-adrl-0.0625-s0"
    run("refit", folder, "--positions", "100")
    run("export", folder, "--format", "onnx")
    assert {"result.json", "refit.safetensors", "network.onnx"} <= {p.name for p in (elsewhere / folder).iterdir()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_command_line_has_help(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(script.parent)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code in (0, None)
    assert "usage:" in capsys.readouterr().out


# Stands in for python, pip and all tools: logs what it is asked, and makes a .venv of copies of itself.
STAND_IN = """#!/bin/sh
case "$0 $*" in *" -c "*) exit ${TOO_OLD:-0} ;; esac
echo "$(basename "$0") $* data=$ADRL_GYM_DATA" >> "$LOG"
tools="python pip ruff mypy lint-imports"
case "$*" in *venv*) mkdir -p .venv/bin; for n in $tools; do cp "$0" .venv/bin/$n; done ;; esac
"""


class Checkout:
    """A copy of the Makefile and the CI script, with a stand-in for Python."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.python = folder / "checkout", folder / "log", folder / "python3"
        (self.folder / ".ci").mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml", ".ci/run"):
            shutil.copy(ROOT / name, self.folder / name)
        self.python.write_text(STAND_IN)
        self.python.chmod(0o755)

    def run(self, *command: str, **variables: str) -> list[str]:
        """What the stand-ins were asked; raises ``CalledProcessError``."""
        self.log.write_text("")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ADRL_", "MAKE", "MFLAGS"))}
        environment |= {"LOG": str(self.log), "PYTHON": str(self.python), **variables}
        subprocess.run(command, check=True, cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True)
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_make_train_installs_once(checkout: Checkout) -> None:
    first = checkout.run("make", "train", "ARGS=--seed 1")
    assert [line.split(" data=")[0] for line in first] == [
        "python3 -m venv --clear .venv",
        "pip install --quiet --disable-pip-version-check --editable .[agents]",
        "python agents/train_adrl.py --resume --seed 1",
    ]
    assert len(checkout.run("make", "train")) == 1
    later = (checkout.folder / ".venv/agents.done").stat().st_mtime + 10
    os.utime(checkout.folder / "pyproject.toml", (later, later))
    assert len(checkout.run("make", "train")) == 2  # installed again, in the same environment


def test_make_test_does_what_the_readme_says(checkout: Checkout) -> None:
    asked = [line.split(" data=")[0] for line in checkout.run("make", "test")]
    assert asked[1].endswith("--editable .[test]")
    assert [line.strip() for line in asked[2:]] == [
        "ruff check",
        "ruff format --check",
        "mypy",
        "lint-imports --no-cache",
        "python -m pytest",
    ]
    for command in ("ruff check", "ruff format --check", "mypy", "lint-imports", "OMP_NUM_THREADS=1 pytest"):
        assert re.search(rf"(^|&& ){command}", README, re.MULTILINE)


def test_make_asks_for_a_newer_python(checkout: Checkout) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        checkout.run("make", "train", TOO_OLD="1")
    assert "Python 3.10 or newer" in failed.value.stderr
    assert "make PYTHON=" in failed.value.stderr


def test_ci_runs_make_test(checkout: Checkout) -> None:
    by_hand = checkout.run("make", "test")
    checkout.run("make", "clean")
    assert checkout.run(".ci/run") == by_hand


def test_ci_restores_the_data_beside_the_checkout(checkout: Checkout) -> None:
    restore = checkout.folder.parent / "shared/cifar10/restore.py"
    restore.parent.mkdir(parents=True)
    restore.touch()
    asked = checkout.run(".ci/run")
    data = str(checkout.folder / ".ci/data")
    assert asked[2] == "python ../shared/cifar10/restore.py .ci/data data="
    assert asked[-1] == f"python -m pytest data={data}"
    assert ".ci/data/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_library_names_parameters_and_no_flags() -> None:
    """The command line adds the flag of an error's ``parameter``."""
    found = []
    for path in ROOT.glob("adrl_gym/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts = re.sub(r"pip install --upgrade|``[^`]*``", "", node.value)
                found += [(path.name, flag) for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", texts)]
    assert found == []
