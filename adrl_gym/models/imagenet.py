"""AlexNet and ResNet50 for ImageNet, as torchvision has them."""

from typing import Any

from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.models.preprocessing import Preprocessing
from adrl_gym.vision import import_torchvision

# Version 1 of ResNet50 (76.13 %), not the retrained version 2 (80.86 %): its accuracy is the float
# baseline that HAQ (76.15 %) and ADRL report, so results can be laid beside theirs.
WEIGHTS = {"alexnet": "AlexNet_Weights.IMAGENET1K_V1", "resnet50": "ResNet50_Weights.IMAGENET1K_V1"}


def alexnet() -> nn.Module:
    """AlexNet (Krizhevsky 2014): five convolutions, three linear layers, 61 million parameters."""
    return import_torchvision().models.alexnet()


def resnet50() -> nn.Module:
    """ResNet50 (He et al. 2016): 53 convolutions and a linear layer, 26 million parameters."""
    return import_torchvision().models.resnet50()


def default_weights(name: str) -> Any:
    """The member of torchvision's weights that goes with one of the two networks."""
    return import_torchvision().models.get_weight(WEIGHTS[name])


def imagenet_preprocessing(name: str) -> Preprocessing:
    """The weights' own preprocessing: a PIL image to a normalised tensor ``(3, 224, 224)``."""
    return Preprocessing.from_preset(default_weights(name).transforms())


def download(weights: Any, name: str) -> dict[str, Tensor]:
    """The state dict of a member of torchvision's weights, from its cache or from the network.

    Raises:
        AdrlGymError: it cannot be downloaded.
    """
    try:
        # With weights_only, nothing in the file can run code.
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise AdrlGymError(
            f"the weights of {name} could not be downloaded from {weights.url} ({error}): fetch that file "
            "by another way and name it",
            parameter="weights",
        ) from error
