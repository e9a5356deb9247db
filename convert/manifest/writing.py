"""Owns the making of a manifest: assembled from what was written, checked, and put into its place."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from convert.errors import BadModelDirectory
from convert.manifest.reading import parse
from convert.manifest.records import NAME, Manifest, Model, Variant, VariantSpec
from convert.shards import FileEntry


def build(
    *,
    model: Model,
    source: Mapping[str, str],
    files: Iterable[FileEntry],
    variants: Iterable[VariantSpec],
    quality: Mapping[str, Mapping[str, float | str]] | None = None,
) -> Manifest:
    """Assemble a manifest from what was written, and check it as strictly as one that is read.

    Files that no variant names as graph or shard are shared: every variant's client fetches them first, in the order
    of their paths. Raises BadModelDirectory when the parts contradict each other.
    """
    entries = {entry.path: entry for entry in files}
    specs = tuple(variants)
    owned = {path for spec in specs for path in spec.own_files}
    shared = sorted(entries.keys() - owned)
    listed = []
    for spec in specs:
        paths = (*shared, *spec.own_files)
        if missing := [path for path in paths if path not in entries]:
            raise BadModelDirectory(f"variant {spec.dtype} names {missing[0]!r}, which is not among the files written")
        own = {each.name: getattr(spec, each.name) for each in fields(VariantSpec)}
        sizes = {entries[path].sha256: entries[path].size_bytes for path in paths}
        listed.append(Variant(**own, files=paths, download_bytes=sum(sizes.values())))
    manifest = Manifest(model=model, source=source, files=entries, variants=tuple(listed), quality=quality or {})
    return parse(manifest.to_bytes())


def write(manifest: Manifest, directory: Path) -> Path:
    """Write manifest.json into ``directory`` atomically: temporary name, fsync, rename. Call it last.

    Raises OSError when the disk refuses; the temporary file is then removed.
    """
    target = directory / NAME
    temporary = directory / f".{NAME}.{os.getpid()}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(manifest.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return target
