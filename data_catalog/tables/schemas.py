"""Schemas of the catalog's parquet tables, with units, and the one way to read and write such a table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_catalog.atomic import replacing
from data_catalog.plain_file import require_plain
from data_catalog.store import ArtifactDamaged

DIGESTS = b"column_sha256"


def _field(name: str, kind: pa.DataType, note: str) -> pa.Field:
    return pa.field(name, kind, metadata={"note": note})


CLIPS = pa.schema(
    [
        _field("clip_id", pa.string(), "unique inside the dataset"),
        _field("video", pa.string(), "file or folder of images, relative to the dataset root"),
        _field("split", pa.string(), "train, val or test"),
        _field("action", pa.string(), "name of the action, empty where there is one"),
        _field("score", pa.float64(), "score points of the dataset"),
        _field("difficulty", pa.float64(), "factor of the judges' sum"),
        _field("judges", pa.list_(pa.float64()), "marks 0-10"),
        _field("label", pa.int32(), "class index from 0"),
        _field("boxes", pa.list_(pa.list_(pa.float64())), "first-frame x, y, w, h per athlete, source pixels"),
        _field("start_frame", pa.int64(), "first frame in the video, from 0"),
        _field("end_frame", pa.int64(), "one past the last frame in the video"),
        _field("extra", pa.string(), "JSON of what only this dataset knows"),
    ]
)

EDITED_CLIPS = pa.schema(
    [
        *CLIPS,
        _field("bad", pa.bool_(), "marked bad by a person, left out of every run"),
        _field("boxes_by_person", pa.bool_(), "the boxes were drawn by a person, no detector is asked"),
        _field("bad_reason", pa.string(), "why a person marked it bad"),
    ]
)

REJECTED = pa.schema(
    [
        _field("clip_id", pa.string(), "as given, if given"),
        _field("file", pa.string(), "label file"),
        _field("line", pa.int64(), "line in it, from 1"),
        _field("reason", pa.string(), "one plain sentence"),
        _field("remedy", pa.string(), "what the user can do"),
    ]
)

SOURCES = pa.schema(
    [
        _field("path", pa.string(), "absolute path of the source file or folder"),
        _field("size", pa.int64(), "bytes"),
        _field("mtime_ns", pa.int64(), "nanoseconds since 1970"),
        _field("inode", pa.int64(), "inode number"),
        _field("sha256", pa.string(), "digest of the content"),
    ]
)

SOURCE_MARKS = pa.schema(
    [
        _field("key", pa.string(), "key of a normalize artifact"),
        _field("tone_mapped", pa.bool_(), "HDR, shown as on a standard display"),
        _field("deinterlaced", pa.bool_(), "interlaced, made whole"),
        _field("rotation_deg", pa.bool_(), "turned upright"),
        _field("missing_frames", pa.bool_(), "with frames missing"),
        _field("damaged_packets", pa.bool_(), "with damaged packets skipped"),
    ]
)

ARTIFACTS = pa.schema(
    [
        _field("stage", pa.string(), "the stage that wrote it"),
        _field("key", pa.string(), "names the file"),
        _field("stage_version", pa.int32(), "STAGE_VERSION"),
        _field("dataset", pa.string(), "for which dataset it was made first"),
        _field("clip_id", pa.string(), "for which clip; empty for a whole dataset"),
        _field("config", pa.string(), "JSON of the stage's config"),
        _field("inputs", pa.string(), "JSON of source digest and labels that entered the key"),
        _field("weights", pa.string(), "JSON of the weights' digests"),
        _field("parents", pa.string(), "JSON of the parents' keys"),
        _field("size", pa.int64(), "bytes of the file"),
        _field("mtime_ns", pa.int64(), "when last verified"),
        _field("ctime_ns", pa.int64(), "when last verified"),
        _field("inode", pa.int64(), "when last verified"),
        _field("seconds", pa.float64(), "seconds of compute"),
        _field("created", pa.string(), "UTC time, ISO 8601"),
    ]
)

REFERENCES = pa.schema(
    [
        _field("stage", pa.string(), "stage"),
        _field("key", pa.string(), "artifact that the run used or made"),
        _field("clip_id", pa.string(), "for which clip; empty for a whole dataset"),
    ]
)


EDITS = pa.schema(
    [
        _field("clip_id", pa.string(), "clip"),
        _field("field", pa.string(), "column of the clip table"),
        _field("old", pa.string(), "JSON of the value before"),
        _field("new", pa.string(), "JSON of the value from then on"),
        _field("who", pa.string(), "user and machine"),
        _field("when", pa.string(), "UTC time, ISO 8601"),
    ]
)

TUBE_OVERLAP = pa.schema(
    [
        _field("first", pa.string(), "key of a track artifact"),
        _field("second", pa.string(), "key of another one of the same clip, the smaller key comes first"),
        _field("mean", pa.float64(), "IoU of their quads, mean over athletes and frames"),
        _field("worst", pa.float64(), "IoU in the frame in which they agree least"),
        _field("worst_frame", pa.int32(), "that frame, from 0"),
    ]
)

DATASETS = pa.schema(
    [
        _field("name", pa.string(), "name in this workspace"),
        _field("adapter", pa.string(), "what read it"),
        _field("root", pa.string(), "absolute path that the videos are relative to"),
        _field("procedural", pa.bool_(), "drawn by a program"),
        _field("ingested", pa.string(), "UTC time, ISO 8601"),
    ]
)

SHARED_CONTENT = pa.schema(
    [
        _field("first", pa.string(), "clip_id of one clip"),
        _field("second", pa.string(), "clip_id of another one, of another split"),
        _field("first_split", pa.string(), "split of the first when they were compared"),
        _field("second_split", pa.string(), "split of the second"),
        _field("kind", pa.string(), "same: equal bytes, half of the shorter in common; similar: looks the same"),
        _field("similarity", pa.float64(), "of their pictures, up to 1"),
    ]
)

QUARANTINE = pa.schema(
    [
        _field("dataset", pa.string(), "dataset"),
        _field("clip_id", pa.string(), "clip that failed"),
        _field("stage", pa.string(), "in which stage"),
        _field("key", pa.string(), "key of the artifact that could not be made"),
        _field("reason", pa.string(), "one plain sentence"),
        _field("remedy", pa.string(), "what the user can do"),
        _field("created", pa.string(), "UTC time, ISO 8601"),
    ]
)

RUNS = pa.schema(
    [
        _field("run_id", pa.string(), "sortable by time"),
        _field("dataset", pa.string(), "dataset"),
        _field("command", pa.string(), "as it was typed"),
        _field("finished", pa.string(), "UTC time, ISO 8601"),
        _field("seconds", pa.float64(), "seconds of wall time"),
        _field("stages", pa.string(), "JSON of clips, hits, computed, quarantined, seconds per stage"),
        _field("metrics", pa.string(), "JSON of the metrics, last and best epoch"),
        _field("config", pa.string(), "JSON of the config"),
        _field("report", pa.string(), "path of report.html"),
    ]
)


TUBE_QUALITY = pa.schema(
    [
        _field("track_key", pa.string(), "key of the track artifact"),
        _field("masks_key", pa.string(), "key of the masks artifact"),
        _field("dataset", pa.string(), "for which dataset it was measured first"),
        _field("clip_id", pa.string(), "for which clip"),
        _field("suspicion", pa.float64(), "0 nothing odd to 1, by the thresholds of `quality.*`"),
        _field("reasons", pa.list_(pa.string()), "plain sentences, the worst first"),
        _field("cuts", pa.list_(pa.int32()), "normalised frames that begin a new scene, from 0"),
        _field("score_drops", pa.list_(pa.int32()), "frames in which the tracker's score fell sharply"),
        _field("jumps", pa.list_(pa.int32()), "frames in which a tube leapt"),
        _field("area_changes", pa.list_(pa.int32()), "frames in which a tube's area changed sharply"),
        _field("lost_frames", pa.list_(pa.int32()), "frames with nothing of an athlete in the tube, or lost as told"),
        _field("outside_frames", pa.list_(pa.int32()), "frames in which a tube is mostly outside the network's crop"),
        _field("border_frames", pa.list_(pa.int32()), "frames in which a tube touches the frame's border"),
        _field("empty_segments", pa.list_(pa.int32()), "segments without a selected cell, from 0"),
        _field("drift_frames", pa.list_(pa.int32()), "frames in which a tube holds something else than in frame 0"),
        _field("drift", pa.float64(), "share of the frames that drift, 0 to 1"),
        _field("athletes", pa.int32(), "tubes of the clip"),
        _field("frames", pa.int32(), "normalised frames of the clip"),
        _field("settings", pa.string(), "digest of the thresholds"),
        _field("version", pa.int32(), "of the measuring"),
    ]
)

_SERIES = pa.list_(pa.float32())

TUBE_SERIES = pa.schema(
    [
        _field("change", _SERIES, "a frame: how much it begins a new scene"),
        _field("elapsed", _SERIES, "a frame: source frames since the one before"),
        _field("likeness", _SERIES, "an athlete and frame: 1 holds as much of them as frame 0, 0 nothing"),
        _field("scores", _SERIES, "an athlete and frame: the tracker's score"),
        _field("lost", _SERIES, "an athlete and frame: 1 where the tracker lost them"),
        _field("step", _SERIES, "an athlete and frame: way of the centre, in square roots of the area"),
        _field("area", _SERIES, "an athlete and frame: square pixels"),
        _field("inside", _SERIES, "an athlete and frame: share of the quad in the crop"),
        _field("border", _SERIES, "an athlete and frame: 1 where it touches the frame's border"),
        _field("omega", _SERIES, "a segment: positions selected"),
    ]
)


def write_table(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    """Write a table with checksums, atomically. Raises pa.ArrowInvalid where it doesn't fit the schema."""
    table = table.cast(schema)
    # Parquet's page checksums leave out its headers and footer, where one flipped bit can change values.
    digests = json.dumps({name: column_digest(table.column(name)) for name in schema.names})
    table = table.replace_schema_metadata({**(schema.metadata or {}), DIGESTS: digests.encode()})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True, compression="zstd")


