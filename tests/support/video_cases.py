"""Videos of kinds that people really have, and what becomes of each, in words."""

from tasks.engine.errors import BadClip
from tasks.normalize import NormalizeConfig, normalize_clip
from tests.support import REPO

VIDEOS = REPO / "tests" / "data" / "video"
WHOLE = NormalizeConfig(length=103)


def now(name: str) -> str:
    """One sentence on what becomes of a case."""
    try:
        clip = normalize_clip(VIDEOS / name, WHOLE)
    except BadClip as exc:
        return f"set aside: {exc.reason.partition(name)[2].strip()}"
    done = [f"used, {clip.source_frames} frames"]
    done += [f"{clip.missing_frames} missing, noted"] * bool(clip.missing_frames)
    done += [f"{clip.tone_mapped} tone-mapped"] * bool(clip.tone_mapped) + ["deinterlaced"] * clip.deinterlaced
    return "; ".join(done)
