"""Open the files of a sweep's directory without leaving it, and hold their checksums against their bytes.

A directory may come from somebody else, and a disk may change a bit. So every file in a directory is
opened here: by a name that the store writes, without following a link, and with the checksum that was
recorded for it.
"""

import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any, BinaryIO, Self

from vsweep.errors import ConfigError, DamagedError, StoreError
from vsweep.store.atomic import decode_lines, encode_line, parse_yaml, yaml_text

CONFIG, PLAN, TRIALS = "config.yaml", "plan.json", "trials.parquet"
VERIFIED, CONFIRMED, REPORT, STUCK = "verify.json", "confirm.json", "report.html", "stuck.txt"
CURVES, ROWS, PARAMS, STATES, EXAMPLES = "curves", "ledger", "params", "states", "examples"
UNDERWAY, EARLIER, DAMAGED, CONFIRMATIONS = "underway", "earlier", "damaged", "confirm"
PICTURES, WANDB = "pictures", "wandb"
# The new files of a sweep that is being extended are complete once the second file is there; the third lists
# the old files that they make obsolete.
NEW_FILES, READY, OBSOLETE = ".extended", ".extended/ready", ".extended/gone"
# The files that the system locks; `filelock` opens them without following a link.
LOCK_FILES = ".lock", ".lock-lease"
# The log of checksums.
_LOG = "ledger/files.jsonl"

_PART = r"part-\d{6,}"


def _names(fixed: Sequence[str], *patterns: str) -> re.Pattern[str]:
    return re.compile("|".join([*map(re.escape, fixed), *patterns]))


# These files are replaced as a whole under the directory's lock, so their checksums are recorded.
_RECORDED = _names(
    (CONFIG, PLAN, TRIALS, VERIFIED, CONFIRMED, f"{PARAMS}/best.npz"),
    rf"{EXAMPLES}/\d+\.parquet",
    rf"({PARAMS}|{STATES})/{_PART}\.npz",
)
# The blocks have their checksums in the ledger's own log; the others are read by no command, or are replaced
# where they are damaged.
_OTHERS = _names(
    (f"{ROWS}/log.jsonl", _LOG, READY, OBSOLETE, REPORT, STUCK),
    rf"({CURVES}|{ROWS})/{_PART}\.parquet",
    rf"{UNDERWAY}/[\w-]+\.npz",
    rf"{DAMAGED}/[\w-][\w.-]*",
    rf"{PICTURES}/[^/.][^/]*",
    rf"{WANDB}/(runs\.jsonl|workspace\.json)",
)
_FLAT = CURVES, ROWS, PARAMS, STATES, EXAMPLES, UNDERWAY, DAMAGED, PICTURES, CONFIRMATIONS, EARLIER, NEW_FILES
_FOLDERS = _names((*_FLAT, WANDB), rf"{EARLIER}/steps-\d+", rf"{CONFIRMATIONS}/[0-9a-f]+")
# Names of folders that are searched for links. W&B's client makes links in folders of its own.
_SEARCHED = _names(_FLAT, r"steps-\d+", "[0-9a-f]+")
_TEMPORARY = re.compile(r"\..+\.part")
_RESUME = "run `vsweep resume {0}`, which restores it"
_CURES = {
    CONFIG: "to write it again, run the sweep's own words with dir={0}; if you changed the file, undo that",
    PLAN: "restore it from a copy; trials.parquet and curves can be read with pandas",
    VERIFIED: "run `vsweep verify {0}`, which writes it again",
    CONFIRMED: "run `vsweep confirm {0}`, which writes it again",
    WANDB: "delete it, and run `vsweep sync {0}`",
}
_ODD, _MOVE = "it is no regular file or folder", "move it away, and run `vsweep resume {0}`"
# The most values of a YAML file, of any size and per byte: aliases make a few lines stand for billions.
_MOST_VALUES, _MOST_PER_BYTE = 10_000, 20


