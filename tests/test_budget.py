"""Mixed precision under a size: the download fits, more room takes no bit away, and bits go where they matter."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.budget import Choice, _worth_it, within
from convert.dtypes import Dtype
from convert.errors import UnsupportedModel
from convert.pipeline import ConversionReport, convert
from convert.progress import SilentProgress
from convert.quantize.recipe import Recipe, Rule, parse_recipe
from convert.shards import lay_out, write_shards
from convert.verification import verify_model
from tests import model_directories
from tests.families import tiny
from tests.model_directories import WORDS

TEXT = " ".join(WORDS[number] for number in np.random.default_rng(3).integers(0, len(WORDS), 300))
LOUD = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama checkpoint with one matrix in which a few weights are far larger than their neighbours."""
    weights = tiny.random_weights(tiny.llama_shapes(tiny.LLAMA))
    weights[LOUD][:, ::32] *= 8
    folder = tiny.save_checkpoint(tmp_path_factory.mktemp("budget") / "checkpoint", tiny.LLAMA, weights)
    model_directories.save_tokenizer(folder, marks=False)
    return folder


def converted(source: Path, out: Path, target_bytes: int | None, **options: Any) -> ConversionReport:
    return convert(str(source), out, dtypes=[Dtype.Q4], target_bytes=target_bytes, progress=SilentProgress(), **options)


def test_a_target_is_met_and_more_room_gives_no_bit_back(source: Path, tmp_path: Path) -> None:
    plain = converted(source, tmp_path / "plain", None).manifest.variant("q4").download_bytes
    before: dict[str, Rule] = {}
    sizes = []
    for number, extra in enumerate((0, 30_000, 30_001, 60_000, 10**9)):
        report = converted(source, tmp_path / str(number), plain + extra)
        sizes.append(report.manifest.variant("q4").download_bytes)
        assert sizes[-1] <= plain + extra
        rules = {rule.pattern: rule for rule in report.recipe.rules}
        for pattern, rule in before.items():
            assert isinstance(rule.bits, int)
            kept = rules[pattern]
            assert isinstance(kept.bits, int)
            assert (kept.bits, -(kept.block_size or 0)) >= (rule.bits, -(rule.block_size or 0))
        before = rules
    assert sizes == sorted(sizes)
    assert sizes[1] > plain - 5_000
    assert {rule.bits for rule in before.values()} == {8}
    assert verify_model(tmp_path / "1", SilentProgress()).problems == []
    again = converted(source, tmp_path / "again", None, recipe=report.recipe, model_id="4")
    assert again.manifest.to_bytes() == report.manifest.to_bytes()


def test_bits_go_where_rounding_loses_most(source: Path, tmp_path: Path) -> None:
    plain = converted(source, tmp_path / "plain", None).manifest.variant("q4").download_bytes
    for name, text in (("weights", None), ("calibrated", TEXT)):
        report = converted(source, tmp_path / name, plain + 9_000, calibration_text=text)
        bits = {rule.pattern: rule.bits for rule in report.recipe.rules}
        assert bits[LOUD] == 8
        assert bits["model.layers.0.mlp.up_proj.weight"] == 4


def test_what_a_recipe_says_is_left_alone(source: Path, tmp_path: Path) -> None:
    recipe = parse_recipe({"*.k_proj.weight": {"bits": "float"}, LOUD: {"bits": 4}}, "recipe")
    report = converted(source, tmp_path / "out", 10**9, recipe=recipe)
    bits = {rule.pattern: rule.bits for rule in report.recipe.rules[2:]}
    assert LOUD not in bits
    assert not any("k_proj" in name for name in bits)
    assert report.manifest.variant("q4").cost.per_token["linear_float"].macs > 0


def test_a_target_that_cannot_be_met_leaves_nothing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"make a download of \d+ bytes, more than the 1000"):
        converted(source, tmp_path / "out", 1000)
    with pytest.raises(UnsupportedModel, match="one quantized variant"):
        convert(str(source), tmp_path / "out", dtypes=[Dtype.FP32], target_bytes=10**9, progress=SilentProgress())
    assert list(tmp_path.iterdir()) == []


def choice(size_bytes: int, loss: float) -> Choice:
    return Choice(Rule("x", bits=size_bytes), size_bytes, loss)


def test_only_formats_on_the_hull_are_worth_their_bytes() -> None:
    found = [choice(4, 0.5), choice(8, 0.0), choice(5, 0.6), choice(6, 0.4), choice(5, 0.3), choice(9, 0.0)]
    assert _worth_it(found) == [choice(4, 0.5), choice(5, 0.3), choice(8, 0.0)]
    assert _worth_it([choice(5, 0.0), choice(4, 0.0)]) == [choice(4, 0.0)]


def test_each_byte_goes_where_it_saves_most() -> None:
    table = {
        "a": [Choice(Rule("a", bits=4), 4, 0.4), Choice(Rule("a", bits=8), 8, 0.0)],
        "b": [Choice(Rule("b", bits=4), 40, 0.5), Choice(Rule("b", bits=8), 80, 0.0)],
    }
    sizes = {("a", 4): 4, ("a", 8): 8, ("b", 4): 40, ("b", 8): 80}

    def size_of(recipe: Recipe) -> int:
        return sum(sizes[rule.pattern, int(rule.bits or 0)] for rule in recipe.rules)

    chosen = {target: size_of(within(table, size_of, target)) for target in (44, 47, 48, 87, 88, 200)}
    assert chosen == {44: 44, 47: 44, 48: 48, 87: 48, 88: 88, 200: 88}


class Piece:
    def __init__(self, name: str, nbytes: int) -> None:
        self.name, self.nbytes = name, nbytes

    def chunks(self) -> Any:
        yield bytes(self.nbytes)


def test_the_layout_is_known_before_anything_is_written(tmp_path: Path) -> None:
    sizes = np.random.default_rng(4).integers(0, 9000, 40).tolist()
    pieces = [Piece(f"t{number}", size) for number, size in enumerate([*sizes, 20_000, 0, 20_000])]
    written = write_shards(pieces, tmp_path, "model", limit_bytes=20_000, on_bytes=lambda _: None)
    locations, total_bytes = lay_out(pieces, "model", limit_bytes=20_000)
    assert locations == written.locations
    assert total_bytes == sum(entry.size_bytes for entry in written.files)
