"""Packing: which tokens stand in which block, and what is dropped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfpipe.data.corpus import pack_heldout_blocks, pack_training_blocks
from hfpipe.errors import DataError


def test_training_blocks_drop_only_the_tail() -> None:
    blocks = pack_training_blocks(np.arange(11, dtype=np.int32), 4, place="train")
    assert blocks.ids.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert blocks.dropped_tokens == 3
    assert blocks.tokens == 8


def test_too_little_text_for_a_block_is_refused() -> None:
    with pytest.raises(DataError) as error:
        pack_training_blocks(np.arange(5, dtype=np.int32), 8, place="train")
    assert str(error.value) == (
        "the data has 1 problem:\n"
        "  - train: 5 tokens: fewer than one block of block_size 8; lower block_size or add text"
    )


def test_heldout_blocks_overlap_by_one_and_pad_the_last() -> None:
    blocks = pack_heldout_blocks(np.arange(9, dtype=np.int32), 4, padding_id=99)
    assert blocks.ids.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 99]]
    assert blocks.padding == 1


@given(st.integers(1, 40), st.integers(2, 9))
def test_heldout_blocks_predict_every_token_but_the_first_once(length: int, block_size: int) -> None:
    blocks = pack_heldout_blocks(np.arange(length, dtype=np.int32), block_size, padding_id=-1)
    predicted = [token for block in blocks.ids.tolist() for token in block[1:] if token != -1]
    assert predicted == list(range(1, length))
    assert blocks.padding < block_size
