"""Hostile and broken media: one sentence each, nothing else opened, no crash, no hang, no gigabytes."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_catalog.errors import BadVideo
from data_catalog.media.container import ACCEPTED_FORMATS
from data_catalog.media.video import Reading, probe, read_frames
from tests.support.limited_process import peak_memory
from tests.support.video_files import numbered_frames, write_folder, write_video

VIDEOS = Path(__file__).resolve().parents[2] / "data" / "video"
REPO = Path(__file__).resolve().parents[3]
# Small ones of every container, so that a thousand are mutated in minutes.
SEEDS = ("plain.mp4", "qt_trim.mov", "hlg.mov", "whole.mkv", "cut.webm", "dropped.avi", "lost.ts")
MEMORY, SECONDS = 1 << 30, 10

PLAYLISTS = {
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\n{secret}\n#EXT-X-ENDLIST\n",
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile {secret}\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile {secret}\n",
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    "<Representation><BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "meta.mp4": ";FFMETADATA1\ntitle=x\n",
    "terminal.txt": "\x1b[31mroot\n" * 50,
}


def test_the_list_of_containers_has_none_that_opens_others() -> None:
    names = {name for group in ACCEPTED_FORMATS for name in group.split(",")}
    assert not names & {"hls", "dash", "concat", "image2", "imf", "sdp", "rtsp", "tty", "lavfi", "webm_dash_manifest"}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_text_that_names_other_files_is_no_video(tmp_path: Path, name: str) -> None:
    secret = write_video(tmp_path / "secret.ts", numbered_frames(10))
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format(secret=secret))
    with pytest.raises(BadVideo, match="not a video"):
        probe(path)


@pytest.mark.parametrize("name", ["concat:a.mp4|a.mp4", "http:a.mp4", "subfile,,start,0,end,0,,:a", "-i.mp4", "pipe:"])
def test_names_that_are_addresses_are_names(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / "a.mp4", numbered_frames(5)).rename(tmp_path / name)
    assert probe(path).num_frames == 5


READ = """
import sys
from pathlib import Path
import numpy as np
from data_catalog.errors import BadVideo
from data_catalog.media.video import Reading, probe, read_frames
print("READY", flush=True)
for name in sys.argv[2:]:
    try:
        how = Reading(root=Path(sys.argv[1]))
        count = probe(Path(name), how).num_frames
        read_frames(Path(name), np.arange(count), (64, 48), how)
    except BadVideo:
        pass
"""


def test_nothing_but_the_named_file_is_opened(tmp_path: Path) -> None:
    """As the system's calls show it, from the moment at which the program is loaded."""
    if subprocess.run(["which", "strace"], capture_output=True, check=False).returncode:
        pytest.skip("needs strace")
    root, secret = tmp_path / "root", write_video(tmp_path / "secret.mp4", numbered_frames(5))
    root.mkdir()
    for name, text in PLAYLISTS.items():
        (root / name).write_text(text.format(secret=secret))
    (root / "link.mp4").symlink_to(secret)
    write_folder(root / "frames", numbered_frames(2), ["p000.png", "p%03d.png"])
    (root / "frames" / "p001.png").symlink_to(tmp_path / "secret.png")
    write_video(root / "whole.mp4", numbered_frames(5))
    names = [str(path) for path in sorted(root.iterdir())] + [str(root / "frames" / "p%03d.png")]
    log = tmp_path / "log"
    strace = ["strace", "-f", "-qq", "-e", "trace=open,openat,connect,write", "-o", str(log)]
    command = [*strace, sys.executable, "-c", READ, str(root), *names]
    subprocess.run(command, check=True, cwd=REPO, timeout=120, capture_output=True)
    lines = log.read_text(errors="replace").split("READY", 1)[1].splitlines()
    opened = [line for line in lines if "open" in line and "O_DIRECTORY" not in line and "ENOENT" not in line]
    assert any("whole.mp4" in line for line in opened)
    assert not [line for line in opened if str(tmp_path) in line and str(root) not in line]
    assert not [line for line in opened if "p000.png" in line and "frames/p%03d" in line]
    assert not [line for line in lines if "connect(" in line]


# ---- mutated files ----


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes of a video changed, cut out, repeated or moved to their extremes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        at = int(rng.integers(len(changed)) if rng.random() < 0.5 else rng.integers(min(len(changed), 2000)))
        kind = rng.integers(5)
        if kind == 0:
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 64))]
        elif kind == 3:
            changed[at:at] = changed[at : at + int(rng.integers(1, 64))]
        else:
            changed[at : at + 8] = rng.bytes(8)
        changed = changed or bytearray(b"\0")
    return bytes(changed[: int(rng.integers(1, len(changed) + 1))] if rng.random() < 0.1 else changed)


def read_hostile(path: Path, root: Path) -> None:
    """What a worker does with a file, within limits; ends the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on, not that of the process we are a fork of
    before = peak_memory()
    status = status_of_reading(path, root)
    os._exit(status or (4 if peak_memory() - before > MEMORY else 0))


def status_of_reading(path: Path, root: Path) -> int:
    """0: frames, or one sentence that names the file. 2: any other error. 3: a sentence that lacks something."""
    try:
        how = Reading(root=root)
        count = probe(path, how).num_frames
        read_frames(path, (2 * np.arange(16) + 1) * count // 32, (64, 48), how)
    except BadVideo as exc:
        return 0 if str(path) in exc.reason and "\n" not in str(exc) and exc.remedy else 3
    except BaseException as exc:  # anything else is what this test looks for
        os.write(2, f"{path.name}: {type(exc).__name__} {exc}\n".encode())
        return 2
    return 0


def fuzz(folder: Path, count: int, seed: int) -> list[str]:
    """What went wrong with `count` mutated videos, one sentence each."""
    rng, wrong = np.random.default_rng(seed), []
    seeds = [(VIDEOS / name).read_bytes() for name in SEEDS]
    for number in range(count):
        path = folder / f"{number}_{SEEDS[number % len(SEEDS)]}"
        path.write_bytes(mutated(seeds[number % len(SEEDS)], rng))
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            read_hostile(path, folder)
        _, status = os.waitpid(child, 0)
        if status:
            wrong.append(f"{path.name}: status {status}")
        else:
            path.unlink()
    return wrong


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_mutated_videos_end_in_frames_or_a_sentence(tmp_path: Path) -> None:
    assert fuzz(tmp_path, 100, 0) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_thousand_mutated_videos(tmp_path: Path) -> None:
    assert fuzz(tmp_path, 2000, 1) == []
