"""Owns one variant under measurement: its session, its tokenizer and the errors that running it may give."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert import manifest, runtime
from convert.errors import BadModelDirectory, UnsupportedModel


@dataclass(frozen=True)
class OpenVariant:
    """A variant of a model directory, ready to run."""

    model: manifest.Model
    tokenizer: Any
    session: Any

    def run(self, feed: dict[str, Any], outputs: list[str] | None = None) -> Any:
        """The outputs of one run, the first output where none is named; raises BadModelDirectory."""
        try:
            found = self.session.run(outputs, feed)
        except Exception as error:  # onnxruntime's errors have no common public base
            raise BadModelDirectory(f"onnxruntime cannot run the model: {error}; try 'featherweight verify'") from error
        return found if outputs else found[0]


def open_variant(model_dir: Path, dtype: str, task: str) -> OpenVariant:
    """Open the variant ``dtype`` of a model that is for ``task``.

    Raises:
        UnsupportedModel: the model is for another task.
        BadModelDirectory: the variant is not there, or onnxruntime refuses it.
    """
    content = manifest.load(model_dir)
    if content.model.task != task:
        raise UnsupportedModel(f"{model_dir}: is a {content.model.task} model; this measure needs {task}")
    graph = model_dir / content.variant(dtype).graph
    try:
        session = runtime.open_session(graph)
    except Exception as error:  # as above
        raise BadModelDirectory(f"{graph}: onnxruntime refuses it: {error}") from error
    return OpenVariant(content.model, runtime.load_tokenizer(model_dir / "tokenizer.json"), session)
