"""Owns the check that two names of one tied weight hold the same numbers."""

import numpy as np

from convert.checkpoint.tensor import LazyTensor
from convert.errors import BadCheckpoint
from convert.families.blocks.context import BuildContext
from convert.quantize.dense import CHUNK_BYTES, row_ranges


def check_tied(context: BuildContext, tensor: LazyTensor, name: str) -> None:
    """Hold the tensor ``name``, when the checkpoint has it too, to be the same as ``tensor``.

    Raises:
        BadCheckpoint: it differs, so one of the two would be lost.
    """
    if not context.has(name):
        return
    other = context.tensor(name, *tensor.shape)
    del context.used[name]  # one parameter, stored twice
    context.ignored.add(name)
    for start, stop in row_ranges(tensor.rows, 4 * tensor.shape[1], CHUNK_BYTES):
        if not np.array_equal(tensor.read_rows(start, stop), other.read_rows(start, stop), equal_nan=True):
            raise BadCheckpoint(
                f"tensor {name} differs from {tensor.name}, but tie_word_embeddings in config.json says that they are "
                "one; set it to false, or fetch the checkpoint again"
            )
