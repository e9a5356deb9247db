"""Owns the activation functions of feed-forward layers, by the names that Hugging Face configs use."""

from typing import Any

from convert.errors import UnsupportedModel
from convert.families.blocks.context import BuildContext
from convert.graph.builder import MICROSOFT

# Contrib operators, because every provider has a kernel of them. QuickGelu with alpha = 1 is SiLU: x * sigmoid(x);
# FastGelu is GELU with tanh in place of erf.
_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "silu": ("QuickGelu", {"alpha": 1.0}),
    "gelu": ("Gelu", {}),
    "gelu_new": ("FastGelu", {}),
    "gelu_pytorch_tanh": ("FastGelu", {}),
}


def activation(context: BuildContext, value: str, name: str, path: str) -> str:
    """Apply the activation ``name`` element by element.

    Raises:
        UnsupportedModel: there is no operator of that name.
    """
    if name not in _OPERATORS:
        raise UnsupportedModel(
            f"hidden_act={name!r} in config.json is not supported; supported: {', '.join(sorted(_OPERATORS))}"
        )
    operator, attributes = _OPERATORS[name]
    return context.graph.node(operator, [value], f"{path}/{operator}", domain=MICROSOFT, **attributes)[0]
