"""Graphs of other exporters: weights in files beside them are read, and refused in one sentence where they are not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convert.checkpoint.onnx_file import open_onnx
from convert.errors import BadCheckpoint

WEIGHT = np.arange(96 * 2, dtype=np.float32).reshape(96, 2)


def write(folder: Path, **external: str) -> Path:
    """A graph whose one weight is said to lie at ``external``; it is at the start of ``data``."""
    weight = numpy_helper.from_array(WEIGHT, "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in external.items():
        weight.external_data.add(key=key, value=value)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 96), ("y", 2))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    (folder / "data").write_bytes(WEIGHT.tobytes())
    onnx.save(helper.make_model(graph), folder / "model.onnx")
    return folder / "model.onnx"


def test_weights_beside_the_graph_are_read(tmp_path: Path) -> None:
    read = open_onnx(write(tmp_path, location="data")).weights["w"].read()
    np.testing.assert_array_equal(read, WEIGHT)


@pytest.mark.parametrize(
    ("external", "said"),
    [
        ({"location": "data", "offset": "4"}, "does not hold the weight 'w'"),
        ({"location": "data", "offset": "-4"}, "does not hold the weight 'w'"),
        ({"location": "data", "offset": "x"}, "does not hold the weight 'w'"),
        ({"location": "other"}, "does not hold the weight 'w'"),
        ({"location": "../data"}, "outside"),
        ({"location": "/etc/passwd"}, "outside"),
    ],
)
def test_rejects_weights_that_are_not_there(tmp_path: Path, external: dict[str, str], said: str) -> None:
    with pytest.raises(BadCheckpoint, match=said) as error:
        open_onnx(write(tmp_path, **external))
    assert "\n" not in str(error.value)


def test_rejects_a_link_that_leads_outside(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = write(folder, location="data")
    (folder / "data").rename(tmp_path / "data")
    (folder / "data").symlink_to("../data")
    with pytest.raises(BadCheckpoint, match="outside"):
        open_onnx(path)


@pytest.mark.parametrize("length", [0, 10, 100])
def test_rejects_a_truncated_graph(tmp_path: Path, length: int) -> None:
    path = write(tmp_path, location="data")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BadCheckpoint, match="is no ONNX graph that can be read") as error:
        open_onnx(path)
    assert "\n" not in str(error.value)
