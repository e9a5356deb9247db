"""Recipes: later rules override earlier ones key by key, and what is not known is refused by name."""

import json
from pathlib import Path

import pytest

from convert.errors import FeatherweightError, UnsupportedModel
from convert.quantize.recipe import Method, Recipe, TensorFormat, as_document, parse_recipe, read_recipe

DEFAULT = TensorFormat(4, 32)


def test_later_rules_override_earlier_ones_key_by_key() -> None:
    recipe = parse_recipe(
        {
            "*": {"block_size": 64},
            "model.layers.?.mlp.*": {"bits": 8, "method": "mse"},
            "model.layers.[01].mlp.down_proj.weight": {"bits": "float"},
        },
        "recipe",
    )
    assert recipe.format_of("lm_head.weight", DEFAULT) == TensorFormat(4, 64)
    up = TensorFormat(8, 64, Method.MSE, take_over=False)
    assert recipe.format_of("model.layers.2.mlp.up_proj.weight", DEFAULT) == up
    down = TensorFormat(None, 64, Method.MSE, take_over=False)
    assert recipe.format_of("model.layers.1.mlp.down_proj.weight", DEFAULT) == down
    assert Recipe().format_of("anything", DEFAULT) is DEFAULT
    assert parse_recipe(as_document(recipe), "again") == recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected a JSON object"),
        ("{", "not valid JSON"),
        ('{"*": {"bits": 4}, "*": {"bits": 8}}', "appears twice"),
        ('{"*": {"bits": 4, "bitz": 8}}', "unknown key 'bitz'; known are bits, block_size, method"),
        ('{"*": {}}', "must be an object with one of"),
        ('{"*": 4}', "must be an object"),
        ('{"*": {"bits": 5}}', "has bits 5; choose one of 4, 8, float"),
        ('{"*": {"bits": true}}', "has bits True"),
        ('{"*": {"bits": 4.0}}', "has bits 4.0"),
        ('{"*": {"bits": [4]}}', r"has bits \[4\]"),
        ('{"*": {"block_size": 33}}', "choose one of 16, 32, 64, 128, 256"),
        ('{"*": {"method": "RTN"}}', "choose one of rtn, mse, gptq"),
        ('{"*": {"bits": NaN}}', "NaN"),
        (json.dumps({str(number): {"bits": 4} for number in range(10_001)}), "has 10001 rules"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_refuses_what_it_does_not_know(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(FeatherweightError, match=said):
        read_recipe(path)
    with pytest.raises(FeatherweightError, match="cannot be read"):
        read_recipe(tmp_path / "nothing.json")


def test_a_rule_that_matches_nothing_is_refused() -> None:
    recipe = parse_recipe({"*.down_proj.weight": {"bits": 8}, "*.dwon_proj.weight": {"bits": 8}}, "recipe")
    with pytest.raises(UnsupportedModel, match=r"'\*.dwon_proj.weight' matches none of the 2 matrices, such as a.up"):
        recipe.check_used(["a.up_proj.weight", "a.down_proj.weight"])


def test_a_pattern_that_backtracks_takes_no_time() -> None:
    recipe = parse_recipe({"*a" * 2000: {"bits": 8}}, "recipe")
    assert recipe.format_of("a" * 3999, DEFAULT).bits == 8
    assert recipe.format_of("a" * 1999 + "b", DEFAULT).bits == 4
