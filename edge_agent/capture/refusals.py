"""What a device's refusal means, in a sentence that tells the technician what to do."""

from __future__ import annotations

from edge_agent.capture import sdp
from edge_agent.capture.rtsp import Reply
from edge_agent.capture.sessions import MaybeSessionLimit, SessionLimitReached
from edge_agent.errors import SourceLost, SourceRefused

_REFUSALS = {
    403: "the account may not watch this channel (403)",
    404: "the device knows no such stream (404)",
    453: "the device's session limit is reached (453)",
    461: "the device streams neither over TCP nor over UDP (461); allow RTSP over TCP in its network menu",
}
_SPOKEN = {"JPEG": "MJPEG", "MP4V-ES": "MPEG-4", "MPV": "MPEG-1", "H263-1998": "H.263"}


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


def no_video(description: sdp.Description) -> str:
    """Why nothing that is described can be recorded."""
    names = sorted({m.encoding or "an unknown codec" for m in description.media if m.kind == "video"})
    if not names:
        return "the device describes no video on this stream"
    sent = ", ".join(_SPOKEN.get(name, name) for name in names)[:100]
    return f"the device sends {sent}; switch this stream to H.264 or H.265 in the device's menu"
