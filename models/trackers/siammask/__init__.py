"""SiamMask (Wang et al., 2019): a Siamese tracker that also draws the target's outline.

Read `tracker` for the course of things, `batched_search` for one frame, `network` for the network.
"""

from models.trackers.siammask.network import SiamMask
from models.trackers.siammask.settings import NEVER_LOST, PRESETS, LostSettings, SiamMaskSettings
from models.trackers.siammask.small import SmallSiamMask
from models.trackers.siammask.tracker import SiamMaskTracker

__all__ = ["NEVER_LOST", "PRESETS", "LostSettings", "SiamMask", "SiamMaskSettings", "SiamMaskTracker", "SmallSiamMask"]
