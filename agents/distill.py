"""Distil images from a network of your own. The same as ``adrl-gym distill``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("distill"))
