"""ONVIF notifications read (Core specification, section 9; WS-BaseNotification): what kind, on or off, whose.

Topics come with the prefixes of each vendor, with a trailing `/.`, or empty; values as `true`, `1`, `active`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.capture import soap
from edge_agent.capture.device_events import EventKind

MAX_NOTICES = 100  # of one reply; a device that says more at once is not believed to mean it
_LONGEST_TOPIC = 120

_KINDS: dict[str, EventKind] = {
    "VideoSource/SignalLoss": EventKind.VIDEO_LOSS,
    "VideoSource/MotionAlarm": EventKind.MOTION,
    "RuleEngine/CellMotionDetector/Motion": EventKind.MOTION,
    "RuleEngine/MotionRegionDetector/Motion": EventKind.MOTION,
    "VideoAnalytics/MotionDetection": EventKind.MOTION,  # Axis
    "UserAlarm/IVA/HumanShapeDetect": EventKind.MOTION,  # Dahua
    "RuleEngine/TamperDetector/Tamper": EventKind.TAMPER,
    "RuleEngine/CameraSabotage/Triggered": EventKind.TAMPER,  # Pelco
    "VideoSource/GlobalSceneChange": EventKind.TAMPER,
    "VideoSource/ImageTooDark": EventKind.TAMPER,
    "VideoSource/ImageTooBright": EventKind.TAMPER,
    "VideoSource/ImageTooBlurry": EventKind.TAMPER,
    "Device/HardwareFailure/StorageFailure": EventKind.STORAGE,
    "Storage/Disruption": EventKind.STORAGE,  # Axis
    "Device/Trigger/DigitalInput": EventKind.INPUT,
    "Device/Trigger/AlarmIn": EventKind.INPUT,  # Hikvision
    "DigitalInput": EventKind.INPUT,  # Samsung
    "Device/Network/EthernetBroken": EventKind.NETWORK,  # Hikvision
    "Device/Network/IPAddrConflict": EventKind.NETWORK,
    "UserAlarm/IllegalAccess": EventKind.LOGIN,  # Hikvision
    "Monitoring/OperatingTime/LastReboot": EventKind.REBOOTED,
}
_DISK_WORDS = ("HardDiskFull", "HardDiskError", "HardDiskUnformat")  # under several parents, Hikvision
_STATE_ITEMS = ("State", "IsMotion", "IsTamper", "Failed", "LogicalState", "Level", "disruption", "active")
_ON = ("true", "1", "active", "on", "yes")
_OFF = ("false", "0", "inactive", "off", "no")
_SOURCE_ITEMS = ("Source", "VideoSourceToken", "VideoSource", "VideoSourceConfigurationToken", "Channel")


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification. `initial`: told because we subscribed, not because it happened."""

    topic: str
    kind: EventKind
    source: str
    active: bool
    initial: bool
    moment: str = ""


def notices(answer: soap.Element) -> list[Notice]:
    """What a PullMessages reply tells, in order. Empty topics and messages without content say nothing."""
    found: list[Notice] = []
    for notification in soap.each(answer, "NotificationMessage"):
        notice = _notice(notification)
        if notice is not None:
            found.append(notice)
        if len(found) == MAX_NOTICES:
            break
    return found


def plain_topic(text: str) -> str:
    """`tns1:Device/tnshik:Network/IPAddrConflict/.` as `Device/Network/IPAddrConflict`."""
    segments = [part.strip().rpartition(":")[2] for part in text.strip()[:1000].split("/")]
    kept = (s for s in segments if s not in ("", "."))
    return "".join(c for c in "/".join(kept) if c.isprintable())[:_LONGEST_TOPIC]


def kind_of(topic: str) -> EventKind:
    """The meaning of a plain topic; the imaging topics carry the name of a service behind them."""
    if topic.rpartition("/")[2] in _DISK_WORDS:
        return EventKind.STORAGE
    head, _, last = topic.rpartition("/")
    return _KINDS.get(topic) or (_KINDS.get(head) if last.endswith("Service") else None) or EventKind.OTHER


def _notice(notification: soap.Element) -> Notice | None:
    topic = plain_topic(soap.text(notification, "Topic"))
    message = soap.find(notification, "Message", "Message")
    if not topic or message is None:
        return None
    operation = soap.attribute(message, "PropertyOperation")
    kind, told = kind_of(topic), dict(_items(message, "Data"))
    return Notice(
        topic=topic,
        kind=kind,
        source=_source(dict(_items(message, "Source"))),
        active=operation != "Deleted" and _is_on(told),
        initial=operation == "Initialized",
        moment=next(iter(told.values()), "") if kind is EventKind.REBOOTED else "",
    )


def _items(message: soap.Element, part: str) -> Iterator[tuple[str, str]]:
    node = soap.find(message, part)
    for item in soap.each(node, "SimpleItem") if node is not None else ():
        yield soap.attribute(item, "Name")[:100], soap.attribute(item, "Value").strip()[:100]


def _source(items: dict[str, str]) -> str:
    return next((items[name] for name in _SOURCE_ITEMS if items.get(name)), "")


def _is_on(items: dict[str, str]) -> bool:
    """By the item that the topic names, else by the first that looks like a switch; an event without any
    is a pulse, and on.
    """
    named = [items[name] for name in _STATE_ITEMS if name in items]
    for value in (*named, *items.values()):
        word = value.lower()
        if word in _ON or word in _OFF:
            return word in _ON
    return True
