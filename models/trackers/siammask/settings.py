"""How SiamMask's output becomes a track: the published sets of numbers, and what happens when the target is lost."""

from dataclasses import dataclass

from models.trackers.siammask.anchors import SEARCH_PX, map_side


@dataclass(frozen=True)
class SiamMaskSettings:
    """One published set.

    Attributes:
        penalty: strength with which changes of size and shape lower a position's score.
        window: weight of the cosine window against the scores.
        rate: how quickly the size follows, times penalty and score of the chosen position.
        mask_threshold: probability from which a pixel belongs to the target.
        outside: probability of pixels that the outline does not reach; below every threshold.
        half_up: crop corners at half a pixel go up, not to the even pixel.
        exact: boxes and outlines are put where the network saw them. The published trackers take crops to begin where
            their centre says, not at the whole pixel where they do, and shrink the frame to (W - 1) / W under outlines.
        min_area: square pixels of a mask up to which it encloses no person, and its rotated box means nothing.
        min_confidence: mean probability within an outline (see `outline_extent`) from which its rotated rectangle is
            the quad; below, the upright box is. In the published trackers the outline always decides.
        follow: share by which a confident outline, not the box, says where and how large the target is in the next
            frame.
    """

    penalty: float
    window: float
    rate: float
    mask_threshold: float
    outside: float = -1.0
    half_up: bool = False
    exact: bool = False
    min_area: float = 100.0
    min_confidence: float = 0.0
    follow: float = 0.0


@dataclass(frozen=True)
class LostSettings:
    """When a target counts as lost, and how it is looked for.

    The published tracker has no such state: it follows whatever scores best. Here the box stays where it was while
    the score is low, and the search crop grows, at the same scale, with hardly any preference for its middle.

    Attributes:
        below: score under which a target that was there is lost; 0 switches all of this off. By default: where the
            network holds background for likelier than the target.
        found_above: score from which a lost target is found again.
        search_px: side of the search crop while it is lost, 127 + 8 n.
        window: weight of the cosine window while it is lost.
    """

    below: float = 0.5
    found_above: float = 0.8
    search_px: int = 511
    window: float = 0.001

    def __post_init__(self) -> None:
        map_side(self.search_px)
        if not 0 <= self.below <= self.found_above <= 1 or self.search_px < SEARCH_PX:
            raise ValueError(
                f"lost settings need 0 <= below <= found_above <= 1 and a crop of at least {SEARCH_PX} px; got {self}"
            )


NEVER_LOST = LostSettings(below=0.0, found_above=0.0)

# Published: foolwood/SiamMask experiments/siammask_{base,sharp}/config*.json, STVIR/pysot siammask_r50_l3.
PRESETS: dict[str, SiamMaskSettings] = {
    "base": SiamMaskSettings(penalty=0.09, window=0.39, rate=0.38, mask_threshold=0.30),
    "davis": SiamMaskSettings(penalty=0.04, window=0.40, rate=1.0, mask_threshold=0.35),
    "vot": SiamMaskSettings(penalty=0.04, window=0.42, rate=0.25, mask_threshold=0.30),
    "vot18": SiamMaskSettings(penalty=0.10, window=0.41, rate=0.32, mask_threshold=0.15),
    "pysot": SiamMaskSettings(0.10, 0.41, 0.32, 0.15, outside=0.0, half_up=True),
    # Our own, for siammask-s: tuned on four real clips, see docs/trackers.md.
    "small": SiamMaskSettings(
        penalty=0.12, window=0.40, rate=0.45, mask_threshold=0.10, exact=True, min_area=500.0, min_confidence=0.76,
        follow=0.5,
    ),
}

# siammask-s is sparing with scores: right ones go down to 0.005, where nobody is it says 0.0005. Who comes back is seen
# clearly within a frame or two; below 0.3 it is mostly somebody else, once the athlete has gone.
_LOST = {"small": LostSettings(below=0.002, found_above=0.3)}


def lost_settings(preset: str) -> LostSettings:
    """When a target counts as lost with a preset's weights."""
    return _LOST.get(preset, LostSettings())


def find_preset(name: str) -> SiamMaskSettings:
    """Settings by name.

    Raises:
        ValueError: there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"siammask has no preset '{name}'; there are {', '.join(PRESETS)}")
    return PRESETS[name]
