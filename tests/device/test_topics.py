"""What notifications mean, judged by recorded replies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.capture import pullpoint, soap, topics
from edge_agent.capture.device_events import EventKind, EventSource
from edge_agent.capture.soap import SoapFault
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Credentials


def pulled(
    topic: str, data: str = '<tt:SimpleItem Name="State" Value="true"/>', how: str = "Changed"
) -> bytes:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tt="t"><s:Body>'
        f"<PullMessagesResponse><NotificationMessage><Topic>{topic}</Topic><Message>"
        f'<tt:Message PropertyOperation="{how}"><tt:Source>'
        '<tt:SimpleItem Name="VideoSourceToken" Value="V1"/>'
        f"</tt:Source><tt:Data>{data}</tt:Data></tt:Message></Message></NotificationMessage>"
        "</PullMessagesResponse></s:Body></s:Envelope>"
    ).encode()


@pytest.mark.parametrize(
    ("topic", "plain", "kind"),
    [
        ("tns1:VideoSource/SignalLoss", "VideoSource/SignalLoss", EventKind.VIDEO_LOSS),
        ("tns1:VideoSource/tns1:MotionAlarm/.", "VideoSource/MotionAlarm", EventKind.MOTION),
        ("tns1:RuleEngine/CellMotionDetector/Motion", None, EventKind.MOTION),
        ("tns1:VideoAnalytics/tnsaxis:MotionDetection", "VideoAnalytics/MotionDetection", EventKind.MOTION),
        ("tns1:VideoSource/ImageTooDark/ImagingService", None, EventKind.TAMPER),
        ("tns1:VideoSource/GlobalSceneChange/AnalyticsService", None, EventKind.TAMPER),
        ("tns1:Device/tnshik:HardDisk/tnshik:HardDiskFull", None, EventKind.STORAGE),
        ("tns1:Device/tnsn:Network/tnsn:EthernetBroken", "Device/Network/EthernetBroken", EventKind.NETWORK),
        ("tnssamsung:DigitalInput", "DigitalInput", EventKind.INPUT),
        ("tns1:UserAlarm/tnshik:IllegalAccess", None, EventKind.LOGIN),
        ("tns1:VideoSource/tnshik:SignalStandardMismatch", None, EventKind.OTHER),
        ("vendor:Some/thing:Else", "Some/Else", EventKind.OTHER),
    ],
)
def test_topics_mean_the_same_under_every_prefix(topic: str, plain: str | None, kind: EventKind) -> None:
    (notice,) = topics.notices(soap.reply(pulled(topic)))

    assert notice.kind is kind
    assert plain is None or notice.topic == plain
    assert (notice.source, notice.active, notice.initial) == ("V1", True, False)


@pytest.mark.parametrize(
    ("data", "active"),
    [
        ('<tt:SimpleItem Name="IsMotion" Value="1"/>', True),
        ('<tt:SimpleItem Name="Level" Value="active"/>', True),
        ('<tt:SimpleItem Name="LogicalState" Value="FALSE"/>', False),
        ('<tt:SimpleItem Name="ObjectId" Value="17"/><tt:SimpleItem Name="IsTamper" Value="false"/>', False),
        ("", True),
    ],
)
def test_values_are_read_as_devices_write_them(data: str, active: bool) -> None:
    (notice,) = topics.notices(soap.reply(pulled("tns1:Any/Topic", data)))

    assert notice.active is active


def test_a_property_that_is_deleted_is_off() -> None:
    (notice,) = topics.notices(soap.reply(pulled("tns1:VideoSource/SignalLoss", how="Deleted")))

    assert not notice.active


@given(st.binary(max_size=400), st.text(max_size=60))
def test_hostile_replies_are_read_or_refused(junk: bytes, topic: str) -> None:
    for body in (
        junk,
        pulled("x").replace(b"true", junk),
        pulled("@").replace(b"@", topic.encode("utf-8", "replace")),
    ):
        try:
            answer = soap.reply(body)
        except EdgeAgentError:
            continue
        for notice in topics.notices(answer):
            assert notice.topic
            assert ":" not in notice.topic
        assert pullpoint.granted_s(answer) > 0


def recorded(shared: Path, name: str) -> bytes:
    return (shared / "onvif-captures" / name).read_bytes()


def test_a_recorded_dahua_motion_is_understood(shared: Path) -> None:
    answer = soap.reply(recorded(shared, "dahua-sd4a425db/PullMessages-motion.xml"))
    (notice,) = topics.notices(answer)

    assert (notice.kind, notice.active, notice.initial) == (EventKind.MOTION, True, False)
    assert notice.source == "VideoSourceMain"


def test_a_recorded_empty_topic_says_nothing(shared: Path) -> None:
    assert topics.notices(soap.reply(recorded(shared, "dahua-sd4a425db/PullMessages-empty-topic.xml"))) == []
    assert topics.notices(soap.reply(recorded(shared, "dahua-sd4a425db/PullMessages-empty.xml"))) == []
    assert topics.notices(soap.reply(recorded(shared, "hikvision-ds2df7276-2014/PullMessages.xml"))) == []


def test_recorded_lifetimes_are_believed_by_the_devices_own_clocks(shared: Path) -> None:
    created = soap.reply(recorded(shared, "dahua-sd4a425db/CreatePullPointSubscription.xml"))
    nonsense = soap.reply(recorded(shared, "dahua-sd4a425db/PullMessages-motion.xml"))
    hikvision = soap.reply(recorded(shared, "hikvision-ds2df7276-2014/PullMessages.xml"))

    assert pullpoint.granted_s(created) == 120  # eight years behind, and right all the same
    assert pullpoint.granted_s(nonsense) == pullpoint.ASKED_S
    assert pullpoint.granted_s(hikvision) == 600


def test_recorded_refusals_are_told_apart(shared: Path) -> None:
    with pytest.raises(SoapFault, match="BlockedThreadUpperLimit") as blocked:
        soap.reply(recorded(shared, "dahua-sd4a425db/Create-Fault-BlockedThreadUpperLimit.xml"))
    with pytest.raises(SoapFault) as forbidden:
        soap.reply(recorded(shared, "hikvision-ds2cd2387/CreatePullPoint-Fault-NotAuthorized.xml"))

    assert not blocked.value.fault.not_authorized
    assert forbidden.value.fault.not_authorized


def test_only_a_camera_with_one_eye_may_leave_its_name_out() -> None:
    one = EventSource("dvr", "10.0.0.2", 80, "/e", Credentials("a", "b"), (("V0", 1), ("C0", 1)))
    two = EventSource("dvr", "10.0.0.2", 80, "/e", None, (("00000", 1), ("00100", 2)))

    assert one.channel_of("VideoSourceMain", EventKind.MOTION) == 1
    assert one.channel_of("C0", EventKind.VIDEO_LOSS) == 1
    assert one.channel_of("", EventKind.STORAGE) is None
    assert two.channel_of("00100", EventKind.VIDEO_LOSS) == 2
    assert two.channel_of("Main", EventKind.VIDEO_LOSS) is None
