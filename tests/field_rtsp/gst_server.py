"""GStreamer's RTSP server: live streams, one over UDP only, one in MJPEG, one in MPEG-4 from a file.

Run by Debian's own Python, which has its bindings.

    /usr/bin/python3 tests/field_rtsp/gst_server.py 8554 [FILE.mp4]
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

SOURCE = "videotestsrc is-live=true pattern=snow ! video/x-raw,format=I420,width=160,height=96,framerate=25/1"
X264 = "x264enc bitrate=300 key-int-max=25 speed-preset=ultrafast threads=1"
X265 = "x265enc bitrate=300 key-int-max=25 speed-preset=ultrafast tune=zerolatency"
PAY264, PAY265 = (f"rtph26{n}pay name=pay0 pt=96 config-interval=-1" for n in (4, 5))
LAUNCH = {
    "/h264": f"{SOURCE} ! {X264} tune=zerolatency ! {PAY264}",
    "/bframes": f"{SOURCE} ! {X264} bframes=2 b-adapt=false ! video/x-h264,profile=main ! {PAY264}",
    "/h265": f"{SOURCE} ! {X265} ! {PAY265}",
    "/udp": f"{SOURCE} ! {X264} tune=zerolatency ! {PAY264}",
    "/mjpeg": f"{SOURCE} ! jpegenc ! rtpjpegpay name=pay0 pt=26",
}

MPEG4 = "filesrc location={} ! qtdemux ! mpeg4videoparse config-interval=1 ! rtpmp4vpay name=pay0 pt=96"


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    recorded = {"/mpeg4": MPEG4.format(sys.argv[2])} if len(sys.argv) > 2 else {}
    for path, launch in {**LAUNCH, **recorded}.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {launch} )")
        factory.set_shared(True)
        if path == "/udp":
            factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
