"""Tiny ImageNet's ``val/``: all pictures in one folder, and their classes in a file beside it."""

from pathlib import Path

from adrl_gym.errors import AdrlGymError

_ANNOTATIONS, _IMAGES = "val_annotations.txt", "images"


def is_annotated(folder: Path) -> bool:
    """Return whether a split is laid out so, and not yet sorted into class folders."""
    return (folder / _ANNOTATIONS).is_file() and (folder / _IMAGES).is_dir()


def annotated_classes(folder: Path) -> dict[str, list[str]]:
    """Return the paths of the pictures of each class, in the order of names.

    Args:
        folder: holds ``val_annotations.txt`` with lines ``PICTURE<tab>CLASS<tab>...``, and the pictures in ``images/``.

    Raises:
        AdrlGymError: a line of another form.
    """
    file = folder / _ANNOTATIONS
    classes: dict[str, list[str]] = {}
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split("\t")
        if len(parts) < 2:
            raise AdrlGymError(
                f"line {number} of {file} is no picture with its class, separated by a tab: fetch an intact copy",
                parameter="data_root",
            )
        classes.setdefault(parts[1], []).append(str(folder / _IMAGES / parts[0]))
    return {name: sorted(classes[name]) for name in sorted(classes)}
