"""Makes the files of this folder with FiftyOne 1.22, which needs no database for it: python make_with_fiftyone.py."""

import json
from pathlib import Path

import fiftyone as fo
from fiftyone.utils import cvat
from fiftyone.utils import eta as fiftyone_eta

HERE = Path(__file__).parent
WIDTH, HEIGHT, FRAMES = 640, 360, 12


def boxes(frame: int) -> list[tuple[float, float, float, float]]:
    """Two targets, x, y, width, height in pixels; the second one comes with frame 3 and is gone from frame 9 on."""
    first = (100.0 + 4 * frame, 50.0 + 2.5 * frame, 40.0, 80.0)
    second = (400.0 - 3 * frame, 120.0, 30.0 + frame, 60.0)
    return [first, second] if 3 <= frame < 9 else [first]


def main() -> None:
    """Write `cvat_video.xml` and the folder `fiftyone`."""
    size = (WIDTH, HEIGHT)
    frames: dict[int, dict[str, fo.Label]] = {}
    for frame in range(FRAMES):
        found = [
            fo.Detection(label="athlete", bounding_box=[x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT], index=place + 1)
            for place, (x, y, w, h) in enumerate(boxes(frame))
        ]
        frames[frame + 1] = {"tubes": fo.Detections(detections=found)}
    tracks = [cvat.CVATTrack(place, "athlete", *size, boxes={}) for place in range(2)]
    for number, labels in frames.items():
        for detection in labels["tubes"].detections:
            box = cvat.CVATVideoBox.from_detection(number - 1, detection, size)
            box.keyframe = 1
            tracks[detection.index - 1].boxes[number - 1] = box
    end = tracks[1].boxes[8]
    tracks[1].boxes[9] = cvat.CVATVideoBox(9, "athlete", end.xtl, end.ytl, end.xbr, end.ybr, outside=1, keyframe=1)
    metadata = fo.VideoMetadata(frame_width=WIDTH, frame_height=HEIGHT, total_frame_count=FRAMES, frame_rate=25)
    labels = cvat.CVATTaskLabels(labels=[{"name": "athlete", "attributes": []}])
    cvat.CVATVideoAnnotationWriter().write(labels, tracks, metadata, str(HERE / "cvat_video.xml"), name="two_divers")
    video = fiftyone_eta.to_video_labels(frames=frames)
    (HERE / "fiftyone" / "labels").mkdir(parents=True, exist_ok=True)
    video.write_json(str(HERE / "fiftyone" / "labels" / "two_divers.json"))
    index = [{"data": "data/two_divers.mp4", "labels": "labels/two_divers.json"}]
    manifest = {"type": "eta.core.datasets.LabeledVideoDataset", "description": "", "index": index}
    (HERE / "fiftyone" / "manifest.json").write_text(json.dumps(manifest) + "\n")


main()
