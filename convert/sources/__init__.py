"""Resolves what the user names (a directory, a .gguf file, bundled:NAME, a hub id) to an open checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass

from convert.checkpoint.checkpoint import PICKLE_ADVICE, PICKLE_SUFFIXES, Checkpoint
from convert.checkpoint.untrusted import quote
from convert.errors import SourceNotFound, UnsupportedModel
from convert.progress import Progress
from convert.sources import bundled, directory, gguf_file, hub


@dataclass(frozen=True)
class Source:
    """A kind of source."""

    accepts: str
    """For people: what it looks like."""
    matches: Callable[[str], bool]
    open: Callable[[str, str | None, Progress], Checkpoint]
    """Takes the source, the revision and where to report; the revision is None unless ``revisions``."""
    revisions: bool = False
    """Whether a revision can be asked for."""


SOURCES: tuple[Source, ...] = (
    Source(f"bundled:NAME ({', '.join(bundled.BUNDLED)})", bundled.matches, bundled.open_bundled),
    Source("a directory with config.json and *.safetensors", directory.matches, directory.open_source),
    Source("a .gguf file", gguf_file.matches, gguf_file.open_source),
    Source("a hub id like OWNER/NAME", hub.matches, hub.open_source, revisions=True),
)
"""In the order in which they are tried; the first that matches opens."""


def resolve(source: str, *, revision: str | None, progress: Progress) -> Checkpoint:
    """Open ``source``; ``revision`` is a branch, tag or commit of a hub id, else None.

    Raises:
        SourceNotFound: it is nothing that can be opened or downloaded.
        UnsupportedModel: a pickle, an unsupported format, or a revision where there are none.
        BadCheckpoint: what is there is damaged, hostile or incomplete.
        OutputFailed: a download could not be stored.
    """
    if source.lower().endswith(PICKLE_SUFFIXES):
        raise UnsupportedModel(f"{source}: is a pickle file, which runs code when read; {PICKLE_ADVICE}")
    for kind in SOURCES:
        if kind.matches(source):
            if revision is not None and not kind.revisions:
                raise UnsupportedModel(
                    f"{source}: has no revisions, but {quote(revision)} was asked for; drop --revision"
                )
            return kind.open(source, revision, progress)
    accepted = "; ".join(kind.accepts for kind in SOURCES)
    raise SourceNotFound(f"{quote(source)}: is nothing that can be converted; expected one of: {accepted}")
