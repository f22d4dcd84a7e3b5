"""Interlaced frames made whole: both fields of a frame show different moments, half a frame apart."""

import av.filter
import av.video.frame

Frame = av.video.frame.VideoFrame


def deinterlace(previous: Frame | None, frame: Frame, following: Frame | None) -> Frame:
    """One progressive frame at the moment of the first field, by FFmpeg's bwdif, which looks at both neighbours.

    It depends on nothing but these three, so that it is the same wherever reading began.

    Args:
        previous: the frame shown before; None at the start of the video.
        frame: the interlaced frame.
        following: the frame shown after; None at its end.
    """
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    whole, sink = graph.add("bwdif", "mode=send_frame:deint=all"), graph.add("buffersink")
    source.link_to(whole)
    whole.link_to(sink)
    graph.configure()
    for one in (previous, frame, following):
        if one is not None:
            source.push(one)
    source.push(None)
    if previous is not None:
        sink.pull()
    result = sink.pull()
    assert isinstance(result, Frame)
    return result
