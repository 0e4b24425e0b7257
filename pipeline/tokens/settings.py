"""TokenizerSettings: what a recipe says of the tokenizer."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.settings import OWN_FILES

# How text is cut before merging, by the name under which the pattern is known. llama.cpp accepts each of them
# (`tokenizer.ggml.pre` = qwen2, llama-bpe, gpt-2, gpt-4o), so a model trained on such tokens can be exported.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
PATTERNS = {
    "qwen2": rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}",
    "llama3": rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}",
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "o200k": (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_CONTRACTIONS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
PATTERNS["cl100k"] = PATTERNS["llama3"]

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
PAD = "<|pad|>"
SPECIALS = (END_OF_TEXT, IM_START, IM_END, PAD, *(f"<|reserved_{n}|>" for n in range(12)))


class TokenizerSettings(BaseModel):
    """A tokenizer to train on a sample of the survivors, or an existing one to use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = Field(
        None,
        description="Existing tokenizer to use instead of training: a tokenizer.json, a folder that holds "
        "one, or a tiktoken file of ranks; path or URL",
        json_schema_extra=OWN_FILES,
    )
    vocab_size: int = Field(
        32768,
        ge=257,
        le=1 << 22,
        description="Tokens in all: 256 bytes, merges and special tokens; not asked with path",
    )
    sample_bytes: int = Field(
        100_000_000,
        gt=0,
        description="UTF-8 bytes of text to train on, about; the sample is chosen by hash of record_id",
    )
    seed: int = Field(0, description="Seed of the training sample")
    min_frequency: int = Field(2, ge=1, description="A pair is merged only if the sample holds it this often")
    max_token_chars: int = Field(
        64, ge=1, le=1024, description="Words longer than this are trained on in pieces, so no token is longer"
    )
    pattern: str | None = Field(
        None,
        min_length=1,
        description=f"How text is split before merging: {', '.join(PATTERNS)} or a regular expression; by "
        "default qwen2, for a tiktoken file what its number of ranks is known for",
    )
    specials: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        SPECIALS, min_length=1, description="Special tokens, in the order of their ids, after the merges"
    )
    end_of_text: str | None = Field(
        None,
        description="Special token that ends a document; by default the one known to do so",
    )
    model_max_length: int = Field(
        131_072,
        gt=0,
        description="Tokens after which `transformers` warns that a text is long; limits nothing here",
    )

    @model_validator(mode="after")
    def _check(self) -> TokenizerSettings:
        if len(set(self.specials)) < len(self.specials):
            raise ValueError("specials holds a token twice")
        if self.path is None and self.vocab_size < 256 + len(self.specials):
            raise ValueError(f"vocab_size must hold the 256 bytes and the {len(self.specials)} special tokens")
        if self.path is None and self.end_of_text is not None and self.end_of_text not in self.specials:
            raise ValueError("end_of_text must be one of specials")
        return self

    @property
    def regex(self) -> str:
        """The split pattern as a regular expression."""
        pattern = self.pattern or "qwen2"
        return PATTERNS.get(pattern, pattern)
