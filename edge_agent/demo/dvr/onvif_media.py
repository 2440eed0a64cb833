"""The ONVIF media service (ver10/media): one video source per input, two profiles per source."""

from __future__ import annotations

from xml.sax.saxutils import escape

from edge_agent.demo.dvr import brand as brands
from edge_agent.demo.dvr.brand import Brand, StreamName
from edge_agent.demo.dvr.media import GOP_S
from edge_agent.demo.dvr.onvif_device import Addresses, Operation
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.soap import SoapFault, SoapRequest
from edge_agent.model import Codec, Role

SNAPSHOT_PATH = "/onvif/snapshot/"


def get_video_sources(recorder: Recorder, _request: SoapRequest, _at: Addresses) -> str:
    sources = "".join(_video_source(recorder, channel) for channel in recorder.config.inputs)
    return f"<trt:GetVideoSourcesResponse>{sources}</trt:GetVideoSourcesResponse>"


def get_profiles(recorder: Recorder, _request: SoapRequest, _at: Addresses) -> str:
    profiles = "".join(_profile(recorder, name, "Profiles") for name in recorder.config.streams())
    return f"<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>"


def get_profile(recorder: Recorder, request: SoapRequest, _at: Addresses) -> str:
    name = _asked(recorder, request)
    return f"<trt:GetProfileResponse>{_profile(recorder, name, 'Profile')}</trt:GetProfileResponse>"


def get_stream_uri(recorder: Recorder, request: SoapRequest, at: Addresses) -> str:
    return _uri("GetStreamUriResponse", stream_uri(recorder, request, at))


def stream_uri(recorder: Recorder, request: SoapRequest, at: Addresses) -> str:
    name = _asked(recorder, request)
    account = (recorder.accounts.user, recorder.accounts.password)
    path = brands.stream_path(recorder.config.brand, name, *account)
    if recorder.config.brand is Brand.DAHUA:
        path += "&unicast=true&proto=Onvif"
    return f"rtsp://{at.rtsp}{path}"


def get_snapshot_uri(recorder: Recorder, request: SoapRequest, at: Addresses) -> str:
    token = brands.profile_token(recorder.config.brand, _asked(recorder, request))
    return _uri("GetSnapshotUriResponse", f"http://{at.http}{SNAPSHOT_PATH}{token}.jpg")


def profile_of(recorder: Recorder, token: str) -> StreamName | None:
    brand = recorder.config.brand
    return next(
        (name for name in recorder.config.streams() if brands.profile_token(brand, name) == token), None
    )


def _asked(recorder: Recorder, request: SoapRequest) -> StreamName:
    name = profile_of(recorder, request.text("ProfileToken"))
    if name is None:
        raise SoapFault(
            "Sender", ("ter:InvalidArgVal", "ter:NoProfile"), "The requested profile token does not exist"
        )
    return name


def _uri(tag: str, uri: str) -> str:
    return (
        f"<trt:{tag}><trt:MediaUri><tt:Uri>{escape(uri)}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
        f"<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:{tag}>"
    )


def _video_source(recorder: Recorder, channel: int) -> str:
    shape = recorder.config.shape(StreamName(channel, Role.MAIN))
    token = brands.source_token(recorder.config.brand, channel)
    return (
        f'<trt:VideoSources token="{token}"><tt:Framerate>{shape.fps}</tt:Framerate>'
        f"<tt:Resolution><tt:Width>{shape.width}</tt:Width><tt:Height>{shape.height}</tt:Height></tt:Resolution>"
        "</trt:VideoSources>"
    )


def _profile(recorder: Recorder, name: StreamName, tag: str) -> str:
    brand = recorder.config.brand
    source = brands.source_token(brand, name.channel)
    largest = recorder.config.shape(StreamName(name.channel, Role.MAIN))
    return (
        f'<trt:{tag} token="{brands.profile_token(brand, name)}" fixed="true">'
        f"<tt:Name>{brands.profile_name(brand, name)}</tt:Name>"
        f'<tt:VideoSourceConfiguration token="{source}"><tt:Name>VideoSourceConfig_{name.channel}</tt:Name>'
        f"<tt:UseCount>2</tt:UseCount><tt:SourceToken>{source}</tt:SourceToken>"
        f'<tt:Bounds x="0" y="0" width="{largest.width}" height="{largest.height}"/>'
        f"</tt:VideoSourceConfiguration>{_encoder(recorder, name)}</trt:{tag}>"
    )


def _encoder(recorder: Recorder, name: StreamName) -> str:
    """Media1 has no word for H.265: Dahua leaves this out (node-onvif #78), Hikvision says H264."""
    shape = recorder.config.shape(name)
    if shape.codec is Codec.H265 and recorder.config.brand is Brand.DAHUA:
        return ""
    token = f"Encoder_{brands.profile_token(recorder.config.brand, name)}"
    return (
        f'<tt:VideoEncoderConfiguration token="{token}"><tt:Name>{token}</tt:Name>'
        f"<tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>{shape.width}</tt:Width>"
        f"<tt:Height>{shape.height}</tt:Height></tt:Resolution><tt:Quality>4</tt:Quality>"
        f"<tt:RateControl><tt:FrameRateLimit>{shape.fps}</tt:FrameRateLimit>"
        "<tt:EncodingInterval>1</tt:EncodingInterval>"
        f"<tt:BitrateLimit>{shape.kbps or 2048}</tt:BitrateLimit></tt:RateControl>"
        f"<tt:H264><tt:GovLength>{GOP_S * shape.fps}</tt:GovLength>"
        "<tt:H264Profile>High</tt:H264Profile></tt:H264>"
        "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address>"
        "<tt:Port>0</tt:Port><tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
        "<tt:SessionTimeout>PT60S</tt:SessionTimeout></tt:VideoEncoderConfiguration>"
    )


OPERATIONS: dict[str, Operation] = {
    "GetVideoSources": get_video_sources,
    "GetProfiles": get_profiles,
    "GetProfile": get_profile,
    "GetStreamUri": get_stream_uri,
    "GetSnapshotUri": get_snapshot_uri,
}
