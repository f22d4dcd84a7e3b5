"""Datumaro, Label Studio's SDK and FiftyOne on tracks, in an environment of theirs: python with_other_tools.py FOLDER.

FOLDER/ours holds what Tubeflow wrote; FOLDER/theirs gets what these packages write, and read.json what they read there.
No Tubeflow here: test_tools_apart.py says what the numbers should be.
"""

import json
import sys
from pathlib import Path

import datumaro
import fiftyone.utils.cvat as fiftyone_cvat
import numpy as np
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories, RotatedBbox
from eta.core.video import VideoLabels
from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface

WIDTH, HEIGHT, FRAMES = 160, 120, 6
CONFIG = (
    '<View><Video name="video" value="$video"/><VideoRectangle name="box" toName="video"/>'
    '<Labels name="labels" toName="video"><Label value="athlete"/></Labels></View>'
)
CATEGORIES = {AnnotationType.label: LabelCategories.from_iterable(["coach", "athlete"])}


def item(frame, annotations, name):
    picture = datumaro.Image.from_numpy(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return datumaro.DatasetItem(id=name, annotations=annotations, attributes={"frame": frame}, media=picture)


def datumaro_writes(folder):
    """A target that turns by 10 degrees a frame, and one that comes in frame 2 and is outside from frame 5 on."""
    items = []
    for frame in range(FRAMES):
        state = {"track_id": 3, "outside": False, "keyframe": frame in (0, 5)}
        found = [RotatedBbox(50 + frame, 40, 30, 60, 10 * frame, label=1, attributes=state)]
        if frame >= 2:
            state = {"track_id": 7, "outside": frame == 5, "keyframe": True, "occluded": True}
            found.append(Bbox(100, 20 + frame, 20.5, 30.25, label=0, attributes=state))
        items.append(item(frame, found, f"frame_{frame:06d}"))
    written = datumaro.Dataset.from_iterable(items, categories=CATEGORIES)
    written.export(str(folder / "cvat"), "cvat", use_track=True)
    items = []
    for frame in range(FRAMES):
        found = [Bbox(10 + 2 * frame, 20, 30, 40.5, label=1, attributes={"track_id": 5})]
        if frame == 3:
            found.append(Bbox(90, 20, 20.5, 30.25, label=0, attributes={"track_id": 9, "ignored": True}))
        items.append(item(frame, found, f"{frame + 1:06d}"))
    written = datumaro.Dataset.from_iterable(items, categories=CATEGORIES)
    written.export(str(folder / "mot" / "dive"), "mot_seq_gt")


def datumaro_reads(folder, name):
    """Frame, as the item is called, and numbers of each box: corner and size, or centre, size and degrees."""
    found = []
    for one in datumaro.Dataset.import_from(str(folder), name):
        for box in one.annotations:
            if not box.attributes.get("outside"):
                found.append([one.id, box.attributes["track_id"], *(float(value) for value in box.points)])
    return found


def label_studio(ours, folder):
    """What it says against our predictions; and an export of them as annotations, in its format JSON-MIN."""
    interface = LabelInterface(CONFIG)
    tasks = json.loads((ours / "label_studio.json").read_text())
    errors = [interface.validate_prediction(task["predictions"][0], return_errors=True) for task in tasks]
    for task in tasks:
        (prediction,) = task.pop("predictions")
        made = {"id": 1, "result": prediction["result"], "completed_by": 1, "was_cancelled": False, "lead_time": 1.0}
        task["annotations"] = [made | {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}]
    export = folder / "export.json"
    export.write_text(json.dumps(tasks))
    Converter(CONFIG, project_dir=None).convert_to_json_min(str(export), str(folder / "json_min"), is_dir=False)
    return errors


def fiftyone_reads(ours):
    """Frame from 0, number of the target and box of each, out of CVAT's XML; frame from 1 out of its own labels."""
    _, _, tracks = fiftyone_cvat.load_cvat_video_annotations(str(ours / "cvat_xml" / "dive_0001.xml"))
    cvat = [
        [frame, number, box.xtl, box.ytl, box.xbr, box.ybr]
        for number, track in enumerate(tracks)
        for frame, box in track.boxes.items()
        if not box.outside
    ]
    labels = VideoLabels.from_json(str(ours / "fiftyone" / "labels" / "dive_0001.json"))
    own = []
    for number in labels:
        for one in labels[number].objects:
            corners = (one.bounding_box.top_left, one.bounding_box.bottom_right)
            own.append([number, one.index, *(value for corner in corners for value in (corner.x, corner.y))])
    return {"cvat": cvat, "own": own}


def main():
    """Write `theirs` and `read.json`."""
    folder = Path(sys.argv[1])
    ours, theirs = folder / "ours", folder / "theirs"
    theirs.mkdir()
    datumaro_writes(theirs)
    found = {
        "datumaro_cvat": datumaro_reads(ours / "cvat_one", "cvat"),
        "datumaro_mot": datumaro_reads(ours / "mot" / "dive_0001", "mot_seq"),
        "label_studio_errors": label_studio(ours, theirs),
        "fiftyone": fiftyone_reads(ours),
    }
    (folder / "read.json").write_text(json.dumps(found))


main()
