"""Images to search and to report on."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import torch

from adrl_gym.datasets.cifar import CIFAR, CIFAR10_FOLDER, CifarSet, cifar10_splits, load_cifar10, own_cifar_splits
from adrl_gym.datasets.datafree import distilled_splits, shipped_splits
from adrl_gym.datasets.fit import count_outputs
from adrl_gym.datasets.folder import folder_splits
from adrl_gym.datasets.imagenet import imagenet_splits, is_imagenet
from adrl_gym.datasets.splits import SEARCH_IMAGES, Splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models import LoadedNetwork, NetworkSpec, find_network, imagenet_preprocessing, load_network

DATA = ("auto", *CIFAR, "imagenet", "data-free")


def find_splits(
    loaded: LoadedNetwork,
    data: str = "auto",
    *,
    data_root: str | Path | None = None,
    download: bool = False,
    images: int = SEARCH_IMAGES,
) -> Splits:
    """Search and test images for any network.

    Args:
        loaded: one of the named networks, for which see ``load_splits``, or one's own.
        data: for any network, the name of a ``.npz`` file, distilled from it; for one's own otherwise ``cifar10``,
            ``cifar100``, or ``auto``: the images of ``data_root``.
        data_root: one folder a class, perhaps below ``train/`` and ``val/``; of CIFAR, the folder that holds it, as
            for ``load_splits``. With a file of distilled images only for a named CIFAR-10 network, which is tested on
            the data set's test images.
        download: fetch CIFAR if it is not there yet.
        images: how many search images.

    Raises:
        AdrlGymError: images that are not found, damaged, or of another network.
    """
    if data.endswith(".npz"):
        if loaded.normalisation is not None:
            raise AdrlGymError(
                f"the images of {data} are normalised: leave out mean and std", parameter=("mean", "std")
            )
        splits = distilled_splits(Path(data), images, loaded.checkpoint)
        if data_root is None and not download:
            return splits
        if download or not loaded.named or find_network(loaded.name).dataset != "cifar10":
            raise AdrlGymError(
                f"data {data} is all that is searched on: leave out data_root and download",
                parameter=("data_root", "download"),
            )
        return _tested_on_cifar10(splits, data_root)
    if loaded.named:
        checkpoint = loaded.checkpoint
        return load_splits(
            loaded.name, data, data_root=data_root, download=download, images=images, checkpoint=checkpoint
        )
    if data == "auto" and data_root is not None:
        data = next((name for name, of in CIFAR.items() if (Path(data_root) / of.folder).is_dir()), data)
    if data in CIFAR:
        return _own_cifar(loaded, CIFAR[data], data_root, download, images)
    if data != "auto" or download or data_root is None:
        asked = f"data {data!r} is for a named network" if data != "auto" else f"no images for {loaded.name}"
        raise AdrlGymError(
            f"{asked}: name a folder with one folder of images a class, or cifar10 or cifar100 as data, or, with none "
            "at all, distil some with adrl-gym distill and give the .npz file as data",
            parameter=("data_root", "data"),
        )
    preprocess = loaded.preprocessing()
    classes = count_outputs(loaded.network, torch.zeros(preprocess.shape))
    return folder_splits(data_root, images, preprocess=preprocess, classes=classes)


def load_splits(
    network: str,
    data: str = "auto",
    *,
    data_root: str | Path | None = None,
    download: bool = False,
    images: int = SEARCH_IMAGES,
    checkpoint: str | None = None,
) -> Splits:
    """Search and test images for a named network.

    Args:
        network: a name in ``NETWORKS``.
        data: ``cifar10``, ``imagenet``, ``data-free``, or ``auto``: the data set that the network was
            trained on, where it is found; for a CIFAR-10 network otherwise its data-free set.
        data_root: folder of the data set; without it, ``$ADRL_GYM_DATA`` and the default cache are looked at. With a
            data-free set, what was found on it is tested on the data set's test images in this folder.
        download: fetch CIFAR-10 if it is not there yet, into ``data_root`` or the default cache.
        images: how many search images.
        checkpoint: content hash of the weights in use (default: those that ship); a data-free set fits
            only the weights that it was distilled from.

    Raises:
        AdrlGymError: data that this network cannot use, that are not found, damaged, or too few.
    """
    spec = find_network(network)
    if data not in DATA:
        raise AdrlGymError(f"unknown data {data!r}: choose one of {', '.join(DATA)}", parameter="data")
    if data in (*CIFAR, "imagenet") and data != spec.dataset:
        raise AdrlGymError(f"{network} was trained on {spec.dataset}, not on {data}: choose that", parameter="data")
    if spec.dataset == "imagenet":
        return _imagenet(spec, data, data_root, download, images)
    root = _find(data_root, _holds_cifar10)
    if data != "data-free" and (root is not None or download):
        return cifar10_splits(_or_cache(root, data_root), images, download=download)
    if data == "cifar10" or (data == "auto" and data_root is not None):
        raise _no_cifar(data_root)
    splits = shipped_splits(network, images, checkpoint or load_network(network).checkpoint)
    return splits if data_root is None else _tested_on_cifar10(splits, data_root)


def _own_cifar(
    loaded: LoadedNetwork, of: CifarSet, data_root: str | Path | None, download: bool, images: int
) -> Splits:
    root = _find(data_root, lambda folder: (folder / of.folder).is_dir())
    if root is None and not download:
        raise _no_cifar(data_root, of)
    preprocess = loaded.preprocessing(of.usual)
    splits = own_cifar_splits(
        of,
        _or_cache(root, data_root),
        images,
        preprocess=preprocess,
        classes=count_outputs(loaded.network, torch.zeros(preprocess.shape)),
        download=download,
    )
    if loaded.says_normalisation:
        return splits
    assumed = f"{splits.source}, normalised by {of.title}'s own mean and std, as {loaded.name} names none"
    return dataclasses.replace(splits, source=assumed)


def _or_cache(root: Path | None, data_root: str | Path | None) -> Path:
    """Return the folder that was found, or else the one to download to."""
    folder = root or data_root or default_cache()
    if folder is None:
        raise AdrlGymError("there is no home directory to download to: name a folder", parameter="data_root")
    return Path(folder)


def _tested_on_cifar10(splits: Splits, data_root: str | Path | None) -> Splits:
    root = _find(data_root, _holds_cifar10)
    if root is None:
        raise _no_cifar(data_root)
    test = load_cifar10(root, "test")
    source = splits.source.replace("no test images", f"{len(test):,} real test images")
    return dataclasses.replace(splits, test=test, source=source)


def _holds_cifar10(folder: Path) -> bool:
    return (folder / CIFAR10_FOLDER).is_dir()


def _no_cifar(data_root: str | Path | None, of: CifarSet = CIFAR["cifar10"]) -> AdrlGymError:
    return AdrlGymError(
        f"no {of.folder} in {_places(data_root)}: name the folder that holds it, or let {of.title} be downloaded",
        parameter=("data_root", "download"),
    )


def default_cache() -> Path | None:
    """Return where downloads go, and the last place to look for data; None without a home directory."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adrl_gym"
    except RuntimeError:  # as in containers of a user that is not in /etc/passwd
        return None


