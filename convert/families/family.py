"""Owns what a model family is to the pipeline: its tasks, its default dtypes and the function that builds its graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
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


@dataclass(frozen=True)
class Family:
    """One row of the registry."""

    tasks: tuple[str, ...]
    default_dtypes: tuple[Dtype, ...]
    build: Callable[[BuildContext, str], ModelFacts]


def read_config(config_class: Callable[..., Config], config: Mapping[str, Any]) -> Config:
    """Fill a frozen dataclass with the Hugging Face fields of the same names.

    Raises:
        UnsupportedModel: a required field is missing.
    """
    known = {item.name for item in fields(config_class)}  # type: ignore[arg-type]
    try:
        return config_class(**{key: value for key, value in config.items() if key in known})
    except TypeError as error:
        missing = sorted(known - config.keys())
        raise UnsupportedModel(
            f"config.json lacks a required field (absent: {', '.join(missing)}); is it the checkpoint's own?"
        ) from error
