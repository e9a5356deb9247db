"""Owns the whole of a verification: files, graphs, and one real run of every variant that is sound so far."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert import manifest as manifests
from convert.errors import BadModelDirectory
from convert.manifest import Manifest, Variant
from convert.progress import Progress
from convert.verification.files import check_files
from convert.verification.graph import check_graph
from convert.verification.problem import Problem
from convert.verification.session import DecoderSession, EncoderSession

PREFILL_TOKENS = 4
ENCODER_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked and what was found; ``variants_run`` names the dtypes that ran."""

    model_id: str
    files: int
    size_bytes: int
    variants_run: tuple[str, ...]
    problems: tuple[Problem, ...]


def verify(model_dir: Path, progress: Progress) -> Verification:
    """Check ``model_dir`` and report every problem.

    Raises BadModelDirectory when its manifest is missing or bad, for then there is nothing to check against.
    """
    manifest = manifests.load(model_dir)
    problems = list(check_files(model_dir, manifest, progress))
    damaged = {problem.path for problem in problems}
    ran = []
    progress.start("run variants", sum(variant.weight_bytes for variant in manifest.variants))
    for variant in manifest.variants:
        progress.message(variant.dtype)
        if not damaged.intersection((variant.graph, *variant.shards)):
            found = list(check_graph(model_dir, variant)) or list(_check_run(model_dir, manifest, variant))
            problems += found
            if not found:
                ran.append(str(variant.dtype))
        progress.advance(variant.weight_bytes)
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    return Verification(manifest.model.id, len(manifest.files), size_bytes, tuple(ran), tuple(problems))


def _check_run(model_dir: Path, manifest: Manifest, variant: Variant) -> Iterator[Problem]:
    check = _run_encoder if manifest.model.kv_cache is None else _run_decoder
    try:
        yield from (Problem(variant.graph, problem) for problem in check(model_dir, manifest, variant))
    except BadModelDirectory as error:
        yield Problem(variant.graph, str(error).removeprefix(f"{variant.graph}: "))


def _run_decoder(model_dir: Path, manifest: Manifest, variant: Variant) -> Iterator[str]:
    model, session = manifest.model, DecoderSession(model_dir, variant)
    cache = model.kv_cache
    assert cache is not None
    for tokens, keep, past in ((PREFILL_TOKENS, 0, 0), (1, 1, PREFILL_TOKENS)):
        logits = session.run(_token_ids(tokens, model.vocab_size), keep)
        what = "prefill" if past == 0 else "decode"
        yield from _check_output(f"logits after {what}", logits, (tokens, model.vocab_size))
        arrays = session.cache_arrays()
        if len(arrays) != 2 * cache.layers:
            yield f"has {len(arrays)} cache inputs, but the manifest says {cache.layers} layers"
        for array in arrays:
            yield from _check_output(
                f"KV cache after {what}", array, (1, cache.kv_heads, past + tokens, cache.head_dim)
            )


def _run_encoder(model_dir: Path, manifest: Manifest, variant: Variant) -> Iterator[str]:
    model, session = manifest.model, EncoderSession(model_dir, variant)
    ids = _token_ids(ENCODER_TOKENS, model.vocab_size)[None]
    output = session.run(ids, np.ones_like(ids))
    shape = (1, len(model.labels)) if model.labels else (1, ENCODER_TOKENS, *output.shape[2:])
    yield from _check_output("output", output, shape)


def _token_ids(count: int, vocab_size: int) -> NDArray[np.int64]:
    return np.arange(1, count + 1, dtype=np.int64) % vocab_size


def _check_output(name: str, array: NDArray[np.floating], shape: tuple[int, ...]) -> Iterator[str]:
    if array.shape != shape:
        yield f"{name}: has shape {list(array.shape)}, expected {list(shape)}"
    if not np.isfinite(array).all():
        yield f"{name}: holds values that are not finite"
