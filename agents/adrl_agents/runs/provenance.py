"""Provenance of a result: package versions and the git commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import adrl_gym

_PACKAGES = ("adrl-gym", "torch", "torchvision", "numpy", "scipy", "gymnasium", "stable_baselines3", "optuna")

PROGRAMS = ("adrl_gym", "agents", "benchmarks/**/*.py", "pyproject.toml")  # what a result hangs on


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of all packages that had a part in the numbers."""
    return {
        "python": platform.python_version(),
        **{name.replace("-", "_"): version(name) for name in _PACKAGES},
    }


def git_commit() -> str | None:
    """The commit of the working copy that is run, followed by ``-dirty`` if its programs have changes."""
    copy = Path(adrl_gym.__file__).parents[1]
    if not (copy / ".git").exists():
        return None
    try:
        commit = _git(copy, "rev-parse", "HEAD").stdout.strip()
        # Results that are written meanwhile, and documents, are no change of what runs.
        changed = _git(copy, "diff", "--quiet", "HEAD", "--", *PROGRAMS, check=False).returncode
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(copy: Path, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", "-C", str(copy), *arguments], capture_output=True, text=True, check=check, timeout=10)
