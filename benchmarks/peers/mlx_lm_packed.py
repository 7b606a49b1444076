"""mlx-lm on the very weights of the file, packed as they are, with float32 scales."""

import importlib
import time
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten
from protocol import Single, serve

from mistralrs_mlx import Which
from mistralrs_mlx.cpu.linear import unpacked
from mistralrs_mlx.loaders.load import load
from mistralrs_mlx.loaders.sources import gguf_checkpoint
from mistralrs_mlx.text.tokenizer import Tokenizer


class MlxLm:
    def __init__(self, model: str, *, dense: bool = False) -> None:
        path = Path(model)
        which = Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name)
        checkpoint = gguf_checkpoint(which, token_source="none", told=lambda *_: None)
        self._tokenizer = Tokenizer.from_assets(checkpoint.text)
        self._generate: Any = importlib.import_module("mlx_lm.generate")
        kind = checkpoint.config["model_type"]
        architecture: Any = importlib.import_module(f"mlx_lm.models.{kind}")
        self._model = architecture.Model(architecture.ModelArgs.from_dict(checkpoint.config))
        _transplant(load(checkpoint).model, self._model, dense=dense)
        mx.eval(self._model.parameters())

    def one(self, text: str, tokens: int) -> Single:
        prompt = mx.array(self._tokenizer.encode_prompt(text))
        began = time.perf_counter()
        ids, stamps = [], []
        for token, _ in self._generate.generate_step(prompt, self._model, max_tokens=tokens):
            ids.append(int(token))
            stamps.append(time.perf_counter())
        return Single(
            prompt_tokens=prompt.size,
            tokens=len(ids),
            prompt_seconds=stamps[0] - began,
            seconds=stamps[-1] - stamps[0],
            text=self._tokenizer.decode(ids),
        )

    def many(self, texts: list[str], tokens: int) -> float:
        prompts = [self._tokenizer.encode_prompt(text) for text in texts]
        began = time.perf_counter()
        batch = self._generate.BatchGenerator(self._model, max_tokens=tokens)
        batch.insert(prompts)
        left = len(prompts)
        while left:
            _, answers = batch.next()
            left -= sum(answer.finish_reason is not None for answer in answers)
        batch.close()
        return time.perf_counter() - began


def _transplant(ours: nn.Module, theirs: nn.Module, *, dense: bool) -> None:
    """Give their model the layers of ours in MLX's own classes, and the rest of the weights."""
    forms = {nn.QuantizedLinear: nn.Linear, nn.QuantizedEmbedding: nn.Embedding}
    layers = {
        path: _as(form if not dense else forms[form], layer)
        for path, layer in ours.named_modules()
        for form in forms
        if isinstance(layer, form)
    }
    theirs.update_modules(tree_unflatten(list(layers.items())))
    weights = tree_flatten(ours.parameters())
    kept = [(path, x) for path, x in weights if path.rpartition(".")[0] not in layers]
    theirs.load_weights(kept, strict=False)


def _as(form: type[nn.Module], layer: nn.Module) -> nn.Module:
    made: Any = form.__new__(form)
    nn.Module.__init__(made)
    if form in (nn.Linear, nn.Embedding):
        made.weight = unpacked(layer).astype(mx.float32)
        return made
    for name in ("weight", "scales", "biases", "group_size", "bits", "mode"):
        made[name] = layer[name] if name in layer else vars(layer)[name]
    return made


if __name__ == "__main__":
    serve(MlxLm)
