"""The ONVIF media service of Profile T (ver20/media), which has a word for H.265."""

from __future__ import annotations

from xml.sax.saxutils import escape

from edge_agent.demo.dvr import brand as brands
from edge_agent.demo.dvr import onvif_media
from edge_agent.demo.dvr.brand import StreamName
from edge_agent.demo.dvr.onvif_device import Addresses, Operation
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.soap import SoapRequest
from edge_agent.model import Codec


def get_profiles(recorder: Recorder, request: SoapRequest, _at: Addresses) -> str:
    """Configurations are told only to who asks for them (Media2, section 5.1.2)."""
    told = request.text("Type") in ("All", "VideoEncoder", "VideoSource")
    profiles = "".join(_profile(recorder, name, told=told) for name in recorder.config.streams())
    return f"<tr2:GetProfilesResponse>{profiles}</tr2:GetProfilesResponse>"


def get_stream_uri(recorder: Recorder, request: SoapRequest, at: Addresses) -> str:
    uri = escape(onvif_media.stream_uri(recorder, request, at))
    return f"<tr2:GetStreamUriResponse><tr2:Uri>{uri}</tr2:Uri></tr2:GetStreamUriResponse>"


def _profile(recorder: Recorder, name: StreamName, *, told: bool) -> str:
    brand, shape = recorder.config.brand, recorder.config.shape(name)
    source = brands.source_token(brand, name.channel)
    configurations = (
        f'<tr2:Configurations><tr2:VideoSource token="{source}"><tt:Name>{source}</tt:Name>'
        f"<tt:UseCount>2</tt:UseCount><tt:SourceToken>{source}</tt:SourceToken></tr2:VideoSource>"
        f'<tr2:VideoEncoder token="e{source}"><tt:Name>e</tt:Name><tt:UseCount>1</tt:UseCount>'
        f"<tt:Encoding>{'H265' if shape.codec is Codec.H265 else 'H264'}</tt:Encoding><tt:Resolution>"
        f"<tt:Width>{shape.width}</tt:Width><tt:Height>{shape.height}</tt:Height></tt:Resolution>"
        "</tr2:VideoEncoder></tr2:Configurations>"
    )
    return (
        f'<tr2:Profiles token="{brands.profile_token(brand, name)}" fixed="true">'
        f"<tr2:Name>{brands.profile_name(brand, name)}</tr2:Name>"
        f"{configurations if told else ''}</tr2:Profiles>"
    )


OPERATIONS: dict[str, Operation] = {"GetProfiles": get_profiles, "GetStreamUri": get_stream_uri}
