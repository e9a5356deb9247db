"""Owns the hub source: fetches the files of a repository that we read, none that would run code, and opens them."""

import re
from dataclasses import replace
from pathlib import Path

from convert.checkpoint.checkpoint import Checkpoint
from convert.checkpoint.pooling import MODULES_NAME, SENTENCE_CONFIG_NAME
from convert.checkpoint.safetensors import INDEX_NAME
from convert.checkpoint.untrusted import quote
from convert.errors import FeatherweightError, OutputFailed, SourceNotFound
from convert.progress import Progress
from convert.sources.directory import OPTIONAL_FILES, REQUIRED_FILES, WEIGHTS_NAME, open_directory

_HUB_ID = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)
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

    progress.start("download", None)
    progress.message(source)
    try:
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


def _storage_error(source: str, error: OSError) -> FeatherweightError:
    if error.errno is None:  # Errors of HTTP clients are OSErrors without a number.
        return SourceNotFound(f"{source}: the download failed ({_first_line(error)}); check the network and try again")
    return OutputFailed(f"{source}: the download cannot be stored ({error.strerror}); free space or set HF_HOME")


def _first_line(error: Exception) -> str:
    return quote((str(error).splitlines() or [type(error).__name__])[0])