def _imagenet(spec: NetworkSpec, data: str, data_root: str | Path | None, download: bool, images: int) -> Splits:
    if data == "data-free":
        raise AdrlGymError(
            f"{spec.name} has no data-free set: choose imagenet, and name its folder", parameter=("data", "data_root")
        )
    if download:
        raise AdrlGymError(
            "ImageNet cannot be downloaded here: get it from image-net.org and name its folder", parameter="data_root"
        )
    root = _find(data_root, is_imagenet)
    if root is None:
        raise AdrlGymError(
            f"no ImageNet in {_places(data_root)}: name the folder that holds val/", parameter="data_root"
        )
    return imagenet_splits(root, images, preprocess=imagenet_preprocessing(spec.name), classes=spec.classes)


def _candidates(data_root: str | Path | None) -> list[Path]:
    if data_root is not None:
        return [Path(data_root)]
    variable = os.environ.get("ADRL_GYM_DATA")
    return [Path(folder) for folder in (variable, default_cache()) if folder]


def _find(data_root: str | Path | None, holds: Callable[[Path], bool]) -> Path | None:
    return next((folder for folder in _candidates(data_root) if holds(folder)), None)


def _places(data_root: str | Path | None) -> str:
    return " or ".join(str(folder) for folder in _candidates(data_root)) or "any known folder"
