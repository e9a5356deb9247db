"""Small real model directories: random checkpoints with a working tokenizer, converted by the real pipeline.

python -m tests.model_directories ROOT FAMILY [DTYPE ...]      makes ROOT/FAMILY, such as a tiny gemma
"""

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from convert.dtypes import Dtype
from convert.pipeline import convert
from convert.progress import SilentProgress
from tests.families import decoders, encoders, tiny

LABELS = ("NEGATIVE", "NEUTRAL", "POSITIVE")
WORDS = [f"w{number}" for number in range(290)]
"""The words that the tokenizers know; word N has id N + 4."""
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
ROLES = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
"""What tokenizer_config.json of the encoders says."""


def save_tokenizer(directory: Path, *, marks: bool, vocab_size: int = 295) -> None:
    """Words split at spaces; ``marks`` puts [CLS] before and [SEP] after a text. [MASK] is the last word there is."""
    known = [*SPECIAL, *WORDS[: vocab_size - len(SPECIAL) - 1], "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    if marks:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    tokenizer.enable_truncation(5)  # as sentence-transformers ships it; nothing of ours may be misled by it
    tokenizer.enable_padding(length=5)
    tokenizer.save(str(directory / "tokenizer.json"))


def decoder(root: Path, *dtypes: Dtype) -> Path:
    """A llama of three layers at ``root``/decoder."""
    return _convert(root, "decoder", tiny.LLAMA, tiny.llama_shapes(tiny.LLAMA), dtypes, marks=False)


def family(root: Path, name: str, *dtypes: Dtype) -> Path:
    """The case ``name`` of tests/families/decoders.py at ``root``/``name``."""
    return _convert(root, name, decoders.CASES[name], decoders.shapes(name), dtypes, marks=False)


def encoder(root: Path, *dtypes: Dtype) -> Path:
    """A distilbert of three layers at ``root``/encoder."""
    return _convert(root, "encoder", tiny.DISTILBERT, tiny.distilbert_shapes(tiny.DISTILBERT), dtypes, marks=True)


def classifier_shapes() -> dict[str, tuple[int, ...]]:
    """Tensors of the classifier's checkpoint."""
    dim = tiny.DISTILBERT["dim"]
    body = {f"distilbert.{name}": shape for name, shape in tiny.distilbert_shapes(tiny.DISTILBERT).items()}
    head = {
        "pre_classifier.weight": (dim, dim),
        "pre_classifier.bias": (dim,),
        "classifier.weight": (len(LABELS), dim),
        "classifier.bias": (len(LABELS),),
    }
    return body | head


def classifier(root: Path, *dtypes: Dtype) -> Path:
    """The same with a head for LABELS at ``root``/classifier."""
    config = tiny.DISTILBERT | {
        "architectures": ["DistilBertForSequenceClassification"],
        "id2label": {str(number): label for number, label in enumerate(LABELS)},
    }
    return _convert(root, "classifier", config, classifier_shapes(), dtypes, marks=True)


def stored(root: Path, name: str, task: str, *dtypes: Dtype) -> Path:
    """The case ``name`` of make_encoder_vectors.py at ``root``/``name``-``task``."""
    source = encoders.save_checkpoint(root / f"{name}-{task}-checkpoint", name)
    save_tokenizer(source, marks=True, vocab_size=encoders.original(name)["config"]["vocab_size"])
    (source / "tokenizer_config.json").write_text(json.dumps(ROLES))
    convert(str(source), root / f"{name}-{task}", dtypes=dtypes, task=task, progress=SilentProgress())
    return root / f"{name}-{task}"


def _convert(
    root: Path, name: str, config: dict[str, Any], shapes: dict[str, Any], dtypes: tuple[Dtype, ...], *, marks: bool
) -> Path:
    source = tiny.save_checkpoint(root / f"{name}-checkpoint", config, tiny.random_weights(shapes))
    save_tokenizer(source, marks=marks)
    (source / "tokenizer_config.json").write_text(json.dumps({}))
    convert(str(source), root / name, dtypes=dtypes, progress=SilentProgress())
    return root / name


if __name__ == "__main__":
    print(family(Path(sys.argv[1]), sys.argv[2], *map(Dtype, sys.argv[3:])))
