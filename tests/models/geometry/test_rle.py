"""Masks as run lengths."""

import numpy as np
import pytest

from models.geometry.rle import decode_mask, encode_mask, pack_runs, unpack_runs


def test_runs_go_down_the_columns_and_begin_with_zeros():
    assert encode_mask(np.asarray([[0, 1, 1], [0, 0, 1]], bool)).tolist() == [2, 1, 1, 2]
    assert encode_mask(np.asarray([[1, 0], [1, 0]], bool)).tolist() == [0, 2, 2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (13, 29), (0, 5)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_there_and_back(shape, share):
    mask = np.random.default_rng(1).random(shape) < share
    runs = encode_mask(mask)
    assert runs.dtype == np.uint32
    np.testing.assert_array_equal(decode_mask(runs, shape), mask)


def test_many_masks_in_two_arrays():
    masks = [np.eye(4, 5, dtype=bool), None, np.zeros((4, 5), bool), np.ones((4, 5), bool)]
    packed = pack_runs(masks)
    assert packed["rle_offsets"].tolist() == [0, 9, 9, 10, 12]
    for index, mask in enumerate(masks):
        found = unpack_runs(packed["rle"], packed["rle_offsets"], index, (4, 5))
        if mask is None:
            assert found is None
        else:
            np.testing.assert_array_equal(found, mask)
    assert pack_runs([])["rle_offsets"].tolist() == [0]


def test_runs_of_another_mask_are_refused():
    with pytest.raises(ValueError, match="sum to 4, a mask of 3x2 pixels needs 6"):
        decode_mask(np.asarray([1, 3], np.uint32), (3, 2))
    with pytest.raises(ValueError, match="uint8"):
        encode_mask(np.zeros((2, 2), np.uint8))  # type: ignore[arg-type]
