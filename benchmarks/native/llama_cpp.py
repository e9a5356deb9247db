"""Runs a GGUF file on native llama.cpp, from the PyPI package xllamacpp; its own timings."""

from typing import Any

import xllamacpp

from benchmarks.native.process import answer


class LlamaCpp:
    """A server object without a network."""

    def __init__(self, gguf: str, threads: int) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = gguf
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_parallel = 1024, 512, 512, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = 0
        params.verbosity = -1
        self._server = xllamacpp.Server(params)

    def generate(self, ids: list[int], new_tokens: int) -> tuple[int, float, float]:
        """See Decoder."""
        greedy = {"temperature": 0, "top_k": 1, "ignore_eos": True, "cache_prompt": False}
        found: Any = self._server.handle_completions({"prompt": ids, "n_predict": new_tokens + 1, **greedy})
        timings = found["timings"]
        return timings["prompt_n"], timings["prompt_ms"] / 1000, timings["predicted_ms"] / 1000


if __name__ == "__main__":
    answer(lambda options: LlamaCpp(**options))
