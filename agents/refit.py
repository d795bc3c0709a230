"""Refit the network that a search found. The same as ``adrl-gym refit``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("refit"))
