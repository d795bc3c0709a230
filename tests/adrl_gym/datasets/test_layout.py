"""Folders as people lay them out: splits by any name, classes, and what else lies there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from adrl_gym.datasets.folder import folder_splits, lazy_images
from adrl_gym.datasets.splits import Splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.preprocessing import Preprocessing
from pictures import make_pictures

GREY = Preprocessing((1, 16, 16), (0.0,), (1.0,), (16, 16))
COLOUR = Preprocessing((3, 16, 16), (0.0,) * 3, (1.0,) * 3, (16, 16))


def splits(root: Path, classes: int = 2) -> Splits:
    return folder_splits(root, 4, preprocess=COLOUR, classes=classes)


def make(root: Path, *names: str) -> Path:
    """Make splits; each has as many pictures as its name has letters, so that counts tell them apart."""
    for name in names:
        make_pictures(root / name, 2, len(name))
    return root


@pytest.mark.parametrize(
    ("names", "search", "test", "ignored"),
    [
        (("train", "val"), "train", "val", ""),
        (("train", "test"), "train", "test", ""),
        (("train", "valid"), "train", "valid", ""),
        (("Train", "Test"), "Train", "Test", ""),
        (("TRAIN", "VAL"), "TRAIN", "VAL", ""),
        (("Training", "Testing"), "Training", "Testing", ""),
        (("training", "validation"), "training", "validation", ""),
        (("train", "val", "test"), "train", "test", "; not used: val/"),
        (("train", "validation", "test"), "train", "test", "; not used: validation/"),
        (("valid", "test"), "valid", "test", ""),
        (("train", "dev", "raw", "extra"), "train", "dev", "; not used: extra/, raw/"),
        (("trainval", "test"), "trainval", "test", ""),
        (("train2017", "val2017"), "train2017", "val2017", ""),
        (("Training_Set", "Test Set"), "Training_Set", "Test Set", ""),
        (("seg_train", "seg_test", "seg_pred"), "seg_train", "seg_test", "; not used: seg_pred/"),
        (("train", "old_train", "val"), "train", "val", "; not used: old_train/"),
    ],
)
def test_splits_are_known_by_their_usual_names(
    tmp_path: Path, names: tuple[str, ...], search: str, test: str, ignored: str
) -> None:
    found = splits(make(tmp_path, *names))
    count = 2 * len(test)
    assert found.source.endswith(f"4 search images drawn from {search}/, {count} test images from {test}/{ignored}")
    assert found.test is not None
    assert len(found.test) == count


@pytest.mark.parametrize("name", ["train", "Test", "validation"])
def test_one_split_alone_is_halved(tmp_path: Path, name: str) -> None:
    found = splits(make(tmp_path, name))
    assert found.source.endswith(f"drawn from one half of {name}/, {len(name)} test images from the other")


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    for name in ("train", "plane"):
        (make_pictures(tmp_path / "made", 1, 3) / "class0000").rename(tmp_path / name)
        (tmp_path / "made").rmdir()
    found = splits(tmp_path)
    assert found.source.endswith("drawn from one half of it, 3 test images from the other")
    assert found.test is not None
    assert found.test.labels is not None
    assert set(found.search.labels.tolist() + found.test.labels.tolist()) == {0, 1}  # type: ignore[union-attr]


def test_a_stray_picture_does_not_make_a_split_a_class(tmp_path: Path) -> None:
    for name in ("train", "val"):
        make_pictures(tmp_path / name, 2, 3)
        Image.new("RGB", (8, 8)).save(tmp_path / name / "cover.png")
    found = splits(tmp_path)
    assert "drawn from train/" in found.source
    assert found.test is not None
    assert len(found.test) == 6


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    root = make_pictures(tmp_path / "data", 2, 2)
    (root / "class0000" / "loop").symlink_to(root)
    found = splits(root)
    assert found.test is not None
    assert len(found.search) + len(found.test) == 4


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AdrlGymError, match=r"holds Val/, valid/, which both mean the val split: keep one"):
        splits(make(tmp_path, "train", "Val", "valid"))


@pytest.mark.parametrize("junk", [".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir"])
def test_hidden_folders_are_no_classes(tmp_path: Path, junk: str) -> None:
    root = make(tmp_path, "train", "val")
    for place in (root, root / "train", root / "val", root / "train" / "class0000"):
        (make_pictures(place / "made", 1, 1) / "class0000").rename(place / junk)
        (place / "made").rmdir()
    (root / "train" / "class0001" / "._0.png").write_bytes(b"macOS's own")
    found = splits(root)
    assert found.train is not None
    assert len(found.search) + len(found.train()) == 10
    assert "not used" not in found.source


def test_folders_of_folders_are_no_classes(tmp_path: Path) -> None:
    make(tmp_path, "fold1", "fold2")
    with pytest.raises(
        AdrlGymError, match=r"fold1 holds no pictures but folders of them \(class0000/, class0001/\), so"
    ):
        splits(tmp_path)
    make(tmp_path / "deep" / "train", "images")
    with pytest.raises(AdrlGymError, match=r"images holds no pictures but folders of them"):
        splits(tmp_path / "deep", classes=1)
    make_pictures(tmp_path / "three" / "x" / "set", 2, 1)
    make_pictures(tmp_path / "three" / "y" / "set", 2, 1)
    with pytest.raises(AdrlGymError, match=r"x holds no pictures but folders of them \(set/\)"):
        splits(tmp_path / "three", classes=2)
    make_pictures(tmp_path / "nested", 2, 2)
    make_pictures(tmp_path / "nested" / "class0001" / "more", 1, 1)
    found = splits(tmp_path / "nested")  # below a class with pictures, folders only sort them
    assert found.test is not None
    assert len(found.search) + len(found.test) == 5


def test_surplus_folders_are_named(tmp_path: Path) -> None:
    make_pictures(tmp_path / "data", 2, 2)
    (tmp_path / "data" / "results").mkdir()
    with pytest.raises(AdrlGymError, match=r"3 class folders, the network 2 outputs \(.*; without pictures: results\)"):
        splits(tmp_path / "data")


def ramp(kind: str) -> Any:
    """From black to white, ``(16, 16)``."""
    steps = np.arange(256).reshape(16, 16)
    return {"8": steps.astype(np.uint8), "16": (257 * steps).astype(np.uint16)}.get(kind, steps.astype(np.float32))


SAVE: dict[str, Callable[[Path], object]] = {
    "16.png": lambda path: Image.fromarray(ramp("16")).save(path),
    "16.tif": lambda path: Image.fromarray(ramp("16")).save(path),
    "big.tif": lambda path: Image.frombytes("I;16B", (16, 16), ramp("16").astype(">u2").tobytes()).save(path),
    "16.pgm": lambda path: path.write_bytes(b"P5 16 16 65535\n" + ramp("16").astype(">u2").tobytes()),
    "8.png": lambda path: Image.fromarray(ramp("8")).save(path),
}


@pytest.mark.parametrize("name", SAVE)
@pytest.mark.parametrize("preprocess", [GREY, COLOUR], ids=["grey", "colour"])
def test_deep_greys_are_scaled(tmp_path: Path, name: str, preprocess: Preprocessing) -> None:
    SAVE[name](tmp_path / name)
    expected: Tensor = torch.from_numpy(ramp("8").astype(np.float32))[None] / 255  # (1, 16, 16)
    with Image.open(tmp_path / name) as picture:
        torch.testing.assert_close(preprocess(picture), expected.expand(preprocess.shape))


@pytest.mark.parametrize("name", ["float.tif", "int.tif"])
def test_pixels_of_32_bits_are_refused(tmp_path: Path, name: str) -> None:
    root = make_pictures(tmp_path / "data", 2, 1)
    pixels = ramp("float") if name == "float.tif" else (1000 * ramp("float")).astype(np.int32)
    Image.fromarray(pixels).save(root / "class0000" / name)
    (root / "class0000" / "0.png").unlink()
    read = lazy_images([(str(root / "class0000" / name), 0)], COLOUR)
    with pytest.raises(AdrlGymError, match=rf"{name} cannot be read \(its pixels are 32-bit numbers .*8 or 16 bits"):
        read.load()


@pytest.mark.parametrize("pixels", [100, 200])
def test_pictures_over_pillow_s_limit_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    root = make_pictures(tmp_path / "data", 2, 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)  # of 256; over half of it, Pillow only warns: here an error
    with pytest.raises(
        AdrlGymError, match=r"png is larger than Pillow opens \(.*256 pixels.*\): shrink it, or set PIL"
    ):
        splits(root)


def rename(root: Path, suffix: str, kind: str) -> None:
    """Write the pictures of the second class anew, in another format."""
    for path in (root / "class0001").iterdir():
        with Image.open(path) as picture:
            picture.save(path.with_suffix(suffix), kind)
        path.unlink()


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".gif", "GIF"),
        (".jfif", "JPEG"),
        (".JPE", "JPEG"),
        (".avif", "AVIF"),
        (".tga", "TGA"),
        (".pbm", "PPM"),
        (".jp2", "JPEG2000"),
        (".apng", "PNG"),
    ],
)
def test_what_pillow_opens_is_a_picture(tmp_path: Path, suffix: str, kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"Pillow was built without {kind}")
    rename(make_pictures(tmp_path / "data", 2, 3), suffix, kind)
    found = splits(tmp_path / "data")
    assert found.test is not None
    assert len(found.search) + len(found.test) == 6
    assert "not used" not in found.source


def test_other_files_are_counted(tmp_path: Path) -> None:
    root = make(tmp_path, "train", "val")
    for name in ("a.HEIC", "b.heic", "list.txt", "noend", "clip.mp4", "page.eps", ".DS_Store", "Thumbs.db"):
        (root / "train" / "class0000" / name).write_bytes(b"something")
    (root / "val" / "class0001" / "c.heic").write_bytes(b"something")
    (root / "README.txt").write_bytes(b"beside the splits")
    Image.new("RGB", (8, 8)).save(root / "train" / "cover.png")
    found = splits(root)
    assert found.source.endswith(
        "6 test images from val/; not used: 8 files (.heic, without suffix, .eps, .mp4, .png and 1 more)"
    )
    for split in ("train", "val"):
        for path in (root / split).rglob("*.png"):
            path.rename(path.with_suffix(".heic"))
    with pytest.raises(
        AdrlGymError, match=r"train holds no images that Pillow reads, but 1\d files \(.heic, .*: convert"
    ):
        splits(root)


@pytest.mark.parametrize("names", [("images", "labels"), ("images",), ("Images", "Annotations"), ("images", "masks")])
def test_pictures_without_classes_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    for split in ("train", "val"):
        for name in names:
            (make_pictures(tmp_path / split / "made", 1, 2) / "class0000").rename(tmp_path / split / name)
            (tmp_path / split / "made").rmdir()
    with pytest.raises(AdrlGymError, match=rf"train holds .*{names[-1]}.* and no class folders: put the pictures of"):
        splits(tmp_path, classes=len(names))


def test_one_folder_under_two_names_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "train")
    (tmp_path / "val").symlink_to(tmp_path / "train")
    with pytest.raises(AdrlGymError, match=r"val is a link to train/, so the same images would be searched and tested"):
        splits(tmp_path)


def test_a_test_split_without_labels_is_not_used(tmp_path: Path) -> None:
    make(tmp_path, "train", "val")
    (make_pictures(tmp_path / "test" / "made", 1, 2) / "class0000").rename(tmp_path / "test" / "unknown")
    (tmp_path / "test" / "made").rmdir()
    assert splits(tmp_path).source.endswith("6 test images from val/; not used: test/")
    for path in (tmp_path / "val").rglob("*.png"):
        path.unlink()
    with pytest.raises(AdrlGymError, match="val holds no images"):
        splits(tmp_path)
