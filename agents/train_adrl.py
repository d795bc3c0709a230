"""Search bit-widths with ADRL. The same as ``adrl-gym adrl``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("adrl"))
