"""How `tubeflow predict` is shown on a terminal."""

from __future__ import annotations

from rich.table import Table

from flows.console import out
from flows.inference.predict_videos import VideoScores


def print_predictions(found: VideoScores) -> None:
    """One table a command: a row a segment, a column a video; then the overlays and what could not be scored."""
    what = "probability of label 1" if found.classifies else "score"
    table = Table("", *(video.clip_id for video in found.videos))
    compared = any(video.unlike is not None for video in found.videos)
    intervals = found.videos[0].intervals if found.videos else ()
    table.add_row(what, *(f"[bold]{video.score:.2f}[/]" for video in found.videos))
    for number, one in enumerate(intervals):
        ends = [video.intervals[number] for video in found.videos]
        table.add_row(f"{one.level} % within", *(f"{end.low:.2f} – {end.high:.2f}" for end in ends))
    if compared:
        words = ("[bold red]unlike[/]" if video.unlike else "like" for video in found.videos)
        table.add_row("what the run was trained on", *words)
    table.add_section()
    for number, (first, last) in enumerate(found.segments):
        table.add_row(f"frames {first}–{last}", *(f"{video.segments[number]:.2f}" for video in found.videos))
    if found.videos:
        of_segments = ", and of each segment by itself" if found.segments else ""
        out.print(f"{what.capitalize()} of the {'video' if found.segments else 'clip'}{of_segments}:")
        out.print(table)
    for note in found.notes:
        out.print(note, markup=False, soft_wrap=True)
    for video in found.videos:
        if video.empty_segments:
            out.print(f"{video.clip_id}: the tube is empty in {video.empty_segments} segments; look at the overlay.")
        if video.overlay:
            out.print(f"overlay  {video.overlay}", markup=False, soft_wrap=True)
    for row in found.failures:
        out.print(f"  ✗ {row.stage}: {row.reason} {row.remedy}", markup=False)
