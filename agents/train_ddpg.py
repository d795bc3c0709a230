"""Search bit-widths with Stable-Baselines3's own DDPG. The same as ``adrl-gym sb3 --algo ddpg``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("sb3", ["--algo", "ddpg", *sys.argv[1:]]))
