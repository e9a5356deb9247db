"""Makes tests/data/families/NAME.json with the original implementations, so that the tests need no torch.

    python -m tests.families.make_decoder_vectors [NAME ...]      (torch, transformers 4.57.6)

A file holds the shape of every tensor of the checkpoint, and the logits at some positions of one sequence.
"""

import json
import sys
from typing import Any

import numpy as np

from tests.families import tiny
from tests.families.decoders import CASES, DATA, POSITIONS, ids

DECIMALS = 5


def logits(config: dict[str, Any]) -> tuple[dict[str, list[int]], Any]:
    """Shapes of the tensors that a saved checkpoint has (tied ones once), and logits [positions, vocab]."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = {key: value for key, value in config.items() if key != "model_type"}
    parsed = AutoConfig.for_model(config["model_type"], **fields)
    model = AutoModelForCausalLM.from_config(parsed, attn_implementation="eager").double().eval()
    named = model.state_dict(keep_vars=True)
    tied = {id(named[name]) for name in ("lm_head.weight",) if parsed.tie_word_embeddings}
    first = {name: value for name, value in named.items() if name != "lm_head.weight" or id(value) not in tied}
    shapes = {name: list(value.shape) for name, value in first.items()}
    weights = tiny.random_weights({name: tuple(shape) for name, shape in shapes.items()})
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, strict=False)
    model.tie_weights()
    with torch.no_grad():
        found = model(torch.tensor([ids()])).logits[0, list(POSITIONS)]
    return shapes, found.numpy()


def write(name: str) -> None:
    """Write the file of one case."""
    import transformers

    shapes, found = logits(CASES[name])
    content = {
        "made_with": f"transformers {transformers.__version__}",
        "shapes": shapes,
        "logits": np.round(found, DECIMALS).tolist(),
    }
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
    print(name, "largest logit", np.abs(found).max())


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CASES:
        write(chosen)
