"""Quads, boxes, coverage and tube masks: the geometry of tubes, in continuous pixels (see `models.geometry.quads`)."""

from models.geometry.quads import (
    box_to_quad,
    coverage,
    crop_origin,
    flip_quads,
    order_clockwise,
    polygon_iou,
    quad_area,
    quad_to_box,
    quads_to_crop,
    scale_quads,
)
from models.geometry.tube_mask import SEGMENT_STARTS, flip_coverage, grid_iou, tube_mask, union_coverage
from models.renamed import renamed

__all__ = [
    "SEGMENT_STARTS",
    "box_to_quad",
    "coverage",
    "crop_origin",
    "flip_coverage",
    "flip_quads",
    "grid_iou",
    "order_clockwise",
    "polygon_iou",
    "quad_area",
    "quad_to_box",
    "quads_to_crop",
    "scale_quads",
    "tube_mask",
    "union_coverage",
]

__getattr__ = renamed(__name__, {"unite": "models.geometry:union_coverage"})
