"""Makes tests/data/families/MODEL_TYPE.json with the original implementations, so that the tests need no torch.

    python -m tests.families.make_encoder_vectors [MODEL_TYPE ...]      (torch, transformers 4.57.6; no others of ours)

A file holds the config, the shape of every tensor of a checkpoint with all heads, and per task the inputs and outputs
of the original. The weights are not stored: `tiny.random_weights` makes them again from the shapes, in their order,
and the gain.
A new family is one function that returns that content, and one row of FAMILIES.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.families import tiny

DATA = Path(__file__).parent.parent / "data" / "families"
DECIMALS = 5
# Trained layers change their input by little; at 1 the noise of 4 bits grows from layer to layer.
GAIN = 0.5
TOKENS = 9
ENCODER_HEADS = {
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "fill-mask": "ForMaskedLM",
    "feature-extraction": "Model",
}
LABELS = {str(number): f"L{number}" for number in range(5)}
T5 = {
    "model_type": "t5",
    "d_model": 48,
    "d_kv": 16,
    "d_ff": 96,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 5,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "feed_forward_proj": "relu",
    "tie_word_embeddings": True,
    "vocab_size": 97,
    "is_encoder_decoder": True,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
BART = {
    "model_type": "bart",
    "d_model": 64,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 80,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 24,
    "activation_function": "gelu",
    "scale_embedding": False,
    "vocab_size": 97,
    "is_encoder_decoder": True,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}
SOURCE_TOKENS, TARGET_TOKENS = 17, 14
"""More than T5's largest distance."""


def bert() -> dict[str, Any]:
    config = {
        "model_type": "bert",
        "hidden_size": 64,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 97,
        "max_position_embeddings": 24,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    }
    return encoder("Bert", config, segments=True)


def distilbert() -> dict[str, Any]:
    config = {
        "model_type": "distilbert",
        "dim": 64,
        "hidden_dim": 80,
        "n_layers": 3,
        "n_heads": 4,
        "vocab_size": 97,
        "max_position_embeddings": 24,
        "activation": "gelu",
        "pad_token_id": 0,
    }
    return encoder("DistilBert", config)


def roberta() -> dict[str, Any]:
    config = {
        "model_type": "roberta",
        "hidden_size": 64,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 97,
        "max_position_embeddings": 24,
        "type_vocab_size": 1,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
    }
    return encoder("Roberta", config)


def albert() -> dict[str, Any]:
    config = {
        "model_type": "albert",
        "embedding_size": 48,
        "hidden_size": 64,
        "intermediate_size": 80,
        "num_hidden_layers": 6,
        "num_hidden_groups": 3,
        "inner_group_num": 2,
        "num_attention_heads": 4,
        "vocab_size": 97,
        "max_position_embeddings": 24,
        "type_vocab_size": 2,
        "hidden_act": "gelu_new",
        "pad_token_id": 0,
        "classifier_dropout_prob": 0.0,
    }
    return encoder("Albert", config, segments=True)


def t5() -> dict[str, Any]:
    return encoder_decoder("T5", T5)


def t5_gated() -> dict[str, Any]:
    return encoder_decoder("T5", T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False})


def bart() -> dict[str, Any]:
    return encoder_decoder("Bart", BART)


def bart_scaled() -> dict[str, Any]:
    return encoder_decoder("Bart", BART | {"scale_embedding": True, "activation_function": "relu"})


FAMILIES: dict[str, Callable[[], dict[str, Any]]] = {
    "albert": albert,
    "bert": bert,
    "distilbert": distilbert,
    "roberta": roberta,
    "t5": t5,
    "t5_gated": t5_gated,
    "bart": bart,
    "bart_scaled": bart_scaled,
}


