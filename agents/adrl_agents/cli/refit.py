"""Refit the network that a search found.

No training, some seconds, and most of the lost accuracy is back. Writes refit.safetensors (a packed file, see
docs/packed-format.md) and refit.json into the run's folder. adrl-gym export then takes the refitted network, where
that is the better one.
"""

from adrl_agents.postprocess import RefitOptions, refit_run

OPTIONS = RefitOptions
main = refit_run
