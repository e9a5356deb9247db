"""Which kind of source a name is, and what is said when it is none."""

import pytest

from convert.errors import SourceNotFound, UnsupportedModel
from convert.sources import SOURCES, resolve


@pytest.mark.parametrize("source", ["nothing", "", "a/b/c", "no such thing", "../up", "model.safetensors"])
def test_rejects_unknown_source_and_lists_what_is_accepted(source, progress):
    with pytest.raises(SourceNotFound) as error:
        resolve(source, revision=None, progress=progress)
    for kind in SOURCES:
        assert kind.accepts in str(error.value)
    assert "smollm2-135m-instruct" in str(error.value)


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt", "pkl", "PT"])
def test_rejects_pickle_by_name_without_opening_it(suffix, progress, tmp_path):
    path = tmp_path / f"model.{suffix}"
    for _ in ("missing", "there"):
        with pytest.raises(UnsupportedModel, match=r"is a pickle file, .*safetensors"):
            resolve(str(path), revision=None, progress=progress)
        path.write_bytes(b"\x80\x04.")


def test_rejects_revision_of_what_has_none(checkpoint_directory, progress):
    with pytest.raises(UnsupportedModel, match="has no revisions, but 'v1' was asked for; drop --revision"):
        resolve(str(checkpoint_directory), revision="v1", progress=progress)
    with pytest.raises(UnsupportedModel, match="has no revisions"):
        resolve("bundled:minilm-distilbert", revision="v1", progress=progress)


def test_directory_wins_over_hub_id(checkpoint_directory, progress, monkeypatch):
    monkeypatch.chdir(checkpoint_directory.parent.parent)
    source = f"{checkpoint_directory.parent.name}/{checkpoint_directory.name}"
    with resolve(source, revision=None, progress=progress) as checkpoint:
        assert checkpoint.provenance["kind"] == "safetensors"
