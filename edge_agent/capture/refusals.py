"""What a device's refusal means, in a sentence that tells the technician what to do."""

from __future__ import annotations

from edge_agent.capture import sdp
from edge_agent.capture.compat_wire import Way
from edge_agent.capture.rtsp import Reply
from edge_agent.capture.sessions import MaybeSessionLimit, SessionLimitReached
from edge_agent.errors import SourceLost, SourceRefused

_REFUSALS = {
    403: "the account may not watch this channel (403)",
    404: "the device knows no such stream (404)",
    453: "the device's session limit is reached (453)",
    461: "the device streams neither over TCP nor over UDP (461); allow RTSP over TCP in its network menu",
}
_CONVERTED = ("JPEG", "MP4V-ES")
_SPOKEN = {"JPEG": "MJPEG", "MP4V-ES": "MPEG-4", "MPV": "MPEG-1", "H263-1998": "H.263"}


class OnlyThroughCompat(SourceRefused):
    """Our own client cannot play this, the compatibility process can. The text says what to do without it."""

    def __init__(self, sentence: str, way: Way = Way.RTSP) -> None:
        super().__init__(sentence)
        self.way = way


def check(reply: Reply, method: str) -> None:
    """Raises SourceRefused or SourceLost unless the device agreed to `method`."""
    status = reply.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise SourceRefused(f"the device redirects {method} elsewhere ({status}); we do not follow")
    if status == 453:
        raise SessionLimitReached(_REFUSALS[status])
    if status == 403:
        raise MaybeSessionLimit(_REFUSALS[status])
    if status in _REFUSALS:
        raise SourceRefused(_REFUSALS[status])
    if status >= 500:
        raise SourceLost(f"the device failed at {method} ({status} {reply.reason})")
    raise SourceRefused(f"the device refuses {method} ({status} {reply.reason})")


def speaks_http() -> OnlyThroughCompat:
    """What a web server answers to RTSP. Behind it RTSP may still be had, inside HTTP."""
    sentence = "a web server answers at the RTSP port; enter the device's RTSP port (554, for most)"
    return OnlyThroughCompat(sentence, Way.TUNNEL)


def no_video(description: sdp.Description) -> SourceRefused:
    """Why nothing that is described can be recorded as it comes."""
    names = sorted({m.encoding or "an unknown codec" for m in description.media if m.kind == "video"})
    if not names:
        return SourceRefused("the device describes no video on this stream")
    sent = ", ".join(_SPOKEN.get(name, name) for name in names)[:100]
    sentence = f"the device sends {sent}; switch this stream to H.264 or H.265 in the device's menu"
    return (OnlyThroughCompat if any(name in _CONVERTED for name in names) else SourceRefused)(sentence)
