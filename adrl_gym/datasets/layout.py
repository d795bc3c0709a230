"""Folders of pictures as people lay them out: splits, classes, and what else lies there."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adrl_gym.datasets.tiny_imagenet import annotated_classes, is_annotated
from adrl_gym.errors import AdrlGymError

# Names of split folders in lower case, by what they are used for.
_ROLES = {
    "train": ("train", "training", "trn", "trainval"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing", "tst"),
}
_AROUND = r"(?:.*[ _-])?(?:{})[ _-]?(?:set|images?|data|split)?[ _-]?\d*"  # a name within seg_train, test_set, val2017
_JUNK = ("__macosx", "__pycache__", "@eadir", "lost+found", "$recycle.bin", "system volume information")
_JUNK_FILES = ("thumbs.db", "desktop.ini")
_INNER = "images"  # folder that some data sets have in every class
_NO_CLASSES = {_INNER, "labels", "annotations", "masks"}  # as data sets for detection and segmentation have them
_NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # that Pillow knows, but cannot read by itself
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

    def note(self, *splits: "Classes") -> str:
        """Phrase for people on what is not used, of the folder and of its splits; empty if nothing is."""
        folders = _listed([f"{name}/" for name in self.ignored])
        files = described_files(sum((split.ignored for split in splits), Counter()))
        told = ", ".join(part for part in (folders, files) if part)
        return f"; not used: {told}" if told else ""


@dataclass(frozen=True)
class Classes:
    """Pictures of a split.

    Attributes:
        paths: of all pictures of each class by its name, in the order of names.
        ignored: how many files with a suffix, in lower case, are none that Pillow reads, or lie in no class.
    """

    paths: dict[str, list[str]]
    ignored: Counter[str]


def find_layout(root: Path) -> Layout:
    """Tell splits from classes.

    ``train/`` (or ``Training/``, ...) is searched on; ``test/``, or else ``val/``, is tested on. Without ``train/``,
    ``val/`` is searched on. Other folders beside splits are not used, nor is a ``test/`` without classes.

    Raises:
        AdrlGymError: two folders that mean the same split, or are the same.
    """
    folders = visible_folders(root)
    splits = {role: _named(folders, names) for role, names in _ROLES.items()}
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
    others = [there[role] for role in ("test", "val") if role in there and there[role] != search]
    test = next((folder for folder in others if is_annotated(folder) or _has_classes(folder, search)), None)
    if test is not None and test.resolve() == search.resolve():
        raise AdrlGymError(
            f"{test} is a link to {search.name}/, so the same images would be searched and tested on: take it away",
            parameter="data_root",
        )
    return Layout(search, test, tuple(f.name for f in folders if f not in (search, test)))


def read_classes(folder: Path) -> Classes:
    """Return the pictures below each class folder; hidden ones are left out.

    The pictures of a class may lie in a folder ``images/`` of its own, as in Tiny ImageNet.

    Raises:
        AdrlGymError: no class folders, or folders that hold no pictures but folders of them.
    """
    if is_annotated(folder):
        return Classes(annotated_classes(folder), Counter())
    classes = visible_folders(folder)
    if not classes or _lacks_classes(folder):
        found = _listed([f"{f.name}/" for f in classes])
        raise AdrlGymError(
            f"{folder} holds {f'{found} and ' if found else ''}no class folders: put the pictures of each class into a "
            "folder of its own",
            parameter="data_root",
        )
    deep = [f for f in classes if not _pictures(f) and not _has_inner(f) and _all_pictures(f, Counter())]
    if deep:
        below = _listed([f"{f.name}/" for f in visible_folders(deep[0])])
        raise AdrlGymError(
            f"{deep[0]} holds no pictures but folders of them ({below}), so it is no class: name the folder whose "
            "folders are the classes, and call splits train/, val/ and test/",
            parameter="data_root",
        )
    ignored = Counter(_suffix(path) for path in _pictures(folder))
    return Classes({f.name: _all_pictures(f, ignored) for f in classes}, ignored)


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder by name, without hidden ones and those that systems leave behind."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not _is_junk(entry.name)]
    return [folder / name for name in sorted(names)]


def described_classes(classes: dict[str, list[str]]) -> str:
    """Return the names of class folders, and of those without pictures, for a message."""
    empty = [name for name, paths in classes.items() if not paths]
    return _listed(list(classes)) + (f"; without pictures: {_listed(empty)}" if empty else "")


def described_files(counts: Counter[str]) -> str:
    """Return how many files there are, with their suffixes, for a message; empty if there are none.

    >>> described_files(Counter({".txt": 2, "": 1}))
    '3 files (.txt, without suffix)'
    """
    if not (total := sum(counts.values())):
        return ""
    kinds = _listed([suffix or "without suffix" for suffix in sorted(counts, key=lambda s: (-counts[s], s))])
    return f"{total:,} file{'s' * (total > 1)} ({kinds})"


def _named(folders: list[Path], names: tuple[str, ...]) -> list[Path]:
    """Return the split folders with one of these names, or else with one within a longer name."""
    exact = [f for f in folders if f.name.lower() in names and _is_split(f)]
    around = re.compile(_AROUND.format("|".join(names)))
    return exact or [f for f in folders if around.fullmatch(f.name.lower()) and _is_split(f)]


def _has_classes(folder: Path, search: Path) -> bool:
    """Return ``False`` for a split without labels, whose pictures often lie in one folder, as ``test/unknown/``."""
    single = len(visible_folders(folder)) == 1 < len(visible_folders(search))
    return not single and not _lacks_classes(folder)


def _lacks_classes(folder: Path) -> bool:
    folders = visible_folders(folder)
    named = {f.name.lower() for f in folders} <= _NO_CLASSES
    return bool(folders) and named and not any(visible_folders(f) for f in folders)


def _has_inner(folder: Path) -> bool:
    return [f.name for f in visible_folders(folder)] == [_INNER] and bool(_pictures(folder / _INNER))


def _is_split(folder: Path) -> bool:
    """Return ``False`` for a class of this name, as trains are one in some data sets; a stray picture makes none."""
    own = len(_pictures(folder))
    return own == 0 or len(_all_pictures(folder, Counter())) > 2 * own


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _pictures(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if _is_picture(entry.name))


def _is_picture(name: str) -> bool:
    """Return whether Pillow reads files with this suffix, those of plugins included; hidden ones are none."""
    kind = Image.registered_extensions().get(_suffix(name))
    return not name.startswith(".") and kind in Image.OPEN and kind not in _NO_PICTURES


def _suffix(name: str) -> str:
    stem, dot, end = name.rpartition(".")
    return dot + end.lower() if stem else ""


def _all_pictures(folder: Path, ignored: Counter[str]) -> list[str]:
    """Return the paths of all pictures below a folder, and count the other files in ``ignored``."""
    found = []
    for path, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _leads_back(Path(path) / name))
        if any(_is_junk(part) for part in Path(path).relative_to(folder).parts):
            continue
        for name in sorted(names):
            if _is_picture(name):
                found.append(str(Path(path) / name))
            elif not name.startswith(".") and name.lower() not in _JUNK_FILES:
                ignored[_suffix(name)] += 1
    return found


def _leads_back(folder: Path) -> bool:
    """Return ``True`` for a link to a folder that it lies in, or to one above."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
