"""The loader: nothing lost, the same on any number of ranks, resumed to the row, and picky."""

import hashlib
import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch

from model import data
from model.data import Loader, Source, all_rows, permutation
from model.dataset import TokenDataset
from model.packing import IGNORED, PACKERS, Window
from model.vocabulary import Vocabulary
from pipeline.errors import GristmillError
from tests.model.datasets import lengths, publish, tokenizer_json

T = 32


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return publish(tmp_path_factory.mktemp("data") / "ds")


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    monkeypatch.setattr(data, "WINDOW_TOKENS", 1)  # a row group is a window: an epoch has several


def loader(dataset, **changes):
    return Loader(**({"sources": [Source(str(dataset))], "seq_len": T, "batch_rows": 8} | changes))


def rows_of(batch):
    return [
        hashlib.sha256(np.stack(row).tobytes()).hexdigest() for row in zip(batch.inputs, batch.targets, strict=True)
    ]


def documents(count=300, seed=0):
    sizes = lengths(count, seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return np.arange(offsets[-1]).astype(np.uint32) + 1, offsets.astype(np.int64)


@pytest.mark.parametrize("packing", ["bestfit", "concat"])
def test_every_token_is_a_target_once_behind_the_one_before_it(packing):
    tokens, offsets = documents()
    window = Window(tokens, offsets, 0, T, packing, range)
    block = np.empty((len(window), 3, T), np.int64)
    for row in range(len(window)):
        window.fill(row, *block[row])
    inputs, targets = block[:, 0].ravel(), block[:, 1].ravel()
    counted = targets != IGNORED
    expected = Counter({int(token): 1 for token in tokens}) + Counter({0: len(offsets) - 1})
    assert Counter(targets[counted].tolist()) == expected
    # Tokens are numbered on: each but a document's first stands behind the one before.
    firsts = set(tokens[offsets[:-1]].tolist())
    for seen, wanted in zip(inputs[counted].tolist(), targets[counted].tolist(), strict=True):
        assert (wanted == 0 and seen in set(tokens[offsets[1:] - 1].tolist())) or (
            seen == 0 if wanted in firsts else seen == wanted - 1
        )
    for row in block[:, 2]:
        assert (np.diff(row) >= 0).all()


def test_best_fit_pads_less_than_a_five_hundredth():
    tokens, offsets = documents(4000)
    window = Window(tokens, offsets, 0, 256, "bestfit", range)
    slots = len(window) * 256
    assert 1 - sum(window.slots(row) for row in range(len(window))) / slots < 0.002


def test_cropping_loses_tokens_and_no_row_has_room():
    tokens, offsets = documents(4000)
    rows = PACKERS["bestfit_crop"](offsets + np.arange(len(offsets)), 64)
    assert all(sum(piece.length for piece in row) == 64 for row in rows[:-1])
    assert all(piece.length <= 64 for row in rows for piece in row)
    assert sum(piece.length for row in rows for piece in row) < 0.95 * len(tokens)


def test_ranks_see_one_batch_between_them(dataset):
    whole = [rows_of(batch) for batch in islice(loader(dataset), 12)]
    for world in (2, 4):
        parts = [islice(loader(dataset, rank=rank, world=world), 12) for rank in range(world)]
        for number, batches in enumerate(zip(*parts, strict=True)):
            merged = [row for group in zip(*(rows_of(batch) for batch in batches), strict=True) for row in group]
            assert merged == whole[number]
            assert len({batch.tokens for batch in batches}) == 1


@pytest.mark.parametrize("mixture", [False, True])
def test_resume_at_every_step_on_any_number_of_ranks(tmp_path, mixture):
    dataset = publish(tmp_path / "a", documents=24, validation=0)
    sources = [Source(str(dataset), 2)] + ([Source(str(publish(tmp_path / "b", seed=3)), 1)] if mixture else [])
    first = loader(dataset, sources=sources)
    batches, states = [], []
    for batch in first:
        batches.append(rows_of(batch))
        states.append(json.loads(json.dumps(first.state_dict())))
        if states[-1]["positions"][0]["epoch"] == 1 and states[-1]["positions"][0]["window"] == 1:
            break
    for step, state in enumerate(states[:-1]):
        world = (1, 2, 4)[step % 3]
        again = loader(dataset, sources=sources, rank=0, world=world)
        again.load_state_dict(state)
        assert rows_of(next(iter(again))) == batches[step + 1][::world]
    assert len(states) > 10


def test_what_was_made_ahead_is_not_lost(dataset):
    one = loader(dataset)
    iterator = iter(one)
    taken = [rows_of(next(iterator)) for _ in range(3)]
    iterator.close()
    taken += [rows_of(batch) for batch in islice(one, 3)]
    assert taken == [rows_of(batch) for batch in islice(loader(dataset), 6)]


def test_epochs_and_seeds_have_orders_of_their_own(dataset):
    per_epoch = len(list(all_rows(TokenDataset(str(dataset)), T)))
    seen = [row for batch in islice(loader(dataset, batch_rows=1), 2 * per_epoch) for row in rows_of(batch)]
    first, second = seen[:per_epoch], seen[per_epoch:]
    assert sorted(first) == sorted(second)
    assert first != second
    assert [rows_of(batch) for batch in islice(loader(dataset, seed=1), 2)] != [seen[:8], seen[8:16]]
    assert permutation(5, 0, 1) == permutation(5, 0, 1)
    assert sorted(permutation(100, 3)) == list(range(100))


def test_weights_count_tokens(dataset, tmp_path):
    other = publish(tmp_path / "other", documents=30, shards=1, seed=9)
    mixed = loader(dataset, sources=[Source(str(dataset), 3), Source(str(other), 1)])
    for _ in islice(mixed, 30):
        pass
    assert mixed.shares()[str(other)] == pytest.approx(0.25, abs=0.01)
    assert mixed.epochs()[str(other)] > mixed.epochs()[str(dataset)]
    assert Source.parse("a/b=0.045") == ("a/b", 0.045)
    assert Source.parse("s3://x?y=z") == ("s3://x?y=z", 1.0)


def test_a_batch_tells_its_documents(dataset):
    one = loader(dataset)
    batch = list(islice(one, 5))[-1]
    known = TokenDataset(str(dataset))
    encoded = {}
    for group in known.groups:
        found = known.read(group)
        encoded |= dict(zip(known.ids(group), (set(d.tolist()) for d in found.documents()), strict=True))
    for row, names in enumerate(one.documents(batch)):
        inside = set().union(*(encoded[name] for name in names)) | {known.header.eot_id}
        assert set(batch.inputs[row].tolist()) <= inside


def test_bytes_a_token_add_up_to_the_text():
    vocabulary = Vocabulary(tokenizer_json())
    text = "Äpfel, Öl und Maß. 東京は日本の首都です。 👩‍👧 ok"
    assert int(vocabulary.bytes_per_token[vocabulary.encode(text)].sum()) == len(text.encode())
    added = json.loads(vocabulary.tokenizer_json)["added_tokens"]
    assert added
    assert not vocabulary.bytes_per_token[[token["id"] for token in added]].any()


def test_bad_data_is_refused_with_its_reason(tmp_path):
    folder = publish(tmp_path / "ds", documents=12, shards=2)
    with pytest.raises(GristmillError, match="no published dataset"):
        loader(tmp_path)
    with pytest.raises(GristmillError, match=r"vocabulary of \d+ is larger"):
        loader(folder).require(100, T)
    with pytest.raises(GristmillError, match="longer than the model's context"):
        loader(folder).require(512, T - 1)
    with pytest.raises(GristmillError, match="the model's is"):
        loader(folder).require(512, T, "0" * 64)
    with pytest.raises(GristmillError, match="cannot be shared evenly"):
        loader(folder, batch_rows=3, world=2)
    other = publish(tmp_path / "other", documents=12, shards=1, vocab_size=300)
    with pytest.raises(GristmillError, match="another tokenizer"):
        loader(folder, sources=[Source(str(folder)), Source(str(other))])
    (folder / "tokenizer/tokenizer.json").write_bytes(b"{}")
    with pytest.raises(GristmillError, match="not the tokenizer that made the shards"):
        _ = TokenDataset(str(folder)).tokenizer_json
    shard = folder / "tokens/train-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-20])
    with pytest.raises(GristmillError, match="bytes, the manifest says"):
        loader(folder, checksums=False)
    shard.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(GristmillError, match="SHA-256"):
        loader(folder)
    shard.unlink()
    with pytest.raises(GristmillError, match="missing"):
        loader(folder)


def test_damage_that_no_checksum_was_asked_for_stops_the_iterator(tmp_path):
    folder = publish(tmp_path / "ds", documents=60, shards=1)
    shard = folder / "tokens/train-00000.parquet"
    whole = bytearray(shard.read_bytes())
    whole[len(whole) // 2 - 200] ^= 1
    whole[600] ^= 1
    shard.write_bytes(whole)
    with pytest.raises(GristmillError):
        list(islice(loader(folder, checksums=False), 3))


def test_an_empty_shard_is_passed_over_and_an_empty_dataset_refused(tmp_path):
    with pytest.raises(GristmillError, match="no token"):
        loader(publish(tmp_path / "none", documents=0, shards=1, validation=0))
    with pytest.raises(GristmillError, match="no validation token shards"):
        TokenDataset(str(publish(tmp_path / "one", documents=3, shards=1, validation=0)), "validation")


def test_resuming_over_other_data_says_what_changed(dataset, tmp_path):
    state = loader(dataset).state_dict()
    with pytest.raises(GristmillError, match="seed: 0 then, 5 now"):
        loader(dataset, seed=5).load_state_dict(state)
    with pytest.raises(GristmillError, match="shards"):
        loader(publish(tmp_path / "x", seed=8)).load_state_dict(state)


def test_batches_are_int64_and_of_their_shape(dataset):
    batch = next(iter(loader(dataset, world=2, rank=1)))
    assert batch.inputs.shape == batch.targets.shape == batch.doc_ids.shape == (4, T)
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
