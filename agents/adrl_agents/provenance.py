"""What a result was made with: package versions and the git commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import adrl_gym

PACKAGES = ("adrl-gym", "torch", "torchvision", "numpy", "scipy", "gymnasium", "stable_baselines3", "optuna")


def package_versions() -> dict[str, str]:
    """Versions of everything that had a part in the numbers."""
    return {
        "python": platform.python_version(),
        **{name.replace("-", "_"): version(name) for name in PACKAGES},
    }


def git_commit() -> str | None:
    """The commit of the working copy that is run, followed by ``-dirty`` if it has changes."""
    copy = Path(adrl_gym.__file__).parents[1]
    if not (copy / ".git").exists():
        return None
    command = ["git", "-C", str(copy), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
