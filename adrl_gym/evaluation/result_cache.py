"""Cache of measured configurations, in memory and on disk."""

import contextlib
import os
import sqlite3
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from adrl_gym.bits import Bits
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation.metrics import SampleMetrics

_MAGIC = b"SQLite format 3\x00"
_APPLICATION = 0x4144524C  # "ADRL": SQLite's application_id of an evaluation cache
_APPLICATION_AT = 68  # its place in SQLite's header, as 4 bytes
_FORMAT = 2  # SQLite's user_version of an evaluation cache
_WAIT = 60.0  # seconds that one process waits for another's write

_TABLES = f"""
CREATE TABLE problems (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE);
CREATE TABLE outcomes (
    problem INTEGER NOT NULL REFERENCES problems(id),
    bits BLOB NOT NULL,          -- one byte a layer, 0 for float
    slice INTEGER NOT NULL,      -- of the search images
    outcomes BLOB NOT NULL,      -- see pack_metrics()
    checksum INTEGER NOT NULL,   -- CRC-32 of all of the above
    PRIMARY KEY (problem, bits, slice)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
"""


class NotACacheError(Exception):
    """The file is damaged or somebody else's; the message says what was found."""


class ResultCache:
    """SampleMetrics by configuration and slice of images, of one problem.

    On disk they are in an SQLite database in WAL mode, which several processes may read and write at a time, and which
    a process killed in the middle of a write leaves as it was before that write. Every row has a checksum. A file that
    is damaged is set aside (renamed, never deleted), and a new one begun; a file of something else is refused.

    Args:
        path: of the database, made where it is missing; ``None`` for memory alone.
        fingerprint: of the problem; rows of others are never read.

    Raises:
        AdrlGymError: the file cannot be opened or made.
    """

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint
        self._known: dict[bytes, dict[int, SampleMetrics]] = {}
        self._database: sqlite3.Connection | None = None
        self._problem = 0
        if path is not None:
            self._open()

    def get(self, bits: Bits) -> dict[int, SampleMetrics]:
        """Slice -> outcomes, of all slices that are known; not to be changed."""
        key = _key(bits)
        if key not in self._known:
            self._known[key] = self._read(key)
        return self._known[key]

    def put(self, found: Iterable[tuple[Bits, int, SampleMetrics]]) -> None:
        """Add outcomes of configurations on slices."""
        rows = []
        for bits, slice_, outcomes in found:
            key = _key(bits)
            self._known.setdefault(key, {})[slice_] = outcomes
            packed = pack_metrics(outcomes)
            rows.append((self._problem, key, slice_, packed, _checksum(self.fingerprint, key, slice_, packed)))
        if self._database is not None and rows:
            with self._trouble_set_aside(), self._database as transaction:
                transaction.executemany("INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self) -> None:
        """Forget what is in memory; the file stays."""
        self._known.clear()

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_database": None}  # a copy in another process goes on in memory

    def _open(self) -> None:
        assert self.path is not None
        try:
            self._database, self._problem = _connect(self.path, self.fingerprint)
        except (NotACacheError, sqlite3.DatabaseError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise AdrlGymError(
                    f"the evaluation cache {self.path} cannot be opened ({error}): name another file, or none"
                ) from error
            if not _is_ours(self.path):
                raise AdrlGymError(
                    f"{self.path} is not an evaluation cache ({error}), and stays as it is: name another file",
                    parameter="cache",
                ) from error
            self._set_aside(error)
            self._database, self._problem = _connect(self.path, self.fingerprint)
        except OSError as error:
            raise AdrlGymError(
                f"the evaluation cache {self.path} cannot be made ({error}): name another file, or none"
            ) from error

    def _set_aside(self, reason: Exception) -> None:
        assert self.path is not None
        self.close()
        aside = self.path.with_name(f"{self.path.name}.aside-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        while aside.exists():  # within the same second
            aside = aside.with_name(f"{aside.name}0")
        warnings.warn(
            f"{self.path} is damaged or of another version ({reason}): it was renamed to {aside.name}, and a new cache "
            "begun",
            stacklevel=2,
        )
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):  # another process may have been faster
                self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))

    @contextlib.contextmanager
    def _trouble_set_aside(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # disk full, locked for a minute: the search goes on without
            warnings.warn(f"the evaluation cache {self.path} is given up: {error}", stacklevel=2)
            self.close()
        except (NotACacheError, sqlite3.DatabaseError) as error:
            self._set_aside(error)
            self._open()

    def _read(self, key: bytes) -> dict[int, SampleMetrics]:
        found: dict[int, SampleMetrics] = {}
        if self._database is None:
            return found
        with self._trouble_set_aside():
            rows = self._database.execute(
                "SELECT slice, outcomes, checksum FROM outcomes WHERE problem = ? AND bits = ?", (self._problem, key)
            ).fetchall()
            for slice_, packed, checksum in rows:
                if checksum != _checksum(self.fingerprint, key, slice_, packed):
                    raise NotACacheError("a row does not match its checksum")
            found.update((slice_, unpack_metrics(packed)) for slice_, packed, _ in rows)
        return found


_POSITIONS = b"positions"  # begins what is packed of predictions at every position: sums, not flags


def pack_metrics(outcomes: SampleMetrics) -> bytes:
    """Wrong, disagreeing (bits), KL and loss (float32) of one slice; ``unpack_metrics`` undoes it.

    >>> nats = np.array([[0.5, 0.0], [0.7, 0.1]], np.float32)
    >>> one = SampleMetrics(np.array([True, False]), np.array([False, False]), *nats)
    >>> unpack_metrics(pack_metrics(one)).metrics() == one.metrics()
    True
    """
    if outcomes.counted is not None:
        counts = np.concatenate([outcomes.wrong, outcomes.disagreeing, outcomes.counted]).astype("<i4")  # (3 N,)
        sums = np.concatenate([outcomes.kl, outcomes.loss]).astype("<f4")  # (2 N,)
        return b"".join([_POSITIONS, counts.tobytes(), sums.tobytes()])
    flags = np.packbits(np.concatenate([outcomes.wrong, outcomes.disagreeing]))  # (2 N / 8,)
    return b"".join([outcomes.kl.astype("<f4").tobytes(), outcomes.loss.astype("<f4").tobytes(), flags.tobytes()])


def unpack_metrics(packed: bytes) -> SampleMetrics:
    """Return the metrics that ``pack_metrics`` packed."""
    if packed.startswith(_POSITIONS):
        count = (len(packed) - len(_POSITIONS)) // 20
        counts = np.frombuffer(packed, "<i4", 3 * count, len(_POSITIONS)).astype(np.int32)  # (3 N,)
        sums = np.frombuffer(packed, "<f4", 2 * count, len(_POSITIONS) + 12 * count).astype(np.float32)  # (2 N,)
        wrong, disagreeing, counted = counts.reshape(3, count)  # (N,) each
        return SampleMetrics(wrong, disagreeing, sums[:count], sums[count:], counted)
    # 2 N floats of 4 bytes, then 2 N bits in whole bytes
    count = next(n for n in range(len(packed) // 8, -1, -1) if 8 * n + -(-2 * n // 8) == len(packed))
    nats = np.frombuffer(packed, "<f4", 2 * count).astype(np.float32)  # (2 N,)
    flags = np.unpackbits(np.frombuffer(packed, np.uint8, offset=8 * count), count=2 * count).astype(bool)  # (2 N,)
    return SampleMetrics(flags[:count], flags[count:], nats[:count], nats[count:])


def _key(bits: Bits) -> bytes:
    return bytes(b or 0 for b in bits)


def _checksum(fingerprint: str, key: bytes, slice_: int, packed: bytes) -> int:
    return zlib.crc32(b"".join([fingerprint.encode(), key, slice_.to_bytes(4, "little"), packed]))


def _connect(path: Path, fingerprint: str) -> tuple[sqlite3.Connection, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
        if begin and begin != _MAGIC:  # SQLite would take a very short file for an empty one, and write over it
            raise NotACacheError("no SQLite database")
    # Questions come from one thread at a time, but not always from the same one.
    database = sqlite3.connect(path, timeout=_WAIT, check_same_thread=False)
    try:
        with database:
            database.execute("BEGIN IMMEDIATE")  # two processes may both find the file missing
            _claim(database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # whole after a kill; a power cut may take the last rows
        with database:
            database.execute("INSERT OR IGNORE INTO problems (fingerprint) VALUES (?)", (fingerprint,))
        found = database.execute("SELECT id FROM problems WHERE fingerprint = ?", (fingerprint,)).fetchone()
    except BaseException:
        database.close()
        raise
    return database, int(found[0])


def _is_ours(path: Path) -> bool:
    """Return ``True`` for a file, damaged or not, that begins as an evaluation cache does."""
    with path.open("rb") as file:
        begin = file.read(_APPLICATION_AT + 4)
    return begin.startswith(_MAGIC) and begin[_APPLICATION_AT:] == _APPLICATION.to_bytes(4, "big")


def _claim(database: sqlite3.Connection) -> None:
    """Make the tables where there is nothing yet; raises ``NotACacheError`` where there is something else."""
    application, version = _pragma(database, "application_id"), _pragma(database, "user_version")
    tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application == 0 and tables == 0:
        for statement in _TABLES.split(";\n"):
            database.execute(statement)
    elif application != _APPLICATION:
        raise NotACacheError("a database of something else")
    elif version != _FORMAT:
        raise NotACacheError(f"an evaluation cache of format {version}, not {_FORMAT}")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])
