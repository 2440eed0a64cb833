"""ONVIF pull points (Core section 9, WS-BaseNotification): motion and signal loss. No sockets."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from edge_agent.demo.dvr import brand as brands
from edge_agent.demo.dvr.onvif_device import EVENTS_PATH, Addresses
from edge_agent.demo.dvr.recorder import Recorder
from edge_agent.demo.dvr.soap import SoapFault, SoapRequest

SUBSCRIPTION_PATH = f"{EVENTS_PATH}/pullpoint"
_WAITING = 256  # messages per subscription; the oldest goes when it is full
_DEFAULT_S, _LONGEST_S, _LONGEST_PULL_S = 60.0, 3600.0, 60.0
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")
_MOTION = "tns1:VideoSource/MotionAlarm"
_SIGNAL_LOSS = "tns1:VideoSource/SignalLoss"
_LAST_REBOOT = "tns1:Monitoring/OperatingTime/LastReboot"  # ONVIF Core, section 8.8: a property with a moment


@dataclass(slots=True)
class PullPoint:
    number: int
    ends: datetime  # by the recorder's clock
    waiting: deque[str] = field(default_factory=lambda: deque(maxlen=_WAITING))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class EventDesk:
    """Holds the pull points. `observe` is called after every change of the recorder's faults."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._points: dict[int, PullPoint] = {}
        self._count = 0
        self._states = self._observed()

    @property
    def held(self) -> int:
        self._expire()
        return len(self._points)

    def drop_all(self) -> None:
        self._points.clear()

    def observe(self) -> None:
        """Tell each subscriber what has changed since the last call."""
        states = self._observed()
        for key, value in states.items():
            if self._states.get(key) != value:
                self._publish(self._message(*key, value, "Changed"))
        self._states = states

    async def answer(self, request: SoapRequest, path: str, at: Addresses) -> str:
        if self._recorder.faults.device.events_broken:
            raise SoapFault("Receiver", ("ter:Action",), "Service not ready")
        match request.operation:
            case "CreatePullPointSubscription":
                return self._create(request, at)
            case "GetEventProperties":
                return _PROPERTIES
            case "GetServiceCapabilities":
                return '<tev:GetServiceCapabilitiesResponse><tev:Capabilities WSPullPointSupport="true"/>' + (
                    "</tev:GetServiceCapabilitiesResponse>"
                )
            case "PullMessages":
                return await self._pull(self._point(path), request)
            case "Renew":
                return self._renew(self._point(path), request)
            case "SetSynchronizationPoint":
                point = self._point(path)
                point.waiting.extend(self._initial())
                return "<tev:SetSynchronizationPointResponse/>"
            case "Unsubscribe":
                return self._unsubscribe(self._point(path))
        raise SoapFault("Receiver", ("ter:ActionNotSupported",), "Optional Action Not Implemented")

    def _create(self, request: SoapRequest, at: Addresses) -> str:
        self._expire()
        if self._recorder.faults.device.events_forbidden:
            raise SoapFault("Sender", ("ter:NotAuthorized",), "Sender not authorized")
        if len(self._points) >= self._recorder.faults.device.pull_point_limit:
            limit = "ter:BlockedThreadUpperLimit"  # with an empty text, as a Dahua answers
            raise SoapFault("Sender", (limit, limit), "")
        self._count += 1
        ends = self._ends(request.text("InitialTerminationTime"))
        point = self._points[self._count] = PullPoint(self._count, ends)
        point.waiting.extend(self._initial())
        return (
            "<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa:Address>"
            f"http://{at.http}{SUBSCRIPTION_PATH}/{point.number}</wsa:Address></tev:SubscriptionReference>"
            f"{self._times(point)}</tev:CreatePullPointSubscriptionResponse>"
        )

    async def _pull(self, point: PullPoint, request: SoapRequest) -> str:
        patience = min(_seconds(request.text("Timeout"), 1.0), _LONGEST_PULL_S)
        limit = request.text("MessageLimit")
        if not point.waiting:
            point.arrived.clear()
            with contextlib.suppress(TimeoutError):  # an empty reply is the answer then
                await asyncio.wait_for(point.arrived.wait(), patience)
        count = min(len(point.waiting), max(1, int(limit)) if limit.isdigit() else 10)
        messages = "".join(point.waiting.popleft() for _ in range(count))
        now = _zulu(self._recorder.device_time())
        return (
            f"<tev:PullMessagesResponse><tev:CurrentTime>{now}</tev:CurrentTime>"
            f"<tev:TerminationTime>{_zulu(point.ends)}</tev:TerminationTime>{messages}</tev:PullMessagesResponse>"
        )

    def _renew(self, point: PullPoint, request: SoapRequest) -> str:
        point.ends = self._ends(request.text("TerminationTime"))
        return f"<wsnt:RenewResponse>{self._times(point, current_first=False)}</wsnt:RenewResponse>"

    def _unsubscribe(self, point: PullPoint) -> str:
        if self._recorder.faults.device.unsubscribe_kills_all:
            self._points.clear()
        self._points.pop(point.number, None)
        return "<wsnt:UnsubscribeResponse/>"

    def _point(self, path: str) -> PullPoint:
        self._expire()
        number = path.partition("?")[0].rpartition("/")[2]
        point = self._points.get(int(number)) if number.isdigit() else None
        if point is None:
            raise SoapFault(
                "Sender", ("ter:InvalidArgVal", "ter:SubscriptionNotFound"), "No such subscription"
            )
        return point

    def _times(self, point: PullPoint, current_first: bool = True) -> str:
        current = f"<wsnt:CurrentTime>{_zulu(self._recorder.device_time())}</wsnt:CurrentTime>"
        ends = f"<wsnt:TerminationTime>{_zulu(point.ends)}</wsnt:TerminationTime>"
        return current + ends if current_first else ends + current

    def _ends(self, asked: str) -> datetime:
        now = self._recorder.device_time()
        if asked and not asked.startswith("P"):
            try:
                absolute = datetime.fromisoformat(asked)
                return min(absolute, now + timedelta(seconds=_LONGEST_S))
            except (ValueError, TypeError):
                raise SoapFault("Sender", ("ter:InvalidArgVal",), "unusable termination time") from None
        return now + timedelta(seconds=min(_seconds(asked, _DEFAULT_S), _LONGEST_S))

    def _expire(self) -> None:
        now = self._recorder.device_time()
        self._points = {number: point for number, point in self._points.items() if point.ends > now}

    def _publish(self, message: str) -> None:
        for point in self._points.values():
            point.waiting.append(message)
            point.arrived.set()

    def _initial(self) -> list[str]:
        states = [self._message(*key, value, "Initialized") for key, value in self._states.items()]
        return [*states, self._last_reboot()]

    def _observed(self) -> dict[tuple[str, int], bool]:
        recorder = self._recorder
        inputs = recorder.config.inputs
        lost = {(_SIGNAL_LOSS, channel): recorder.signal_lost(channel) for channel in inputs}
        return lost | {(_MOTION, channel): recorder.faults.channel(channel).motion for channel in inputs}

    def _last_reboot(self) -> str:
        data = f'<tt:SimpleItem Name="Status" Value="{_zulu(self._recorder.started)}"/>'
        return self._notification(_LAST_REBOOT, "", data, "Initialized")

    def _message(self, topic: str, channel: int, value: bool, operation: str) -> str:
        token = brands.source_token(self._recorder.config.brand, channel)
        source = f'<tt:SimpleItem Name="Source" Value="{token}"/>'
        data = f'<tt:SimpleItem Name="State" Value="{"true" if value else "false"}"/>'
        return self._notification(topic, source, data, operation)

    def _notification(self, topic: str, source: str, data: str, operation: str) -> str:
        dialect = "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
        now = _zulu(self._recorder.device_time())
        empty = ""
        if self._recorder.faults.device.odd_topics:
            topic = topic.replace("/", "/tnsn:") + "/."
            empty = _EMPTY
        return (
            f"{empty}"
            f'<wsnt:NotificationMessage><wsnt:Topic Dialect="{dialect}">{topic}</wsnt:Topic><wsnt:Message>'
            f'<tt:Message UtcTime="{now}" PropertyOperation="{operation}">'
            f"<tt:Source>{source}</tt:Source><tt:Data>{data}</tt:Data>"
            "</tt:Message></wsnt:Message></wsnt:NotificationMessage>"
        )


