"""Search bit-widths with an agent of Stable-Baselines3. The same as ``adrl-gym sb3``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("sb3"))
