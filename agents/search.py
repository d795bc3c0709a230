"""Search bit-widths without learning. The same as ``adrl-gym search``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("search"))
