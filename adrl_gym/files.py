"""Writing files."""

from contextlib import suppress
from pathlib import Path

from adrl_gym.errors import AdrlGymError


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step, so that a kill at any moment leaves the old content or the new one.

    Raises:
        AdrlGymError: the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise AdrlGymError(f"cannot write {path}: {error.strerror}; free the disk or choose another folder") from error
    finally:
        with suppress(OSError):  # what a failed or interrupted write leaves
            part.unlink()
