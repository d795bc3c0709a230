"""Images to search, train and report on, in splits that never overlap."""

from adrl_gym.datasets.augmentation import augment
from adrl_gym.datasets.cifar import cifar10_splits, load_cifar10
from adrl_gym.datasets.datafree import DATAFREE_FOLDER, load_datafree
from adrl_gym.datasets.distillation import Distillation, distill
from adrl_gym.datasets.find import DATA, default_cache, find_splits, load_splits
from adrl_gym.datasets.finite import check_finite_logits
from adrl_gym.datasets.fit import check_fit, prepared_for
from adrl_gym.datasets.images import Batch, Images, ImageSet
from adrl_gym.datasets.own import own_splits
from adrl_gym.datasets.splits import SEARCH_IMAGES, Splits

__all__ = [
    "DATA",
    "DATAFREE_FOLDER",
    "SEARCH_IMAGES",
    "Batch",
    "Distillation",
    "ImageSet",
    "Images",
    "Splits",
    "augment",
    "check_finite_logits",
    "check_fit",
    "cifar10_splits",
    "default_cache",
    "distill",
    "find_splits",
    "load_cifar10",
    "load_datafree",
    "load_splits",
    "own_splits",
    "prepared_for",
]
