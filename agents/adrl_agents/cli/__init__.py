"""The commands of ``adrl-gym``, one module each; ``agents/*.py`` are other names of them."""

from adrl_agents.cli.main import main, run

__all__ = ["main", "run"]
