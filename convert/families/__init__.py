"""Finds the family that builds a model: one row per Hugging Face ``model_type``, imported when it is asked for."""

from importlib import import_module
from typing import cast

from convert.errors import UnsupportedModel
from convert.families.family import Family

# model_type -> module; a new family is one file and one row.
FAMILIES = {
    "albert": "convert.families.albert",
    "bart": "convert.families.bart",
    "bert": "convert.families.bert",
    "distilbert": "convert.families.distilbert",
    "gemma": "convert.families.gemma",
    "gemma2": "convert.families.gemma2",
    "gemma3_text": "convert.families.gemma3_text",
    "gpt2": "convert.families.gpt2",
    "llama": "convert.families.llama",
    "mistral": "convert.families.mistral",
    "phi3": "convert.families.phi3",
    "qwen2": "convert.families.qwen2",
    "qwen3": "convert.families.qwen3",
    "roberta": "convert.families.roberta",
    "smollm3": "convert.families.smollm3",
    "t5": "convert.families.t5",
}


def find_family(model_type: str) -> Family:
    """Return the family of a ``model_type``.

    Raises:
        UnsupportedModel: no family has that name.
    """
    module = FAMILIES.get(model_type)
    if module is None:
        raise UnsupportedModel(
            f"model_type {model_type!r} in config.json is not supported; supported: {', '.join(sorted(FAMILIES))}"
        )
    return cast(Family, import_module(module).FAMILY)
