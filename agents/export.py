"""Write the network that a search found to a small file. The same as ``adrl-gym export``."""

import sys

from adrl_agents.cli import run

if __name__ == "__main__":
    sys.exit(run("export"))
