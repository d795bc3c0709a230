"""Commands as users run them, and the places that they need."""

import importlib
import subprocess
import sys
from pathlib import Path

from adrl_agents.options import Options
from adrl_agents.runs import SearchResult

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).parent / "own_network"  # modules of a user: an environment and a network


def arguments(output: Path, **changes: object) -> list[str]:
    """Return a command line for a search of a second."""
    tiny = {"env_id": "tiny_env:Tiny-v0", "budget": 0.1, "images": 40, "episodes": 3}
    options = {**tiny, "output": output, **changes}
    flags = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return [str(part) for flag, value in flags.items() for part in ([flag] if value is True else [flag, value])]


def run_script(script: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a script of agents/ in a new interpreter, warnings as errors."""
    command = [sys.executable, "-W", "error", f"agents/{script}.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def search_with(command: str, options: Options) -> SearchResult:
    """Run a command that searches in this process."""
    return importlib.import_module(f"adrl_agents.cli.{command}").main(options)
