"""Owns calibration: what the matrices of a model are multiplied with when its fp32 graph reads a text."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ValueInfoProto

from convert import runtime
from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext, Product
from convert.graph.serialize import to_bytes, to_model
from convert.progress import Progress
from convert.quantize.dense import row_ranges
from convert.quantize.gptq import Compensation
from convert.shards import write_shards

WINDOW = 512
MAX_TOKENS = 16384
"""Of the text; more barely moves the second moments."""
GROUP_COLUMNS = 2048
"""Columns whose moments are taken together: 16 MiB in float32, and some times that in float64 to invert."""
PASS_BYTES = 512 << 20
"""Moments that are summed in one pass over the text."""

Moments = list[NDArray[np.float32]]
Inputs = tuple[str, ...]
"""Values of the graph that one matrix is multiplied with."""


class Calibration:
    """Second moments ``mean(x x^T)`` of the inputs of matrices, kept on disk until they are asked for."""

    def __init__(self, folder: Path, products: Mapping[str, Product]) -> None:
        self._folder = folder
        self._inputs = {tensor: tuple(product.inputs) for tensor, product in products.items()}
        self._numbers = {inputs: number for number, inputs in enumerate(dict.fromkeys(self._inputs.values()))}
        self._lock = Lock()
        self._latest = lru_cache(maxsize=1)(lambda number: Compensation(self._load(number)))

    def __contains__(self, tensor: object) -> bool:
        """Whether the inputs of that matrix were seen."""
        return tensor in self._inputs

    def moments(self, tensor: str) -> Moments:
        """Of the inputs of the matrix ``tensor``, in groups of columns [width, width]."""
        return self._load(self._numbers[self._inputs[tensor]])

    def compensation(self, tensor: str) -> Compensation:
        """The same, prepared for GPTQ; matrices that follow each other with the same input share it."""
        with self._lock:
            return self._latest(self._numbers[self._inputs[tensor]])

    def save(self, inputs: Inputs, moments: Moments) -> None:
        """Keep the moments of values of the graph."""
        np.savez(self._path(self._numbers[inputs]), *moments)

    def _load(self, number: int) -> Moments:
        with np.load(self._path(number)) as stored:
            return [stored[name] for name in stored.files]

    def _path(self, number: int) -> Path:
        return self._folder / f"moments{number}.npz"


@contextmanager
def calibrated(exact: BuildContext, context_length: int, text: str, progress: Progress) -> Iterator[Calibration]:
    """Run the fp32 graph ``exact`` on ``text`` and give the moments, for as long as the body runs.

    The graph's weights are written to a temporary directory first (4 bytes a parameter), and mapped from there.

    Raises:
        UnsupportedModel: the model is not fed with token ids alone.
        FeatherweightError: the text is too short.
    """
    assert exact.dtype is Dtype.FP32
    with tempfile.TemporaryDirectory(prefix="featherweight-") as name:
        folder = Path(name)
        calibration = Calibration(folder, exact.products)
        tokenizer = runtime.tokenizer_of(exact.checkpoint.files["tokenizer.json"], "tokenizer.json")
        window = min(WINDOW, context_length)
        texts = [ids for ids, _ in runtime.windows(tokenizer, text, window, MAX_TOKENS)]
        session = _session(exact, folder)
        widths = {tuple(product.inputs): product.width for product in exact.products.values()}
        passes = list(_passes(widths))
        progress.start("calibrate", len(passes) * sum(ids.nbytes for ids in texts))
        for batch in passes:
            for inputs, moments in _collect(session, texts, batch, progress).items():
                calibration.save(inputs, moments)
        del session
        yield calibration


def _session(exact: BuildContext, folder: Path) -> Any:
    """A session of the graph, with the inputs of its matrices as further outputs."""
    graphs = folder / "onnx"
    graphs.mkdir()
    shards = write_shards(exact.graph.initializers.values(), graphs, "model", on_bytes=lambda _: None)
    model = to_model(exact.graph, shards.locations)
    model.graph.output.extend(
        ValueInfoProto(name=value) for value in _distinct(product.inputs for product in exact.products.values())
    )
    path = graphs / "model.onnx"
    path.write_bytes(to_bytes(model))
    session = runtime.open_session(path)
    fed = runtime.whole_sequence(session, np.zeros(1, np.int64))
    other = [item.name for item in session.get_inputs() if item.name not in fed]
    if other:
        raise UnsupportedModel(f"calibration feeds token ids alone, but the graph wants {other[0]!r}; use --method mse")
    return session


def _distinct(groups: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(value for group in groups for value in group))


def _passes(widths: Mapping[Inputs, int]) -> Iterator[list[Inputs]]:
    """Inputs whose moments are summed at the same time, by their widths."""
    batch: list[Inputs] = []
    held_bytes = 0
    for inputs, width in widths.items():
        size_bytes = 4 * width * min(width, GROUP_COLUMNS)
        if batch and held_bytes + size_bytes > PASS_BYTES:
            yield batch
            batch, held_bytes = [], 0
        batch.append(inputs)
        held_bytes += size_bytes
    if batch:
        yield batch


def _collect(
    session: Any, texts: Sequence[NDArray[np.int64]], batch: Sequence[Inputs], progress: Progress
) -> dict[Inputs, Moments]:
    """Means over all tokens of ``texts``, and over the values of each input."""
    means: dict[Inputs, Moments] = {}
    names = _distinct(batch)
    tokens = sum(map(len, texts))
    for ids in texts:
        feed = runtime.whole_sequence(session, ids)
        found = dict(zip(names, runtime.run_to(session, names, feed), strict=True))
        for inputs in batch:
            rows = np.concatenate([found[name].reshape(-1, found[name].shape[-1]) for name in inputs])
            parts = [rows[:, start:stop] for start, stop in row_ranges(rows.shape[1], 1, GROUP_COLUMNS)]
            if inputs not in means:
                means[inputs] = [np.zeros((part.shape[1],) * 2, np.float32) for part in parts]
            for mean, part in zip(means[inputs], parts, strict=True):
                mean += part.T @ (part / np.float32(tokens * len(inputs)))
        progress.advance(ids.nbytes)
    return means
