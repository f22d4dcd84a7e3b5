"""In every container: frame k is the k-th that the file shows, by reading on and by seeking alike.

Frames show their own numbers, so the expectation is the picture itself, not what any index says.
"""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import av.packet
import numpy as np
import pytest

from data_catalog.media import video
from data_catalog.media.video import probe, read_frames
from tests.support.drawn_numbers import drawn, shown

COUNT = 150
WRITTEN = {
    "mp4, B frames": ("a.mp4", "libx264", {"g": "30", "bf": "3"}),
    "mp4, HEVC, open groups": ("a.mp4", "libx265", {"x265-params": "keyint=25:open-gop=1:log-level=none"}),
    "mov, open groups": ("a.mov", "libx264", {"g": "25", "bf": "3", "x264-params": "open-gop=1"}),
    "mkv, open groups": ("a.mkv", "libx264", {"g": "25", "bf": "3", "x264-params": "open-gop=1"}),
    "ts, open groups": ("a.ts", "libx264", {"g": "25", "bf": "3", "x264-params": "open-gop=1"}),
    "ts, MPEG-2": ("a.ts", "mpeg2video", {"g": "15", "bf": "2", "b": "2000000"}),
    "mpg, MPEG-2": ("a.mpg", "mpeg2video", {"g": "15", "bf": "2", "b": "2000000"}),
    "webm, VP9": ("a.webm", "libvpx-vp9", {"g": "40", "cpu-used": "8", "deadline": "realtime"}),
    "webm, VP8 with hidden frames": ("a.webm", "libvpx", {"g": "40", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "avi": ("a.avi", "mpeg4", {"g": "20"}),
    "avi, B frames": ("a.avi", "mpeg4", {"g": "20", "bf": "2"}),
    "flv": ("a.flv", "libx264", {"g": "30", "bf": "2"}),
    "gif": ("a.gif", "gif", {}),
}
VARIABLE = ("mp4, B frames", "mkv, open groups", "webm, VP9", "flv")


def write(folder: Path, kind: str, time_of: Callable[[int], int] = lambda k: 40 * k) -> Path:
    """`COUNT` frames shown at `time_of(number)` milliseconds."""
    name, codec, options = WRITTEN[kind]
    with av.open(str(folder / name), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(drawn(number), format="rgb24")
            frame.pts, frame.time_base = time_of(number), Fraction(1, 1000)
            if time_of(1) != 40:
                stream.codec_context.time_base = Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return folder / name


def remux(source: Path, target: Path, change: Callable[[int, av.packet.Packet], bool]) -> Path:
    """Copy packets that `change`, which may alter them, is true for."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.dts is not None and change(number, packet):
                packet.stream = stream
                new.mux(packet)
    return target


def check(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Compare all ways of reading `path`; the numbers that it shows."""
    monkeypatch.setattr(video, "SEEK_BEYOND_FRAMES", 1)   # short files seek, too
    whole = read_frames(path, np.arange(probe(path).num_frames), to_end=True)
    count = probe(path).num_frames
    assert count == len(whole)
    with av.open(str(path)) as file:   # the oracle: nothing but FFmpeg's decoder
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    numbers = shown(whole)
    assert numbers == shown(frames)[len(frames) - count :]
    assert all(later > earlier for earlier, later in pairwise(numbers))
    for start in sorted({*range(1, count, 7), *range(count // 2, count // 2 + 30)} & set(range(count))):
        stop = min(start + 2, count)
        assert shown(read_frames(path, np.arange(start, stop))) == numbers[start:stop], start
    return numbers


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_container(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(write(tmp_path, kind), monkeypatch) == list(range(COUNT))


@pytest.mark.parametrize("kind", VARIABLE)
def test_variable_frame_rate(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, kind, lambda k: 20 * k + 7 * (k % 3) + 200 * (k // 20))
    assert check(path, monkeypatch) == list(range(COUNT))


@pytest.mark.parametrize("target", ["b.mkv", "b.ts", "b.mp4", "b.flv"])
@pytest.mark.parametrize("dropped", [1, 10, 37])
def test_recordings_that_start_within_a_group_of_pictures(
    tmp_path: Path, target: str, dropped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From a file whose packets are of the kind that the target holds.
    whole = write(tmp_path, {"b.flv": "flv", "b.ts": "ts, open groups"}.get(target, "mkv, open groups"))
    path = remux(whole, tmp_path / target, lambda number, _: number >= dropped)
    numbers = check(path, monkeypatch)
    assert numbers[-1] == COUNT - 1
    assert numbers[0] >= dropped - 4   # B frames are stored after what they precede


@pytest.mark.parametrize("target", ["b.mkv", "b.ts", "b.mp4"])
def test_recordings_that_lost_packets(tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = remux(write(tmp_path, "ts, MPEG-2"), tmp_path / target, lambda number, _: not 40 <= number < 49)
    monkeypatch.setattr(video, "SEEK_BEYOND_FRAMES", 1)
    whole = read_frames(path, np.arange(probe(path).num_frames), to_end=True)
    for start in range(1, len(whole) - 2, 5):
        later = read_frames(path, np.arange(start, start + 2))
        assert shown(later) == shown(whole[start : start + 2]), start


@pytest.mark.parametrize("name", ["b.mov", "b.mp4"])
@pytest.mark.parametrize("cut", [5, 40, 77])
def test_edit_lists(tmp_path: Path, name: str, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def earlier(_: int, packet: av.packet.Packet) -> bool:
        ticks = int(Fraction(cut, 25) / packet.time_base)
        assert packet.pts is not None
        assert packet.dts is not None
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        return True

    path = remux(write(tmp_path, "mp4, B frames"), tmp_path / name, earlier)
    assert check(path, monkeypatch) == list(range(cut, COUNT))
