"""Owns the hub source: fetches the files of a repository that we read, none that would run code, and opens them."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from convert.checkpoint.checkpoint import Checkpoint
from convert.checkpoint.pooling import MODULES_NAME, SENTENCE_CONFIG_NAME
from convert.checkpoint.safetensors import INDEX_NAME
from convert.checkpoint.untrusted import quote
from convert.errors import FeatherweightError, OutputFailed, SourceNotFound
from convert.progress import Progress
from convert.sources.directory import OPTIONAL_FILES, REQUIRED_FILES, WEIGHTS_NAME, open_directory

_HUB_ID = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)
_POLL_S = 0.2
_PATTERNS = [
    "config.json",
    *REQUIRED_FILES,
    *OPTIONAL_FILES,
    WEIGHTS_NAME,
    INDEX_NAME,
    "model-*-of-*.safetensors",
    MODULES_NAME,
    SENTENCE_CONFIG_NAME,
    "1_Pooling/config.json",
    "README.md",
]


def matches(source: str) -> bool:
    """Whether ``source`` looks like OWNER/NAME."""
    return _HUB_ID.fullmatch(source) is not None


def open_source(source: str, revision: str | None, progress: Progress) -> Checkpoint:
    """Download (or find in the cache) and open the repository ``source`` at ``revision``, by default its main branch.

    HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME and HF_TOKEN are honoured.

    Raises:
        SourceNotFound: no such repository or revision, no access, or no way to the hub.
        OutputFailed: the files cannot be stored.
    """
    snapshot = _download(source, revision, progress)
    provenance = {"kind": "hub", "name": source, "revision": f"commit:{snapshot.name}"}
    try:
        checkpoint = open_directory(snapshot, progress, provenance)
    except SourceNotFound as error:
        raise SourceNotFound(
            f"{source}: has no {WEIGHTS_NAME} on the hub (pickle files are not read); "
            "choose a revision or a repository with safetensors"
        ) from error
    return replace(checkpoint, name=source.partition("/")[2])


def _download(source: str, revision: str | None, progress: Progress) -> Path:
    # Slow to import, and only this source needs it.
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # ours says it
    try:
        progress.start("download", _missing_bytes(source, revision))
        progress.message(source)
        with _watched(source, progress):
            return Path(snapshot_download(source, revision=revision, allow_patterns=_PATTERNS))
    except errors.GatedRepoError as error:
        raise SourceNotFound(
            f"{source}: is gated; ask for access on its page, then set HF_TOKEN or run 'hf auth login'"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceNotFound(
            f"{source}: is neither a directory here nor a public repository on the hub; "
            "check the name, or set HF_TOKEN for a private one"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceNotFound(f"{source}: has no revision {quote(revision)}; check --revision") from error
    except errors.HFValidationError as error:
        raise SourceNotFound(f"{source}: is not a name that the hub allows; expected OWNER/NAME") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise SourceNotFound(
            f"{source}: is neither a directory here nor in the hub cache, and the hub cannot be reached; "
            "check the network, HF_ENDPOINT and HF_HUB_OFFLINE"
        ) from error
    except errors.HfHubHTTPError as error:
        raise SourceNotFound(
            f"{source}: the hub refused the download ({_first_line(error)}); try again later"
        ) from error
    except OSError as error:
        raise _storage_error(source, error) from error
    except Exception as error:  # Whatever HTTP client the library uses.
        raise SourceNotFound(
            f"{source}: the download failed ({_first_line(error)}); check the network and try again"
        ) from error


def _missing_bytes(source: str, revision: str | None) -> int | None:
    """Size of the files that the cache lacks; None when the hub does not say."""
    from huggingface_hub import HfApi, constants, errors, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        found = HfApi().model_info(source, revision=revision, files_metadata=True)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError):
        raise
    except Exception:  # The download that follows takes what the cache has, or says what is wrong.
        return None
    sizes = [
        file.size
        for file in found.siblings or ()
        if any(fnmatchcase(file.rfilename, pattern) for pattern in _PATTERNS)
        and not isinstance(try_to_load_from_cache(source, file.rfilename, revision=found.sha), str)
    ]
    return None if None in sizes else sum(size or 0 for size in sizes)


@contextmanager
def _watched(source: str, progress: Progress) -> Iterator[None]:
    """Report how the cache of ``source`` grows: the library's own progress bars are no interface."""
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{source.replace('/', '--')}" / "blobs"
    done = threading.Event()

    def size_bytes() -> int:
        total = 0
        for path in blobs.glob("*"):
            with suppress(OSError):  # renamed meanwhile
                total += path.stat().st_size
        return total

    def report() -> None:
        last = before
        while not done.wait(_POLL_S):
            now = size_bytes()
            progress.advance(max(0, now - last))
            last = max(now, last)
        progress.advance(max(0, size_bytes() - last))

    before = size_bytes()
    watcher = threading.Thread(target=report, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _storage_error(source: str, error: OSError) -> FeatherweightError:
    if error.errno is None:  # Errors of HTTP clients are OSErrors without a number.
        return SourceNotFound(f"{source}: the download failed ({_first_line(error)}); check the network and try again")
    return OutputFailed(f"{source}: the download cannot be stored ({error.strerror}); free space or set HF_HOME")


def _first_line(error: Exception) -> str:
    return quote((str(error).splitlines() or [type(error).__name__])[0])
