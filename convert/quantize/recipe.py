"""Owns recipes: which matrix of a quantized variant gets which bits, block size and method, by the names of tensors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from convert.checkpoint.untrusted import parse_json_object, quote, read_small_file
from convert.dtypes import BLOCK_SIZES
from convert.errors import UnsupportedModel

FLOAT = "float"
RULE_LIMIT = 10_000


class Method(StrEnum):
    """How weights are rounded to blocks."""

    RTN = "rtn"
    """To the nearest code of a scale that reaches the largest weight."""
    MSE = "mse"
    """To the nearest code of the scale that loses least, searched for each block."""
    GPTQ = "gptq"
    """So that little is lost of what the matrix makes of a calibration text."""


@dataclass(frozen=True)
class TensorFormat:
    """The format of one matrix."""

    bits: int | None
    """4 or 8; None keeps floats, as wide as the variant's activations."""
    block_size: int
    method: Method = Method.RTN
    take_over: bool = True
    """Blocks of a GGUF file that fit the format are kept as they are."""


@dataclass(frozen=True)
class Rule:
    """What a recipe says of the tensors whose names match ``pattern`` (``*``, ``?``, ``[...]``); None says nothing."""

    pattern: str
    bits: int | str | None = None
    block_size: int | None = None
    method: Method | None = None

    def apply(self, default: TensorFormat) -> TensorFormat:
        """``default`` with what the rule says; a rule that names a method has blocks rounded anew."""
        bits = default.bits if self.bits is None else None if self.bits == FLOAT else int(self.bits)
        changed = replace(default, bits=bits, block_size=self.block_size or default.block_size)
        return changed if self.method is None else replace(changed, method=self.method, take_over=False)


@dataclass(frozen=True)
class Recipe:
    """Rules in order; a later rule overrides an earlier one key by key."""

    rules: tuple[Rule, ...] = ()

    def format_of(self, tensor: str, default: TensorFormat) -> TensorFormat:
        """The format of ``tensor``, which is ``default`` where no rule says anything else."""
        for rule in self.rules:
            if fnmatchcase(tensor, rule.pattern):
                default = rule.apply(default)
        return default

    def speaks_of(self, tensor: str) -> bool:
        """Whether a rule matches ``tensor``."""
        return any(fnmatchcase(tensor, rule.pattern) for rule in self.rules)

    def check_used(self, tensors: Iterable[str]) -> None:
        """Raise UnsupportedModel when a rule matches none of ``tensors``, for it is most likely misspelt."""
        names = list(tensors)
        for rule in self.rules:
            if not any(fnmatchcase(name, rule.pattern) for name in names):
                example = f", such as {names[0]}" if names else ""
                raise UnsupportedModel(
                    f"the recipe's {quote(rule.pattern)} matches none of the {len(names)} matrices{example}; correct it"
                )


@dataclass(frozen=True)
class Formats:
    """The formats of all matrices of a quantized variant: the defaults, and the recipe that overrides them."""

    block_size: int | None
    """None leaves it to the family and the bits."""
    embedding_bits: int
    method: Method = Method.RTN
    recipe: Recipe = Recipe()


def read_recipe(path: Path) -> Recipe:
    """Read a recipe: a JSON object of pattern -> {"bits": 4 | 8 | "float", "block_size", "method"}.

    Raises:
        BadCheckpoint: the file cannot be read, is too long or not a JSON object.
        UnsupportedModel: it has a key or a value that is not known.
    """
    return parse_recipe(parse_json_object(read_small_file(path), str(path)), str(path))


def parse_recipe(document: Mapping[str, Any], name: str) -> Recipe:
    """A recipe from its JSON object; raises UnsupportedModel as `read_recipe` does, with ``name`` in the error."""
    if len(document) > RULE_LIMIT:
        raise UnsupportedModel(f"{name}: has {len(document)} rules, expected {RULE_LIMIT} at most")
    return Recipe(tuple(_rule(pattern, said, name) for pattern, said in document.items()))


_ALLOWED: dict[str, tuple[Any, ...]] = {"bits": (4, 8, FLOAT), "block_size": BLOCK_SIZES, "method": tuple(Method)}


def _rule(pattern: str, said: object, name: str) -> Rule:
    where = f"{name}: {quote(pattern)}"
    if not isinstance(said, dict) or not said:
        raise UnsupportedModel(f"{where} must be an object with one of {', '.join(_ALLOWED)}")
    for key, value in said.items():
        allowed = _ALLOWED.get(key)
        if allowed is None:
            raise UnsupportedModel(f"{where} has the unknown key {quote(key)}; known are {', '.join(_ALLOWED)}")
        if isinstance(value, bool | float) or value not in allowed:
            raise UnsupportedModel(f"{where} has {key} {quote(value)}; choose one of {', '.join(map(str, allowed))}")
    method = said.get("method")
    return Rule(pattern, said.get("bits"), said.get("block_size"), None if method is None else Method(method))


def as_document(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The JSON object of a recipe, which `parse_recipe` reads."""
    return {
        rule.pattern: {
            key: value
            for key, value in (("bits", rule.bits), ("block_size", rule.block_size), ("method", rule.method))
            if value is not None
        }
        for rule in recipe.rules
    }