def encoder(name: str, config: dict[str, Any], *, segments: bool = False) -> dict[str, Any]:
    """Every head of an encoder on three texts: a whole one, one padded behind, one padded before."""
    import transformers

    config |= {"id2label": LABELS, "label2id": {label: int(number) for number, label in LABELS.items()}}
    mask = np.ones((3, TOKENS), np.int64)
    mask[1, 6:] = 0
    mask[2, :2] = 0
    ids = np.random.default_rng(3).integers(5, config["vocab_size"], mask.shape)
    inputs = {"input_ids": np.where(mask, ids, config["pad_token_id"]), "attention_mask": mask}
    if segments:
        inputs["token_type_ids"] = np.broadcast_to(np.arange(TOKENS) > 3, mask.shape).astype(np.int64)
    models = {}
    for task, head in ENCODER_HEADS.items():
        unlabelled = {key: value for key, value in config.items() if key not in ("id2label", "label2id")}
        fields = config if task.endswith("classification") else unlabelled
        models[task] = tiny_model(getattr(transformers, name + head), fields)
    shapes: dict[str, tuple[int, ...]] = {}
    for task, model in models.items():
        if task != "feature-extraction":  # the same tensors without a prefix
            shapes |= stored_shapes(model)
    weights = tiny.random_weights(shapes, gain=GAIN)
    prefix = models["fill-mask"].base_model_prefix + "."
    tasks = {}
    for task, model in models.items():
        plain = {key.removeprefix(prefix): value for key, value in weights.items()}
        outputs = run(model, plain if task == "feature-extraction" else weights, inputs)
        outputs = {
            key: outputs[key] for key in ("logits", "start_logits", "end_logits", "last_hidden_state") if key in outputs
        }
        tasks[task] = {"inputs": listed(inputs), "outputs": listed(outputs)}
    return {"config": config, "prefix": prefix, "gain": GAIN, "shapes": shapes, "tasks": tasks}


def encoder_decoder(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """Logits of given answers to two texts, one of them padded."""
    import transformers

    rng = np.random.default_rng(3)
    mask = np.ones((2, SOURCE_TOKENS), np.int64)
    mask[1, 11:] = 0
    inputs = {
        "input_ids": np.where(mask, rng.integers(5, config["vocab_size"], mask.shape), config["pad_token_id"]),
        "attention_mask": mask,
        "decoder_input_ids": rng.integers(5, config["vocab_size"], (2, TARGET_TOKENS)),
    }
    inputs["decoder_input_ids"][:, 0] = config["decoder_start_token_id"]
    model = tiny_model(getattr(transformers, f"{name}ForConditionalGeneration"), config)
    shapes = stored_shapes(model)
    outputs = run(model, tiny.random_weights(shapes, gain=GAIN), inputs)
    kept = {key: outputs[key] for key in ("logits", "encoder_last_hidden_state")}
    tasks = {"text2text-generation": {"inputs": listed(inputs), "outputs": listed(kept)}}
    return {"config": config, "gain": GAIN, "shapes": shapes, "tasks": tasks}


def tiny_model(model_class: Any, config: dict[str, Any]) -> Any:
    """The original with random weights, in double precision."""
    fields = {key: value for key, value in config.items() if key != "model_type"}
    return model_class(model_class.config_class(**fields)).double().eval()


def stored_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a saved checkpoint has: tied ones once."""
    seen: set[int] = set()
    shapes = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            shapes[name] = tuple(tensor.shape)
    return shapes


def run(model: Any, weights: dict[str, NDArray[Any]], inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Outputs of the original with these weights."""
    import torch

    known = stored_shapes(model)
    state = {name: torch.from_numpy(weights[name]) for name in known if name in weights}
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    with torch.no_grad():
        outputs = model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items() if hasattr(value, "numpy")}


def listed(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays as JSON: nested lists, floats rounded to DECIMALS."""
    return {name: np.round(array, DECIMALS).tolist() for name, array in arrays.items()}


def write(model_type: str) -> None:
    """Write the file of one family."""
    import transformers

    content = {"made_with": f"transformers {transformers.__version__}", **FAMILIES[model_type]()}
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / f"{model_type}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or FAMILIES:
        write(chosen)