def _seconds(duration: str, default: float) -> float:
    found = _DURATION.match(duration)
    if found is None or not any(found.groups()):
        return default
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def _zulu(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


_EMPTY = (
    "<wsnt:NotificationMessage><wsnt:Topic></wsnt:Topic><wsnt:Message></wsnt:Message>"
    "</wsnt:NotificationMessage>"
)
_ITEM = (
    '<tt:MessageDescription IsProperty="true"><tt:Source><tt:SimpleItemDescription Name="Source" '
    'Type="tt:ReferenceToken"/></tt:Source><tt:Data>'
    '<tt:SimpleItemDescription Name="State" Type="xs:boolean"/></tt:Data></tt:MessageDescription>'
)
_PROPERTIES = (
    "<tev:GetEventPropertiesResponse>"
    "<tev:TopicNamespaceLocation>http://www.onvif.org/onvif/ver10/topics/topicns.xml</tev:TopicNamespaceLocation>"
    "<wsnt:FixedTopicSet>true</wsnt:FixedTopicSet><wstop:TopicSet><tns1:VideoSource>"
    f'<MotionAlarm wstop:topic="true">{_ITEM}</MotionAlarm>'
    f'<SignalLoss wstop:topic="true">{_ITEM}</SignalLoss>'
    "</tns1:VideoSource></wstop:TopicSet>"
    "<wsnt:TopicExpressionDialect>http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet"
    "</wsnt:TopicExpressionDialect><tev:MessageContentFilterDialect>"
    "http://www.onvif.org/ver10/tev/messageContentFilter/ItemFilter</tev:MessageContentFilterDialect>"
    "<tev:MessageContentSchemaLocation>http://www.onvif.org/onvif/ver10/schema/onvif.xsd"
    "</tev:MessageContentSchemaLocation></tev:GetEventPropertiesResponse>"
)
