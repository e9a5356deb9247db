"""Owns what every block needs while one variant is built: the graph, the checkpoint and its number formats."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from onnx import TensorProto

from convert.checkpoint.checkpoint import Checkpoint
from convert.checkpoint.tensor import LazyTensor
from convert.checkpoint.untrusted import quote
from convert.dtypes import Dtype
from convert.errors import BadCheckpoint
from convert.graph.builder import GraphBuilder
from convert.quantize.block_size import USUAL, compact_block_size
from convert.quantize.compensations import Compensations
from convert.quantize.recipe import Method, Recipe, TensorFormat


@dataclass(frozen=True)
class Product:
    """What one matrix [out, width] is multiplied with: values of the graph, [..., width]."""

    width: int
    inputs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Matrix:
    """One matrix of the graph and the format that it has there."""

    tensor: LazyTensor
    kind: TensorFormat
    direct: bool
    """An embedding table or an output head, which acts on the whole hidden state and not on one term of it."""


@dataclass
class BuildContext:
    """State of one build; blocks add to ``graph`` and record which tensors they used."""

    graph: GraphBuilder
    checkpoint: Checkpoint
    dtype: Dtype
    block_size: int | None
    """Weights that share a scale; None leaves it to each matrix."""
    embedding_bits: int
    """Of embedding tables and output heads in quantized variants."""
    method: Method = Method.RTN
    recipe: Recipe = field(default_factory=Recipe)
    compact: bool = False
    """Spend few bytes on scales and vectors, in quantized variants of small models."""
    compensations: Compensations = field(default_factory=Compensations)
    products: dict[str, Product] = field(default_factory=dict)
    """By tensor; the matrices that a calibration can see the inputs of."""
    matrices: dict[str, Matrix] = field(default_factory=dict)
    """By tensor, what ``format_of`` decided."""
    used: dict[str, int] = field(default_factory=dict)
    imports: Counter[str] = field(default_factory=Counter)
    """Block-quantized matrices by how they were imported (see convert.quantize.nbits.Import)."""
    ignored: set[str] = field(default_factory=set)
    """Tensors that need no place in the graph."""
    block_sums: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def float_type(self) -> int:
        """ONNX data type of activations and of the KV cache."""
        return int(TensorProto.FLOAT16 if self.dtype.float16 else TensorProto.FLOAT)

    @property
    def float_numpy(self) -> type[np.floating]:
        """The same as a numpy type."""
        return np.float16 if self.dtype.float16 else np.float32

    def tensor(self, name: str, *shape: int) -> LazyTensor:
        """Look a tensor up and hold it to its shape.

        Raises:
            BadCheckpoint: the tensor is missing or has another shape than the config implies.
        """
        tensor = self.checkpoint.tensors.get(name)
        if tensor is None:
            raise BadCheckpoint(
                f"tensor {name} is missing from the checkpoint ({len(self.checkpoint.tensors)} tensors); "
                "download it again or check that config.json belongs to it"
            )
        if tensor.shape != shape:
            raise BadCheckpoint(f"tensor {name} has shape {list(tensor.shape)}, but config.json implies {list(shape)}")
        if tensor.dtype.startswith(("I", "U", "B8", "BOOL")):
            raise BadCheckpoint(f"tensor {name} has dtype {tensor.dtype}, expected floating-point weights")
        self.used[name] = prod(shape)
        return tensor

    def as_float(self, name: str) -> str:
        """A float16 initializer in the type of the activations; sessions fold the Cast of a constant."""
        if self.dtype.float16:
            return name
        return self.graph.node("Cast", [name], f"/constants/{name}/Cast", to=self.float_type)[0]

    def refuse_leftovers(self, known: str) -> None:
        """Hold the graph to use every tensor, except those whose names match the expression ``known``.

        Raises:
            BadCheckpoint: some tensors have no place, so the config describes another model.
        """
        names = self.checkpoint.tensors.keys() - self.used.keys() - self.ignored
        left = sorted(name for name in names if not re.fullmatch(known, name))
        if left:
            raise BadCheckpoint(
                f"tensor {quote(left[0])} has no place in the model that config.json describes ({len(left)} such "
                "tensors); check that config.json belongs to the checkpoint"
            )

    def format_of(
        self, tensor: LazyTensor, bits: int | None, *, direct: bool = False, looked_up: bool = False
    ) -> TensorFormat:
        """The format of the matrix ``tensor``, by default ``bits``; variants of floats (None) follow no recipe.

        ``looked_up`` says that nothing is multiplied by it.
        """
        kind = TensorFormat(bits, self.block_size or USUAL, self.method)
        if bits is not None:
            asked = self.recipe.format_of(tensor.name, kind).bits
            if asked is not None and self.compact and not self.block_size:
                kind = replace(kind, block_size=compact_block_size(asked, tensor.shape[1], looked_up=looked_up))
            kind = self.recipe.format_of(tensor.name, kind)
        self.matrices[tensor.name] = Matrix(tensor, kind, direct)
        return kind

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a tensor of that name."""
        return name in self.checkpoint.tensors

    @property
    def parameters(self) -> int:
        """Number of parameters of the tensors that the graph uses."""
        return sum(self.used.values())
