"""The masks stage: the quads must move with the pixels that the network sees, and empty tubes are legal."""

import hashlib

import numpy as np
import pytest
from pydantic import ValidationError

from models.geometry import box_to_quad, coverage, flip_coverage, tube_mask
from models.geometry.rle import pack_runs
from tasks import masks
from tasks.masks import MasksConfig, PixelMasks, build_masks, is_empty

FRAME = (455, 256)


def standing(box: tuple[float, float, float, float], athletes: int = 1) -> np.ndarray:
    """An athlete who does not move: (A, 103, 4, 2)."""
    return np.broadcast_to(box_to_quad(box), (athletes, 103, 4, 2))


def test_shapes_dtypes_and_counts() -> None:
    made = build_masks(standing((200, 60, 260, 200)), FRAME, MasksConfig())
    assert {name: (array.shape, array.dtype.name) for name, array in made.items()} == {
        "coverage": ((103, 14, 14), "float32"),
        "mask": ((10, 4, 14, 14), "bool"),
        "omega": ((10,), "int32"),
    }
    np.testing.assert_array_equal(made["omega"], made["mask"].sum(axis=(1, 2, 3)))
    assert not is_empty(made)


def test_grid_lies_over_the_crop() -> None:
    """A box of exactly the crop's cell (row 2, column 5): 16 px cells beginning at the crop's corner (116, 16)."""
    left, top = 116 + 5 * 16, 16 + 2 * 16
    made = build_masks(standing((left, top, left + 16, top + 16)), FRAME, MasksConfig())
    expected = np.zeros((14, 14))
    expected[2, 5] = 1
    np.testing.assert_allclose(made["coverage"], np.broadcast_to(expected, (103, 14, 14)), atol=1e-6)
    assert (made["omega"] == 4).all()


def test_moving_pixels_and_moving_cells_agree() -> None:
    """Painted boxes, cropped as the network's frames are, are found by the mask in the very same cells."""
    corners = np.random.default_rng(3).integers((60, 0), (300, 200), size=(103, 2))
    boxes = np.concatenate([corners, corners + np.array([70, 50])], axis=1)
    made = build_masks(box_to_quad(boxes)[None], FRAME, MasksConfig())
    for box, covered in zip(boxes[::17], made["coverage"][::17], strict=True):
        frame = np.zeros((256, 455))
        frame[box[1] : box[3], box[0] : box[2]] = 1
        crop = frame[16:240, 116:340]
        np.testing.assert_allclose(covered, crop.reshape(14, 16, 14, 16).mean(axis=(1, 3)), atol=1e-6)


def test_athletes_are_united() -> None:
    one, other = standing((130, 30, 180, 120)), standing((250, 100, 320, 230))
    config = MasksConfig()
    both = build_masks(np.concatenate([one, other]), FRAME, config)["mask"]
    alone = [build_masks(quads, FRAME, config)["mask"] for quads in (one, other)]
    np.testing.assert_array_equal(both, alone[0] | alone[1])
    assert alone[0].any()
    assert alone[1].any()


@pytest.mark.parametrize("box", [(220, 100, 224, 104), (0, 0, 50, 50), (300, 60, 300, 60)])
def test_an_empty_tube_is_legal(box: tuple[float, float, float, float]) -> None:
    """Too distant, outside the crop, or without area: no positions, no error."""
    made = build_masks(standing(box), FRAME, MasksConfig())
    assert is_empty(made)
    assert not made["mask"].any()
    assert (made["omega"] == 0).all()


def test_stored_coverage_answers_for_another_configuration() -> None:
    quads = standing((180, 40, 270, 215))
    config = MasksConfig(tau=0.2, starts=(0, 50), segment_length=8, stride=2, grid=(7, 7), crop=200)
    made = build_masks(quads, FRAME, config)
    assert made["mask"].shape == (2, 4, 7, 7)
    np.testing.assert_array_equal(made["mask"], tube_mask(made["coverage"], 0.2, (0, 50), 8, 2))
    shifted = quads[0] - np.array([128, 28])  # (455 - 200) / 2 = 127.5 goes to the even pixel
    np.testing.assert_allclose(made["coverage"], coverage(shifted, (7, 7), (200, 200)), atol=1e-6)


