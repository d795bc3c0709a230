"""The registry of agents: complete, without doubles, and all that a new agent takes."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from adrl_agents.registry import AGENTS, Command, names
from benchmarks.harness.suites import CONTENDERS
from benchmarks.reporting.styles import STYLES

ROOT = Path(__file__).parents[2]
SEARCH_FILE = '''"""Two bits for every layer."""

from adrl_agents.baselines.proposals import Proposals
from adrl_gym import QuantProblem


def two(problem: QuantProblem) -> Proposals:
    yield [2] * len(problem.searchable)
'''
SEARCH_SPEC = '_search("two", "two bits", "#123456", lambda problem, _: baselines.two.two(problem)),'
AGENT_FILE = '''"""DDPG by another name."""

from stable_baselines3 import DDPG


class Mine(DDPG):
    pass
'''
AGENT_SPEC = """AgentSpec(
            name="mine",
            label="mine",
            colour="#123456",
            command="sb3",
            make=lambda env, options: mine.Mine("MlpPolicy", env, seed=options.seed),
            algorithm=mine.Mine,
        ),"""
FIRST = '_search("uniform"'


def test_every_agent_has_one_command_and_a_label_of_its_own() -> None:
    assert sorted(name for command in get_args(Command) for name in names(command)) == sorted(AGENTS)
    assert all(name == spec.name for name, spec in AGENTS.items())
    assert Counter(spec.label for spec in AGENTS.values()).most_common(1)[0][1] == 1


def test_benchmarks_and_figures_have_every_agent() -> None:
    assert {name.replace("+", "-").partition("-")[0] for name in CONTENDERS} == {*AGENTS, "d"} - {"exhaustive"}
    assert set(STYLES) == set(CONTENDERS)
    assert all(STYLES[name].name == spec.label for name, spec in AGENTS.items() if name in STYLES)


@pytest.mark.parametrize(
    ("file", "text", "imported", "spec", "command", "name"),
    [
        ("baselines/two.py", SEARCH_FILE, "import adrl_agents.baselines.two", SEARCH_SPEC, "search --method", "two"),
        ("mine.py", AGENT_FILE, "from adrl_agents import mine", AGENT_SPEC, "sb3 --algo", "mine"),
    ],
    ids=["search", "agent"],
)
def test_a_new_agent_takes_its_file_and_its_entry(
    tmp_path: Path, file: str, text: str, imported: str, spec: str, command: str, name: str
) -> None:
    """The command line, run folders, another budget, benchmarks and figures follow."""
    package = tmp_path / "adrl_agents"
    shutil.copytree(ROOT / "agents" / "adrl_agents", package)
    (package / file).write_text(text)
    registry = (package / "registry.py").read_text()
    assert registry.count(FIRST) == 1
    registry = registry.replace(FIRST, f"{spec}\n        {FIRST}")
    registry = registry.replace("from adrl_agents import", f"{imported}\nfrom adrl_agents import", 1)
    (package / "registry.py").write_text(registry)
    path = (tmp_path, ROOT, ROOT / "tests" / "support" / "own_network")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}

    options = "--env-id tiny_env:Tiny-v0 --images 40 --budget 0.1 --episodes 2 --cache none --output run"
    code = f"""
from adrl_agents.cli import main
from benchmarks.harness.suites import CONTENDERS
from benchmarks.reporting.styles import STYLES
assert main("{command} {name} {options}".split()) == 0
assert main("budget run --budget 0.07 --episodes 1 --cache none --output other".split()) == 0
print(CONTENDERS["{name}"], STYLES["{name}"].colour)
"""
    python = [sys.executable, "-c", code]
    done = subprocess.run(python, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for expected in ("written to run", "written to other", "#123456"):
        assert expected in done.stdout
