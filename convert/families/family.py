"""Owns what a model family is to the pipeline: its tasks, its default dtypes and the function that builds its graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from convert.checkpoint.untrusted import quote
from convert.dtypes import Dtype
from convert.errors import BadCheckpoint, UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.kv_cache import KvCache

Config = TypeVar("Config")


@dataclass(frozen=True)
class ModelFacts:
    """What the manifest tells about a model beyond its files.

    ``activation_width`` is the number of activation elements alive per token in the widest layer.
    """

    context_length: int
    vocab_size: int
    activation_width: int
    kv_cache: KvCache | None = None
    labels: tuple[str, ...] | None = None


Build: TypeAlias = Callable[[BuildContext, str], ModelFacts]
"""Adds the graph for a task to the context."""


@dataclass(frozen=True)
class Family:
    """One row of the registry; one with a ``build_decoder`` is an encoder-decoder, and ``build`` makes its encoder."""

    tasks: tuple[str, ...]
    default_dtypes: tuple[Dtype, ...]
    build: Build
    build_decoder: Build | None = None
    compact: bool = False
    """Whether its models are so small that scales and vectors weigh (`BuildContext.compact`)."""

    @property
    def graphs(self) -> Mapping[str, Build]:
        """By the name of the file, as Transformers.js asks for it; the last one makes what the model is asked for."""
        if self.build_decoder is None:
            return {"model": self.build}
        return {"encoder_model": self.build, "decoder_model_merged": self.build_decoder}


def read_config(config_class: type[Config], config: Mapping[str, Any]) -> Config:
    """Fill a frozen dataclass with the Hugging Face fields of the same names.

    Raises:
        UnsupportedModel: a required field is missing.
        BadCheckpoint: a field has a value of another type than the dataclass says, or a number that is no size.
    """
    known = get_type_hints(config_class)
    found = {key: value for key, value in config.items() if key in known}
    for key, value in found.items():
        if not _fits(value, known[key]):
            raise BadCheckpoint(
                f"config.json has {key}: {quote(value)}, expected {_spoken(known[key])}; "
                "fetch it from where the weights are from"
            )
    try:
        return config_class(**found)
    except TypeError as error:
        missing = sorted(known - config.keys())
        raise UnsupportedModel(
            f"config.json lacks a required field (absent: {', '.join(missing)}); is it the checkpoint's own?"
        ) from error


def _fits(value: object, kind: Any) -> bool:
    """Whether a JSON value is of a type annotation; whole numbers are sizes, so not negative."""
    if isinstance(kind, UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    plain = get_origin(kind) or kind
    if plain in (int, float):
        allowed = int if plain is int else int | float
        return isinstance(value, allowed) and not isinstance(value, bool) and 0 <= value < float("inf")
    if plain is list and isinstance(value, list):
        return all(_fits(item, part) for part in get_args(kind) for item in value)
    return isinstance(value, plain)


def _spoken(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", NoneType: "null"}
    parts = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return " or ".join(names.get(part, "a list" if get_origin(part) is list else "an object") for part in parts)
