"""A text encoder as a folder that sentence-transformers opens, and transformers without it."""

import json
from pathlib import Path
from typing import Any

import torch

from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.shipped import Shipped, Side
from lightning_contrast.data.text_collate import TextCollate
from lightning_contrast.data.tokenizer import TextTokenizer
from lightning_contrast.encoders.lora import merged
from lightning_contrast.encoders.text import TextEncoder

TEXTS = 4
_MODES = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}


def write_text_folder(folder: Path, shipped: Shipped, data: Any) -> None:
    """Weights, tokenizer, pooling, prompts and normalisation.

    Raises:
        UserError: for anything but a TextEncoder without a head, on data with a tokenizer.
    """
    encoder = shipped.encoder
    tokenizer = getattr(data, "tokenizer", None)
    if type(encoder) is not TextEncoder or not isinstance(tokenizer, TextTokenizer):
        raise UserError(
            f"--out without an ending is a folder of sentence-transformers, for a TextEncoder on data with a TextTokenizer; these "
            f"are {type(encoder).__name__} and {type(data).__name__}: use .safetensors or .onnx."
        )
    if shipped.head is not None:
        raise UserError("--head: a folder of sentence-transformers has none here; leave it out, or use .onnx.")
    folder.mkdir()
    transformer: Any = merged(encoder.transformer) if encoder.adapted else encoder.transformer
    transformer.save_pretrained(str(folder))
    tokenizer.save(folder)
    steps = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if encoder.normalize or shipped.normalize:
        steps.append(("2_Normalize", "Normalize"))
    for place, _ in steps[1:]:
        (folder / place).mkdir()
    pooling = {f"pooling_mode_{mode}": name == encoder.pooling for name, mode in _MODES.items()}
    _json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": encoder.output_dim, **pooling, "include_prompt": data.include_prompt},
    )
    _json(
        folder / "modules.json",
        [
            {"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.models.{kind}"}
            for number, (place, kind) in enumerate(steps)
        ],
    )
    _json(folder / "sentence_bert_config.json", {"max_seq_length": tokenizer.max_length, "do_lower_case": False})
    prompts = {"query": data.query_prompt, "document": data.document_prompt}
    _json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "prompts": prompts,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )


def differences(folder: Path, shipped: Shipped, data: Any, side: Side) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Embeddings of real texts, found and wanted: by this package, and by sentence-transformers where it is installed."""
    texts = some_texts(data, side)
    prompt = data.query_prompt if side == "query" else data.document_prompt
    prompts, opened_tokens = [prompt] * len(texts), TextTokenizer(str(folder))
    reads = [TextCollate(tokens, include_prompt=data.include_prompt).read for tokens in (data.tokenizer, opened_tokens)]
    again = TextEncoder(str(folder)).eval()
    with torch.inference_mode():
        wanted = shipped(reads[0](texts, prompts))
        pairs = [(again(reads[1](texts, prompts)), wanted)]
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return pairs
    opened = SentenceTransformer(str(folder), device="cpu")
    found = opened.encode(texts, prompt_name=side, convert_to_tensor=True, show_progress_bar=False)
    return [*pairs, (found.cpu(), wanted)]


def some_texts(data: Any, side: Side) -> list[str]:
    """A few real texts of one side."""
    held = data.bank_dataloader().dataset  # training texts, as they are: the one split that is always there
    items = [held[number] for number in range(min(TEXTS, len(held)))]
    name = side if side in items[0] else "input"
    return [item[name] for item in items]


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