def read_table(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or only some of its columns, verifying checksums and schema.

    Raises:
        FileNotFoundError: there is no such table.
        ArtifactDamaged: it can't be read, has other columns, or doesn't hold what was written.
    """
    require_plain(path)
    try:
        wanted = pa.schema([schema.field(name) for name in columns]) if columns is not None else schema
        # `pq.read_table` reads the same by way of PyArrow's datasets, whose import takes pandas with it.
        with pq.ParquetFile(path, page_checksum_verification=True, memory_map=False) as file:
            table = file.read(columns=wanted.names)
        expected = json.loads((table.schema.metadata or {})[DIGESTS])
        table = table.select(wanted.names).cast(wanted)
        whole = all(column_digest(table.column(name)) == expected[name] for name in wanted.names)
    except (pa.ArrowException, OSError, KeyError, ValueError) as exc:
        raise ArtifactDamaged(path, "is damaged") from exc
    if not whole:
        raise ArtifactDamaged(path, "doesn't match its checksum")
    return table


def column_digest(column: pa.ChunkedArray) -> str:
    """SHA-256 of a column's type and values, however its memory is laid out."""
    digest = hashlib.sha256(f"{column.type} {len(column)}".encode())
    _digest_values(digest, pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type))
    return digest.hexdigest()


