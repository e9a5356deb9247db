"""Owns how a model directory appears: built under a temporary name beside it, then renamed, complete or not at all.

A directory in the making is called ``.NAME.partial-XXXXXXXX``, one that is being replaced ``.NAME.replaced-XXXXXXXX``.
Their process holds an flock on them, so one whose lock is free was left by a process that died: the next conversion
to the same place removes it, or moves it back when that process died between its two renames. A directory named after
the key of its conversion goes on to be filled when it is the same conversion.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convert import manifest
from convert.errors import OutputFailed
from convert.progress import mebibytes
from convert.resume import JOURNAL_NAME

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def staging(out_dir: Path, *, needed_bytes: int = 0, key: str = "") -> Iterator[Path]:
    """Give a new empty directory to fill, and make it ``out_dir`` when the body ends without an exception.

    With a ``key`` (16 hex digits), that an interrupted run of the same key left is given instead, and an interruption
    leaves the directory for the next run when JOURNAL_NAME is in it.

    ``out_dir`` may be missing, empty, or a model directory, which is replaced as a whole. After any exception, that of
    Ctrl-C included, it is as it was and nothing else is left. ``needed_bytes``, when known, is compared with the room
    on the disk first.

    Raises OutputFailed when ``out_dir`` is anything else, cannot be written, or the disk is full.
    """
    check_target(out_dir)
    target = out_dir.resolve()
    made: list[Path] = []
    locks: list[int] = []
    partial = target
    try:
        with _reported(out_dir):
            _make_parents(target, made)
            resumed = target.with_name(f".{target.name}.partial-{key}") if key else None
            _clean_up_after_the_dead(target, resumed)
            needed_bytes -= _size_bytes(resumed) if resumed else 0
            left_bytes = shutil.disk_usage(target.parent).free
            if needed_bytes > left_bytes:
                raise OutputFailed(_disk_full(out_dir, mebibytes(needed_bytes), left_bytes))
            with _uninterrupted():
                partial = _make_locked(target, locks, resumed)
        with _reported(out_dir, partial):
            yield partial
            _sync(partial)
            check_target(out_dir)
            with _uninterrupted():
                _exchange(partial, target, locks)
    except BaseException as error:
        if key and isinstance(error, KeyboardInterrupt) and (partial / JOURNAL_NAME).exists():
            error.add_note(f"finished files are kept in {partial} for the next run of the same command")
            raise
        with _uninterrupted():
            if partial != target:
                shutil.rmtree(partial, ignore_errors=True)
            for folder in reversed(made):
                with suppress(OSError):
                    folder.rmdir()
        raise
    finally:
        for lock in locks:
            os.close(lock)


def check_target(out_dir: Path) -> None:
    """Raise OutputFailed unless ``out_dir`` may become a model directory without losing anything else."""
    target, problem = out_dir.resolve(), ""
    if not target.name or target.is_mount():
        problem = "is the root of a file system, which cannot be replaced; choose a directory inside it"
    elif Path.cwd().is_relative_to(target):
        problem = "holds the current directory, which cannot be replaced; run the command from outside it"
    elif target.is_dir():
        try:
            if any(target.iterdir()) and not manifest.is_model_directory(target):
                problem = "holds something else than a model directory; choose an empty or a new directory"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
    elif target.exists():
        problem = "is a file; choose a directory"
    if problem:
        raise OutputFailed(f"{out_dir}: {problem}")


@contextmanager
def _reported(out_dir: Path, partial: Path | None = None) -> Iterator[None]:
    """Turn a full disk, and what the system says about ``partial`` (None: about anything), into OutputFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            written_bytes = _size_bytes(partial) if partial else 0
            left_bytes = shutil.disk_usage(next(path for path in out_dir.resolve().parents if path.exists())).free
            needed = f"more than the {mebibytes(written_bytes)} written so far"
            raise OutputFailed(_disk_full(out_dir, needed, left_bytes)) from error
        name = error.filename
        if partial is None or (isinstance(name, str) and Path(name).is_relative_to(partial)):
            raise OutputFailed(f"{out_dir}: cannot be written: {error.strerror} ({name})") from error
        raise


def _disk_full(out_dir: Path, needed: str, left_bytes: int) -> str:
    return (
        f"{out_dir}: disk full: needed {needed}, left {mebibytes(left_bytes)}; free some space or choose another disk"
    )


def _size_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _make_parents(target: Path, made: list[Path]) -> None:
    missing = [folder for folder in target.parents if not folder.exists()]
    for folder in reversed(missing):
        with suppress(FileExistsError):
            folder.mkdir()
            made.append(folder)


def _temporary(target: Path, role: str) -> Path:
    return target.with_name(f".{target.name}.{role}-{secrets.token_hex(4)}")


def _make_locked(target: Path, locks: list[int], resumed: Path | None) -> Path:
    """Make the partial directory and take its lock, which is freed when its descriptor in ``locks`` is closed.

    It is ``resumed``, there or not, unless another process fills that one.
    """
    while True:
        partial, resumed = resumed or _temporary(target, "partial"), None
        with suppress(FileExistsError):
            partial.mkdir()
        lock = _try_lock(partial)
        if lock is None:
            continue  # another process fills it, or took it for a dead one's between the two calls and removes it
        locks.append(lock)
        if partial.exists():
            return partial


def _try_lock(directory: Path) -> int | None:
    """A descriptor that holds the lock of ``directory``, or None when it is held elsewhere or the directory is gone."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _exchange(partial: Path, target: Path, locks: list[int]) -> None:
    """Put ``partial`` in the place of ``target``, then remove what was there."""
    if not target.exists():
        partial.rename(target)
    else:
        if (lock := _try_lock(target)) is not None:
            locks.append(lock)
        replaced = _temporary(target, "replaced")
        target.rename(replaced)
        try:
            partial.rename(target)
        except BaseException:
            replaced.rename(target)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    _sync_one(target.parent)


def _clean_up_after_the_dead(target: Path, resumed: Path | None) -> None:
    """Remove, or move back, what processes that died left beside ``target``; ``resumed`` is left."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.(partial|replaced)-[0-9a-f]{{8}}([0-9a-f]{{8}})?")
    for path in [path for path in target.parent.iterdir() if ours.fullmatch(path.name) and path != resumed]:
        if (lock := _try_lock(path)) is None:
            continue
        try:
            if ".replaced-" in path.name and not target.exists() and manifest.is_model_directory(path):
                path.rename(target)
            else:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)


def _sync(directory: Path) -> None:
    """Have the disk hold every byte below ``directory`` before its name says that it is complete."""
    for path in (*directory.rglob("*"), directory):
        _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot do it for directories
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back during the body, which must be short; they arrive after it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    held = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda received, _: arrived.append(received)) for number in held]
    try:
        yield
    finally:
        for number, handler in zip(held, before, strict=True):
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if arrived:
            signal.raise_signal(arrived[0])
