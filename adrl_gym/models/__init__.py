"""Named networks, one's own networks, and their weights."""

from adrl_gym.models.checkpoints import SHIPPED, content_hash, save_checkpoint
from adrl_gym.models.imagenet import imagenet_preprocessing
from adrl_gym.models.named import NETWORKS, LoadedNetwork, NetworkSpec, find_network, load_network, own_network
from adrl_gym.models.preprocessing import CIFAR10, CIFAR100, Preprocessing
from adrl_gym.models.state_dicts import fill
from adrl_gym.models.statistics import collect_statistics
from adrl_gym.models.weight_files import read_safetensors

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "NETWORKS",
    "SHIPPED",
    "LoadedNetwork",
    "NetworkSpec",
    "Preprocessing",
    "collect_statistics",
    "content_hash",
    "fill",
    "find_network",
    "imagenet_preprocessing",
    "load_network",
    "own_network",
    "read_safetensors",
    "save_checkpoint",
]
