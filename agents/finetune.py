"""Finetune the network that a search found. The same as ``adrl-gym finetune``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("finetune"))
