"""A tokenizer trained on a small multilingual corpus and its encoder, each made once."""

from __future__ import annotations

import pytest

from pipeline.tokens import Encoder, TokenizerSettings, train
from tests.tokens.token_texts import corpus


@pytest.fixture(scope="session")
def settings() -> TokenizerSettings:
    return TokenizerSettings(vocab_size=800)


@pytest.fixture(scope="session")
def tokenizer_json(settings: TokenizerSettings) -> bytes:
    return train(corpus(300), settings)


@pytest.fixture(scope="session")
def encoder(tokenizer_json: bytes) -> Encoder:
    return Encoder(tokenizer_json)
