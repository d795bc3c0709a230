"""Folders of pictures as people lay them out: splits, classes, and what else lies there."""

import os
from dataclasses import dataclass
from pathlib import Path

from adrl_gym.errors import AdrlGymError

# Names of split folders in lower case, by what they are used for.
_ROLES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing", "tst"),
}
_JUNK = ("__macosx", "__pycache__", "@eadir", "lost+found", "$recycle.bin", "system volume information")
_PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision has them
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Layout:
    """Folders of a data set.

    Attributes:
        search: that search images are drawn from: of one folder a class.
        test: that test images are from; ``None`` where they are the other half of ``search``.
        ignored: names of folders that are not used.
    """

    search: Path
    test: Path | None
    ignored: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Phrase for people on what is not used; empty if nothing is."""
        names = _listed([f"{name}/" for name in self.ignored])
        return f"; not used: {names}" if names else ""


def find_layout(root: Path) -> Layout:
    """Tell splits from classes.

    ``train/`` (or ``Training/``, ...) is searched on; ``test/``, or else ``val/``, is tested on. Without ``train/``,
    ``val/`` is searched on. Other folders beside splits are not used.

    Raises:
        AdrlGymError: two folders that mean the same split.
    """
    folders = visible_folders(root)
    splits = {role: [f for f in folders if f.name.lower() in names and _is_split(f)] for role, names in _ROLES.items()}
    for role, found in splits.items():
        if len(found) > 1:
            raise AdrlGymError(
                f"{root} holds {_listed([f'{f.name}/' for f in found])}, which both mean the {role} split: keep one",
                parameter="data_root",
            )
    there = {role: found[0] for role, found in splits.items() if found}
    if not there:
        return Layout(root, None)
    search = there.get("train") or there.get("val") or there["test"]
    test = next((there[role] for role in ("test", "val") if role in there and there[role] != search), None)
    return Layout(search, test, tuple(f.name for f in folders if f not in (search, test)))


def read_classes(folder: Path) -> dict[str, list[str]]:
    """Return the paths of all pictures below each class folder, in the order of names; hidden ones are left out.

    Raises:
        AdrlGymError: no class folders, or folders that hold no pictures but folders of them.
    """
    classes = visible_folders(folder)
    if not classes:
        raise AdrlGymError(
            f"{folder} holds no class folders: put the pictures of each class into a folder of its own",
            parameter="data_root",
        )
    deep = [f for f in classes if not _pictures(f) and _all_pictures(f)]
    if deep:
        below = _listed([f"{f.name}/" for f in visible_folders(deep[0])])
        raise AdrlGymError(
            f"{deep[0]} holds no pictures but folders of them ({below}), so it is no class: name the folder whose "
            "folders are the classes, and call splits train/, val/ and test/",
            parameter="data_root",
        )
    return {f.name: _all_pictures(f) for f in classes}


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones and those that systems leave behind."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not _is_junk(entry.name)]
    return [folder / name for name in sorted(names)]


def described_classes(classes: dict[str, list[str]]) -> str:
    """Return the names of class folders, and of those without pictures, for a message."""
    empty = [name for name, paths in classes.items() if not paths]
    return _listed(list(classes)) + (f"; without pictures: {_listed(empty)}" if empty else "")


def _is_split(folder: Path) -> bool:
    """Return ``False`` for a class of this name, as trains are one in some data sets; a stray picture makes none."""
    own = len(_pictures(folder))
    return own == 0 or len(_all_pictures(folder)) > 2 * own


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _pictures(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if _is_picture(entry.name))


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(_PICTURES)


def _all_pictures(folder: Path) -> list[str]:
    found = []
    for path, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _leads_back(Path(path) / name))
        if not any(_is_junk(part) for part in Path(path).relative_to(folder).parts):
            found += [str(Path(path) / name) for name in sorted(names) if _is_picture(name)]
    return found


def _leads_back(folder: Path) -> bool:
    """Return ``True`` for a link to a folder that it lies in, or to one above."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