class Files:
    """The files of a sweep's directory, by their names relative to it, with `/` between folders."""

    def __init__(self, directory: str | Path, inside: str = "") -> None:
        """Take the directory.

        Args:
            directory: The directory, as the user gave it; a link to it is followed.
            inside: A folder in it whose files have the names that those of a directory have. No link is
                followed on the way there.
        """
        self.root = Path(directory)
        self._inside = PurePosixPath(inside).parts
        self._log: dict[str, list[str | None]] | None = None
        self._damaged_lines = b""

    def path(self, name: str = "") -> Path:
        """Return a file's path, for messages and for programs that open the file themselves."""
        return self.root.joinpath(*self._inside, name)

    def nested(self, folder: str, *, make: bool = False) -> Self:
        """Return the files of a folder that is laid out as a directory is; make: create the folder.

        Raises:
            ConfigError: If the folder is a link.
        """
        nested = type(self)(self.root, "/".join((*self._inside, *_parts(folder, _FOLDERS))))
        if make:
            with nested._folder("", make=True):
                pass
        return nested

    def exists(self, name: str) -> bool:
        """Return whether there is anything by a file's name. Raises `ConfigError` if it is a link."""
        *folder, last = _parts(name, _RECORDED, _OTHERS)
        try:
            with self._folder("/".join(folder)) as handle:
                is_link = stat.S_ISLNK(os.stat(last, dir_fd=handle, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False
        if is_link:
            raise _is_link(self.path(name))
        return True

    def names(self, folder: str = "") -> list[str]:
        """Return the names of a folder's files that the store writes, sorted; none if there is no folder."""
        known = filter(_is_known, self._entries(folder))
        return [name for name in known if name != _LOG]

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder that the store makes, sorted."""
        return [name for name in self._entries(folder) if _FOLDERS.fullmatch(name)]

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: If there is no such file, and none was written.
            DamagedError: If the bytes are not those that were written, or the file is lost.
            StoreError: If the file cannot be read.
            ConfigError: If the file is a link.
        """
        try:
            with self._opened(name) as file:
                content = file.read()
        except FileNotFoundError as error:
            # Another process may have deleted the file since the log was read.
            self._log = None
            if _RECORDED.fullmatch(name) and self._expected(name)[-1]:
                raise self.damaged(name, "it is missing") from error
            raise
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(f"cannot read {str(self.path(name))!r} ({error.strerror})") from error
        if _RECORDED.fullmatch(name) and not self._is_expected(name, sha256(content).hexdigest()):
            raise self.damaged(name, "its checksum differs")
        return content

    def read_end(self, name: str, size: int) -> bytes:
        """Return the last bytes of a file, at most `size`; no checksum is held against them."""
        with self._opened(name) as file:
            file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
            return file.read(size)

    def read_json(self, name: str) -> Any:
        """Return the plain values of a JSON file; raise as `read` does."""
        content = self.read(name)
        with self.parsing(name):
            return json.loads(content)

    def read_yaml(self, name: str) -> Any:
        """Return the plain values of a YAML file; raise as `read` does."""
        content = self.read(name)
        with self.parsing(name):
            values = parse_yaml(content.decode())
            if _has_more(values, _MOST_VALUES + _MOST_PER_BYTE * len(content)):
                raise ValueError("it has too many values")
        return values

    @contextmanager
    def parsing(self, name: str) -> Iterator[None]:
        """Turn errors of a file's content into a `DamagedError`."""
        try:
            yield
        except (DamagedError, ConfigError):
            raise
        # A parser raises errors of many kinds for bytes at random, Arrow's and YAML's own among them.
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise self.damaged(name, reason) from error

    def damaged(self, name: str, reason: str) -> DamagedError:
        """Return the error for a damaged file, with the way to restore it."""
        folder, file = name.partition("/")[0], str(self.path(name))
        cure = (_CURES.get(name) or _CURES.get(folder, _RESUME)).format(self.root)
        if reason == _ODD:
            cure = _MOVE.format(self.root)
        elif self.root.parent.name == CONFIRMATIONS:
            # Its sweep was started by no words of a person's.
            cure = f"delete {str(self.root)!r}, and run `vsweep confirm {self.root.parents[1]}`"
        elif folder == PARAMS and name not in self._read_log():
            # An earlier version wrote the file, and did not record which trials it has.
            cure = f"run `vsweep run trial=N from={self.root}`, which trains trial N again"
        return DamagedError(f"{file!r} is damaged ({reason[:300]}); {cure}")

    def lost(self, folder: str = "") -> list[str]:
        """Return the names of recorded files, or of those in a folder, that are damaged or missing."""
        written = [name for name, digests in self._read_log().items() if digests[-1]]
        return [name for name in written if name.startswith(folder) and not self.is_intact(name)]

    def is_intact(self, name: str) -> bool:
        """Return whether a file has the bytes that were recorded for it; True if it was never written."""
        try:
            self.read(name)
        except FileNotFoundError:
            return True
        except DamagedError:
            return False
        return True

    def write(self, name: str, write: Callable[[BinaryIO], Any]) -> str:
        """Write a file, whole or not at all; it survives a power failure once this method returns.

        Args:
            name: The file's name.
            write: Function that writes the content to the file that it is given.

        Returns:
            The checksum of the content.
        """
        *folder, last = _parts(name, _RECORDED, _OTHERS)
        with self._folder("/".join(folder), make=True) as handle:
            # The name is new, so that nothing by it is opened.
            part = f".{last}.{token_hex(4)}.part"
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(part, flags, 0o666, dir_fd=handle), "w+b") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                    digest = _digest(file)
                with self._recorded(name, digest), self._explained(name):
                    os.replace(part, last, src_dir_fd=handle, dst_dir_fd=handle)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=handle)
                raise
            os.fsync(handle)
        return digest

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write bytes, whole or not at all."""
        self.write(name, lambda file: file.write(content))

    def write_json(self, name: str, record: Any) -> None:
        """Write plain values as JSON, whole or not at all."""
        self.write_bytes(name, json.dumps(record, indent=1, ensure_ascii=False).encode())

    def write_yaml(self, name: str, record: Any) -> None:
        """Write plain values as YAML, whole or not at all."""
        self.write_bytes(name, yaml_text(record).encode())

    def append(self, name: str, lines: bytes) -> None:
        """Append complete lines to a file, all or none of them, on a line of their own."""
        *folder, last = _parts(name, _OTHERS)
        with self._folder("/".join(folder), make=True) as handle, self._explained(name):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.fdopen(os.open(last, flags, 0o666, dir_fd=handle), "r+b")
            with file:
                self._check_regular(name, file, alone=True)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                incomplete = file.read(1) not in (b"", b"\n")
                try:
                    file.write(b"\n" * incomplete + lines)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    # The next line must not be appended to an incomplete one.
                    os.ftruncate(file.fileno(), size)
                    raise
            if not size:
                os.fsync(handle)

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        *folder, last = _parts(name, _RECORDED, _OTHERS)
        with suppress(FileNotFoundError), self._folder("/".join(folder)) as handle:
            self._record(name, None)
            os.unlink(last, dir_fd=handle)

    def move(self, name: str, target: str, to: "Files | None" = None) -> None:
        """Move a file, in place of another; to: the files that the target is one of, by default these."""
        *folder, last = _parts(name, _RECORDED, _OTHERS)
        *target_folder, target_last = _parts(target, _RECORDED, _OTHERS)
        to = to or self
        with self._folder("/".join(folder)) as source, to._folder("/".join(target_folder), make=True) as goal:
            with to._recorded(target, self._expected(name)[-1]):
                if to is self:
                    self._record(name, None)
                os.replace(last, target_last, src_dir_fd=source, dst_dir_fd=goal)
            os.fsync(goal)

    def make(self, *folders: str) -> None:
        """Create folders that do not exist."""
        for folder in folders:
            with self._folder(folder, make=True):
                pass

    def clear(self, folder: str) -> None:
        """Delete a folder with all that is in it, following no link."""
        with suppress(FileNotFoundError), self._folder(folder):
            shutil.rmtree(self.path(folder))

    def clear_unfinished(self, *folders: str) -> None:
        """Delete the incomplete files that a process left in folders when it died."""
        for folder in folders:
            for name in self._entries(folder):
                if _TEMPORARY.fullmatch(PurePosixPath(name).name):
                    with self._folder(folder) as handle, self._explained(name):
                        os.unlink(PurePosixPath(name).name, dir_fd=handle)

    def refuse_links(self) -> None:
        """Raise `ConfigError` for a link where files are opened, so that a command stops at its start."""
        for folder, names, files in os.walk(self.path()):
            for path in (Path(folder, name) for name in (*names, *files)):
                has_other_name = path.name in LOCK_FILES and path.lstat().st_nlink > 1
                if path.is_symlink() or (has_other_name and path.is_file()):
                    raise _is_link(path)
            names[:] = [name for name in names if _SEARCHED.fullmatch(name)]

    def compact(self) -> None:
        """Replace the log of checksums by one with a line for each file."""
        lines = []
        for name, digests in self._read_log().items():
            if digests[-1]:
                with suppress(OSError), self._opened(name) as file:
                    digest = _digest(file)
                    digests = [digest] if self._is_expected(name, digest) else digests[-1:]
                lines.append(encode_line({"name": name, "sha256": digests[-1]}))
        self.write_bytes(_LOG, b"".join(lines))
        self._log = None

    def _expected(self, name: str) -> list[str | None]:
        """Return the checksums that were recorded for a file, the latest last; None where it was deleted."""
        return self._read_log().get(name, [None])

    def _is_expected(self, name: str, digest: str) -> bool:
        for again in (False, True):
            # Another process may have recorded the file's new checksum since the log was read.
            self._log = None if again else self._log
            expected = self._expected(name)
            if digest in expected or expected[-1] is None or self._is_in_damaged_line(name, digest):
                return True
        return False

    def _is_in_damaged_line(self, name: str, digest: str) -> bool:
        """Return whether a damaged line of the log was this one; one bit spares the checksum or the rest."""
        before = encode_line({"name": name, "sha256": digest}).partition(digest.encode())[0]
        return digest.encode() in self._damaged_lines or before in self._damaged_lines

    def _read_log(self) -> dict[str, list[str | None]]:
        if self._log is None:
            content = self.read(_LOG) if self.exists(_LOG) else b""
            log: dict[str, list[str | None]] = {}
            records, damaged = decode_lines(content)
            self._damaged_lines = b"".join(damaged)
            for record in records:
                name, digest = record.get("name"), record.get("sha256")
                if isinstance(name, str) and _RECORDED.fullmatch(name):
                    log.setdefault(name, []).append(digest if isinstance(digest, str) else None)
            self._log = log
        return self._log

    @contextmanager
    def _recorded(self, name: str, digest: str | None) -> Iterator[None]:
        """Record the checksum of a file that is put in place meanwhile.

        A process that reads at any moment, or after this one has died at any moment, finds no damage.
        """
        # The checksum of a file that is replaced is known as well. A new file has none until it is there: a
        # file that has one and is not there would look lost.
        is_new = self._expected(name)[-1] is None
        if not is_new:
            self._record(name, digest)
        yield
        if is_new:
            self._record(name, digest)

    def _record(self, name: str, digest: str | None) -> None:
        """Record the checksum that a file is about to have; None: it is about to be deleted."""
        if _RECORDED.fullmatch(name) and self._expected(name)[-1] != digest:
            self.append(_LOG, encode_line({"name": name, "sha256": digest}))
            self._read_log().setdefault(name, []).append(digest)

    @contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        """Open a file for reading."""
        *folder, last = _parts(name, _RECORDED, _OTHERS)
        with self._folder("/".join(folder)) as handle, self._explained(name):
            # A file that is no regular one, such as a pipe, must not block.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            file = os.fdopen(os.open(last, flags, dir_fd=handle), "rb")
            with file:
                self._check_regular(name, file)
                yield file

    def _check_regular(self, name: str, file: BinaryIO, *, alone: bool = False) -> None:
        """Raise an error for what is no regular file; alone: or has another name, possibly elsewhere."""
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise self.damaged(name, _ODD)
        if alone and status.st_nlink > 1:
            raise _is_link(self.path(name))

    @contextmanager
    def _folder(self, name: str, *, make: bool = False) -> Iterator[int]:
        """Open a folder, one part of its name after the other, so that no link is followed below the root."""
        parts = (*self._inside, *(_parts(name, _FOLDERS) if name else ()))
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for i, part in enumerate(parts):
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                with self._explained("/".join(parts[len(self._inside) : i + 1])):
                    inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def _entries(self, folder: str) -> list[str]:
        """Return the names of a folder's entries, sorted; none if there is no folder."""
        try:
            with self._folder(folder) as handle:
                entries = os.listdir(handle)  # noqa: PTH208
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{entry}" if folder else entry for entry in entries)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn the system's errors for a link, or a file in a folder's place, into messages."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO):
                raise
            if self.path(name).is_symlink():
                raise _is_link(self.path(name)) from error
            raise self.damaged(name, _ODD) from error


def _parts(name: str, *patterns: re.Pattern[str]) -> list[str]:
    """Return the parts of a name. Raises `ConfigError` for a name that the store does not write."""
    if not any(pattern.fullmatch(name) for pattern in patterns):
        got = f"{name!r} is no name of a file in a sweep's directory"
        raise ConfigError("dir", got, "it takes a directory whose files have the names that vsweep gives")
    return name.split("/")


def check_names(names: Sequence[str]) -> None:
    """Raise `ConfigError` if the store does not write one of some names."""
    for name in names:
        _parts(name, _RECORDED, _OTHERS)


def _is_known(name: str) -> bool:
    return bool(_RECORDED.fullmatch(name) or _OTHERS.fullmatch(name))


def _is_link(path: Path) -> ConfigError:
    got = f"{str(path)!r} is a link, through which files elsewhere would be read or written"
    return ConfigError("dir", got, "it takes a directory that holds its own files")


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = sha256()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest.hexdigest()


def _has_more(values: Any, most: int) -> bool:
    """Return whether nested lists and mappings have more values than `most`, repeated ones counted again."""
    count, stack = 0, [values]
    while stack and count <= most:
        value = stack.pop()
        count += 1
        if isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return count > most