@pytest.mark.parametrize(
    ("quads", "message"),
    [
        (np.zeros((0, 103, 4, 2)), "at least one athlete"),
        (np.zeros((103, 4, 2)), "at least one athlete"),
        (np.full((1, 103, 4, 2), np.nan), "finite"),
        (np.zeros((1, 50, 4, 2)), "do not fit into 50 frames"),
    ],
)
def test_bad_quads(quads: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_masks(quads, FRAME, MasksConfig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": 0}, "greater than 0"),
        ({"tau": 1.5}, "less than or equal to 1"),
        ({"grid": (0, 14)}, "at least one row"),
        ({"starts": ()}, "at least one frame"),
        ({"starts": (-1, 5)}, "counted from 0"),
        ({"stride": 5}, "must divide segment_length"),
        ({"tua": 0.5}, "Extra inputs"),
        ({"source": "masks"}, "'quad' or 'mask'"),
        ({"source": "mask", "geometry": "released"}, "source mask goes with geometry paper only"),
    ],
)
def test_bad_configuration(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MasksConfig(**change)  # type: ignore[arg-type]


MASK = MasksConfig(source="mask")


def drawn(boxes: list[tuple[int, int, int, int] | None]) -> list[np.ndarray | None]:
    """Masks (256, 455) of one athlete's frames: whole-pixel boxes, or None."""
    masks: list[np.ndarray | None] = []
    for box in boxes:
        mask = np.zeros((256, 455), bool)
        if box is not None:
            mask[box[1] : box[3], box[0] : box[2]] = True
        masks.append(mask if box is not None else None)
    return masks


def pixels(masks: list[np.ndarray | None]) -> PixelMasks:
    packed = pack_runs(masks)
    return PixelMasks(packed["rle"], packed["rle_offsets"])


def test_masks_instead_of_quads_and_athletes_united() -> None:
    """The quads lie elsewhere, so what is found comes from the masks; the first frame's quad is the given box."""
    quads = np.concatenate([standing((120, 20, 150, 50)), standing((120, 20, 150, 50))])
    one, other = (148, 48, 196, 128), (228, 112, 292, 224)   # edges of cells
    masks = [*drawn([None, *[one] * 102]), *drawn([None, *[other] * 102])]
    made = build_masks(quads, FRAME, MASK, pixels(masks))
    both = build_masks(np.concatenate([standing(one), standing(other)]), FRAME, MasksConfig())
    np.testing.assert_array_equal(made["coverage"][1:], both["coverage"][1:])
    np.testing.assert_array_equal(made["mask"][1:], both["mask"][1:])
    first = build_masks(quads, FRAME, MasksConfig())
    np.testing.assert_array_equal(made["coverage"][0], first["coverage"][0])
    assert {name: array.dtype.name for name, array in made.items()} == {
        "coverage": "float32", "mask": "bool", "omega": "int32",
    }  # fmt: skip


def test_a_lost_frame_has_the_last_quad_as_a_tube_of_quads_has() -> None:
    """Fifty frames in sight, the rest lost: the middle of the clip is not left without an athlete."""
    quads, box = standing((148, 48, 228, 160)), (164, 64, 212, 160)
    made = build_masks(quads, FRAME, MASK, pixels(drawn([box] * 50 + [None] * 53)))
    by_quad, by_mask = (build_masks(standing(each), FRAME, MasksConfig()) for each in ((148, 48, 228, 160), box))
    np.testing.assert_array_equal(made["coverage"][:50], by_mask["coverage"][:50])
    np.testing.assert_array_equal(made["coverage"][50:], by_quad["coverage"][50:])
    assert made["omega"].all()


def test_a_mirrored_mask_is_a_mirrored_tube() -> None:
    """What training's flip does to coverage is right for coverage of masks."""
    rows, columns = np.mgrid[:256, :455]
    blob = (columns - 170) ** 2 / 30**2 + (rows - 110) ** 2 / 70**2 < 1
    mirrored = np.zeros_like(blob)
    mirrored[:, 116:340] = blob[:, 116:340][:, ::-1]   # within the crop, as the pixels are flipped
    quads = standing((150, 40, 190, 180))
    one, other = (build_masks(quads, FRAME, MASK, pixels([mask] * 103))["coverage"] for mask in (blob, mirrored))
    np.testing.assert_allclose(flip_coverage(one), other, atol=1e-6)
    assert not np.allclose(one, other)


def test_masks_that_are_wanted_and_not_there() -> None:
    quads = standing((150, 40, 190, 180))
    with pytest.raises(ValueError, match="from masks, and there are none"):
        build_masks(quads, FRAME, MASK)
    with pytest.raises(ValueError, match="a mask has 60 pixels, a frame of 455x256 has 116480"):
        build_masks(quads, FRAME, MASK, pixels([np.ones((6, 10), bool)] * 103))


def test_keys_of_tubes_made_from_quads_stay_as_they_were() -> None:
    """The field came later: at its default it enters no key."""
    before = {"tau", "grid", "crop", "starts", "segment_length", "stride", "geometry"}
    assert MasksConfig().key_view().keys() == before
    assert MASK.key_view().keys() == {*before, "source"}


def test_output_moves_only_with_the_stage_version() -> None:
    """If this fails, what the stage writes has changed: raise STAGE_VERSION, then put the new digest here."""
    frame = np.arange(103, dtype=np.float64)[:, None, None]
    quads = np.array([[150, 40], [220, 70], [200, 170], [130, 140]]) + frame * np.array([0.7071, 0.2357])
    made = build_masks(quads[None], FRAME, MasksConfig())
    digest = hashlib.sha256(np.round(made["coverage"] * 4096).astype(np.int32).tobytes() + made["mask"].tobytes())
    assert (masks.STAGE_VERSION, digest.hexdigest()[:16]) == (1, "445092b50bcda253")