def _digest_values(digest: Any, array: pa.Array) -> None:
    nulls = _numbers(array.is_null())
    digest.update(nulls.tobytes())
    if pa.types.is_list(array.type):
        digest.update(_numbers(pc.list_value_length(array)).tobytes())
        _digest_values(digest, pc.list_flatten(array))
    elif pa.types.is_string(array.type):
        digest.update(_numbers(pc.binary_length(array)).tobytes())
        there = array.drop_null()
        _, places, text = there.buffers()
        if places is not None and text is not None:
            ends = np.frombuffer(places, np.int32)[there.offset : there.offset + len(there) + 1]
            digest.update(memoryview(text)[int(ends[0]) : int(ends[-1])])
    else:
        digest.update(_numbers(array).tobytes())


def _numbers(array: pa.Array) -> NDArray[Any]:
    """Numbers or booleans (n,) of the array's own type, 0 or False where there is none.

    Out of PyArrow's buffers: to convert a value to or from Python's or NumPy's it imports pandas, which takes longer
    than all that a command such as `tubeflow plan` does.
    """
    begin, end = array.offset, array.offset + len(array)
    buffer = array.buffers()[1] or b""
    if pa.types.is_boolean(array.type):
        values = np.unpackbits(np.frombuffer(buffer, np.uint8), count=end, bitorder="little")[begin:].astype(bool)
    else:
        values = np.frombuffer(buffer, array.type.to_pandas_dtype())[begin:end]
    if array.null_count:
        values = values.copy()
        values[_numbers(array.is_null())] = 0
    return values
