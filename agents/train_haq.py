"""Search bit-widths with HAQ. The same as ``adrl-gym haq``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("haq"))
