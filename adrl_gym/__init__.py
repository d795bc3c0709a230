"""Find the best bit-width for every layer of a neural network.

Importing this package registers the environments: ``gymnasium.make("adrl_gym/ResNet20-Cifar10-v0")``.
"""

from importlib.metadata import version

from adrl_gym.bits import BitConfig
from adrl_gym.envs import MixedPrecisionQuantEnv, register_envs
from adrl_gym.errors import AdrlGymError
from adrl_gym.problem import QuantProblem

__all__ = ["AdrlGymError", "BitConfig", "MixedPrecisionQuantEnv", "QuantProblem"]
__version__ = version("adrl-gym")

register_envs()
