"""From text to token shards: train or load a tokenizer, encode, write and read shards.

- `settings.py`  TokenizerSettings: what a recipe says of the tokenizer, and the split patterns by name
- `bpe.py`       train a byte-level BPE, load an existing tokenizer.json or tiktoken file
- `config.py`    the files that make a folder load in `transformers`, chat template included
- `encode.py`    Encoder: text to ids with the fastest engine that gives the same ids as `tokenizers`
- `parts.py`     which part (train or validation) a document belongs to
- `contract.py`  what a token shard is, and TokenShard, its reader: needs pyarrow and numpy, nothing else
- `shards.py`    TokenShardWriter
- `export.py`    shards to the `.bin` files of llm.c-style loaders

May be imported from here: the names in `__all__`, each loaded when it is first asked for, so that reading a
shard never imports a tokenizer library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.tokens.bpe import in_sample, load, sample_share, shortfall, train
    from pipeline.tokens.config import tokenizer_files
    from pipeline.tokens.contract import RowGroup, ShardHeader, TokenShard
    from pipeline.tokens.encode import Encoder
    from pipeline.tokens.export import export_bin
    from pipeline.tokens.parts import part_of
    from pipeline.tokens.settings import TokenizerSettings
    from pipeline.tokens.shards import TokenShardWriter

__all__ = [
    "Encoder",
    "RowGroup",
    "ShardHeader",
    "TokenShard",
    "TokenShardWriter",
    "TokenizerSettings",
    "export_bin",
    "in_sample",
    "load",
    "part_of",
    "sample_share",
    "shortfall",
    "tokenizer_files",
    "train",
]

_HOME = {
    "Encoder": "encode",
    "RowGroup": "contract",
    "ShardHeader": "contract",
    "TokenShard": "contract",
    "TokenShardWriter": "shards",
    "TokenizerSettings": "settings",
    "export_bin": "export",
    "in_sample": "bpe",
    "load": "bpe",
    "part_of": "parts",
    "sample_share": "bpe",
    "shortfall": "bpe",
    "tokenizer_files": "config",
    "train": "bpe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
