"""Refit the network that a search found.

Better weights at the same bits, in seconds, without training or labels: each layer makes up for the errors of those
before it. Writes refit.safetensors (a packed file, see docs/packed-format.md) and refit.json into the run's folder.
Where the refitted network is further from the float network than the direct one (KL divergence on images that the refit
did not see), the file holds the direct weights.
"""

from adrl_agents.postprocess import RefitOptions, refit_run

OPTIONS = RefitOptions
main = refit_run
