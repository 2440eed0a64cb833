"""What real recorders do over ONVIF, one test a case, against a virtual recorder over real sockets."""

from __future__ import annotations

import importlib
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest
from onvif_world import SMALL, Eyes, Running, eventually

from edge_agent.capture import device
from edge_agent.capture.device_events import DeviceEvent, EventKind, EventsLost, EventSource
from edge_agent.capture.event_pool import EventPool, Pace
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.lockout_file import LockoutFile
from edge_agent.capture.session import DEVICE_PATH, Session
from edge_agent.capture.soap_request import envelope
from edge_agent.capture.web import TIMEOUT_S
from edge_agent.clock import SystemClock
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import DeviceError
from edge_agent.events import BoundedInbox, StreamStarted
from edge_agent.model import Credentials, Role
from edge_agent.seal.keys import BoxKey
from edge_agent.supervisor import Worker


@pytest.fixture
def lockouts() -> Lockouts:
    return Lockouts()


@pytest.fixture
def eyes(lockouts: Lockouts) -> Iterator[Eyes]:
    eyes = Eyes(lockouts)
    yield eyes
    eyes.stop()


@pytest.fixture
def look() -> Iterator[Callable[..., Eyes]]:
    """Further capture loops, as after a restart of the agent."""
    opened: list[Eyes] = []

    def make(gate: Lockouts, silence_s: float = 5.0) -> Eyes:
        opened.append(Eyes(gate, silence_s))
        return opened[-1]

    yield make
    for eyes in opened:
        eyes.stop()


@pytest.fixture
def run() -> Iterator[Callable[[Worker], Running]]:
    started: list[Running] = []

    def start(worker: Worker) -> Running:
        started.append(Running(worker))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def four_channels() -> Iterator[VirtualDvr]:
    with VirtualDvr(4, serial="4E01B7FIELD0001", **SMALL) as dvr:
        yield dvr


@pytest.fixture
def dvr(four_channels: VirtualDvr) -> Iterator[VirtualDvr]:
    state = four_channels.control.state()
    device, channels = state["device"], state["channels"]
    assert isinstance(device, dict)
    assert isinstance(channels, dict)
    yield four_channels
    four_channels.control.set_device(**device)
    for number, faults in channels.items():
        four_channels.control.set_channel(int(number), **faults)
    four_channels.control.act("reboot")
    credentials = four_channels.credentials
    four_channels.control.set_credentials(credentials.username, credentials.password)


def wrong(dvr: VirtualDvr) -> int:
    count = dvr.control.state()["wrong_passwords"]
    assert isinstance(count, int)
    return count


def probe(dvr: VirtualDvr, gate: Lockouts, credentials: Credentials | None = None) -> device.DeviceReport:
    given = credentials or dvr.credentials
    return device.probe(dvr.host, dvr.http_port, given, clock=SystemClock(), gate=gate)


def session_with(dvr: VirtualDvr, gate: Lockouts) -> Session:
    session = Session(dvr.host, dvr.http_port, dvr.credentials, SystemClock(), gate)
    session.prove()
    return session


def ask_who(session: Session) -> None:
    body = '<GetDeviceInformation xmlns="http://www.onvif.org/ver10/device/wsdl"/>'
    session.call(DEVICE_PATH, envelope(body))


# Clocks and logins.


@pytest.mark.parametrize("skew_s", [7 * 3600, -8 * 365 * 86400])
def test_case_01_a_recorder_hours_or_years_off_is_logged_in_to(
    dvr: VirtualDvr, lockouts: Lockouts, skew_s: int
) -> None:
    dvr.control.set_device(clock_skew_s=skew_s, onvif_auth="token")

    report = probe(dvr, lockouts)

    assert report.clock_offset_s == pytest.approx(skew_s, abs=3)
    assert len(report.channels) == 4
    assert wrong(dvr) == 0


def test_case_02_a_clock_stepped_mid_run_costs_one_refusal(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(onvif_auth="token")
    session = session_with(dvr, lockouts)
    late = dvr.control.count("onvif_refused_late")

    dvr.control.set_device(clock_skew_s=-3600)
    for _ in range(5):
        ask_who(session)

    assert dvr.control.count("onvif_refused_late") == late + 1
    assert wrong(dvr) == lockouts.standing(dvr.host, dvr.credentials).wrong == 0


@pytest.mark.parametrize("manners", ["needs-auth", "local-only", "minute-61"])
def test_case_03_a_clock_told_badly_is_no_obstacle(dvr: VirtualDvr, lockouts: Lockouts, manners: str) -> None:
    dvr.control.set_device(date_time=manners, onvif_auth="token")

    assert len(probe(dvr, lockouts).channels) == 4


def test_case_04_eight_threads_at_seven_hours_skew_are_never_refused(
    dvr: VirtualDvr, lockouts: Lockouts
) -> None:
    dvr.control.set_device(clock_skew_s=7 * 3600, onvif_auth="token")
    session = session_with(dvr, lockouts)
    refused = dvr.control.count("onvif_faults")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ask_who(session), range(80)))

    assert dvr.control.count("onvif_faults") == refused


def test_case_05_a_recorder_that_knows_only_zulu_time_is_served(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(zulu_only=True, onvif_auth="token", clock_skew_s=19_800)

    assert len(probe(dvr, lockouts).channels) == 4


def test_case_06_digest_alone_with_sha256_and_stale_nonces(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(onvif_auth="digest", sha256=True, nonce_life_s=0.05)

    assert len(probe(dvr, lockouts).channels) == 4
    assert wrong(dvr) == 0


def test_case_07_wrong_password_costs_two_answers(dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes) -> None:
    """Eight streams play and ONVIF is asked, when the password changes and everything is cut."""
    eyes.open(dvr)
    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")
    dvr.control.set_device(lockout_after=3)
    dvr.control.set_credentials("admin", "changed-at-the-recorder")

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(probe, dvr, lockouts) for _ in range(4)]
        dvr.control.act("cut")
        assert all(isinstance(each.exception(), DeviceError) for each in asked)
    eventually(lambda: eyes.states().count("refused") == 8, 15, "eight streams that hold their tongue")

    assert wrong(dvr) <= 2
    reasons = [stats.reason for stats in eyes.loop.stats().values()]
    assert all("'admin'" in reason and "No further attempt" in reason for reason in reasons)


def test_case_07_a_restart_does_not_try_the_same_password_again(
    dvr: VirtualDvr, tmp_path: Path, look: Callable[..., Eyes]
) -> None:
    path, sign = tmp_path / "lockouts.json", BoxKey(bytes(32)).sign
    kept = LockoutFile(path, sign)
    dvr.control.set_credentials("admin", "changed-at-the-recorder")
    first = look(kept.lockouts)
    first.open(dvr)
    eventually(lambda: first.states().count("refused") == 8, 15, "eight streams that hold their tongue")
    kept.save()
    assert wrong(dvr) == 2

    again = LockoutFile(path, sign).lockouts
    second = look(again)
    second.open(dvr)
    with pytest.raises(DeviceError, match="No further attempt"):
        probe(dvr, again)
    eventually(lambda: second.states().count("refused") == 8, 15, "eight streams that do not even ask")

    assert wrong(dvr) == 2
    assert "admin123" not in path.read_text()
    assert len(probe(dvr, again, Credentials("admin", "changed-at-the-recorder")).channels) == 4


def test_case_07_the_devices_own_countdown_is_shown(dvr: VirtualDvr, lockouts: Lockouts) -> None:
    dvr.control.set_device(onvif_auth="token", lockout_after=5)

    with pytest.raises(DeviceError, match=r"4 attempt\(s\) are left"):
        probe(dvr, lockouts, Credentials("admin", "wrong"))


def test_case_07_the_right_password_of_a_slow_crowd_is_not_counted(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes
) -> None:
    """Short-lived nonces and eight streams at once: every answer is right, so all play."""
    dvr.control.set_device(sha256=True, nonce_life_s=0.05)

    eyes.open(dvr)

    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")
    assert wrong(dvr) == 0


def test_case_07_a_changed_password_does_not_end_streams_that_play(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open sessions go on after a change; keep-alives must not spend the attempts, nor end the picture."""
    monkeypatch.setattr("edge_agent.capture.rtsp_session.LONGEST_KEEPALIVE_S", 0.5)
    eyes.open(dvr)
    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")

    dvr.control.set_credentials("admin", "changed-at-the-recorder")
    eventually(lambda: wrong(dvr) >= 2, 10, "keep-alives that were refused")
    asked = dvr.control.count("rtsp_get_parameter")
    eventually(lambda: dvr.control.count("rtsp_get_parameter") > asked + 16, 10, "more keep-alives")

    assert wrong(dvr) == 2
    assert eyes.states().count("playing") == 8


# Answers that are none, and addresses that lead elsewhere.


@pytest.mark.parametrize("manners", ["hang", "drip", "flood", "html"])
def test_case_09_a_mad_web_server_costs_bounded_time_and_memory(
    dvr: VirtualDvr, lockouts: Lockouts, manners: str
) -> None:
    dvr.control.set_device(http=manners)
    importlib.import_module("edge_agent.capture.interview")  # the library is measured elsewhere
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(DeviceError):
            device.probe(
                dvr.host, dvr.http_port, dvr.credentials, clock=SystemClock(), gate=lockouts, timeout_s=0.5
            )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert time.monotonic() - began < 10
    assert peak < 40_000_000


@pytest.mark.parametrize("claim", ["10.9.8.7:80", "0.0.0.0", "127.0.1.1:8106:8106", "192.168.1.64"])
def test_case_10_only_the_reached_host_is_talked_to(dvr: VirtualDvr, lockouts: Lockouts, claim: str) -> None:
    dvr.control.set_device(xaddr=claim)

    report = probe(dvr, lockouts)

    endpoints = [e for c in report.channels for e in (c.main, c.sub) if e]
    assert len(endpoints) == 8
    assert {(e.host, e.port) for e in endpoints} == {(dvr.host, dvr.rtsp_port)}


class Forwarder:
    """A second door to the recorder's ONVIF, and how often it was opened; or a page that is no ONVIF."""

    def __init__(self, to: tuple[str, int] | None) -> None:
        self.opened = 0
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.opened += 1
            with client:
                asked = _one_envelope(client)
                if self._to is None:
                    client.sendall(b"HTTP/1.0 200 OK\r\n\r\n<html>router</html>")
                    continue
                with socket.create_connection(self._to, timeout=5) as device:
                    device.sendall(asked)
                    client.sendall(_one_envelope(device))


def _one_envelope(sock: socket.socket) -> bytes:
    """A request or a reply with its head."""
    received = b""
    while not received.rstrip().endswith(b"Envelope>"):
        received += sock.recv(1 << 20)
    return received


@pytest.mark.parametrize("split", [True, False], ids=["services on another port", "a router's page there"])
def test_case_10_a_claimed_port_is_used_if_onvif_answers_there(
    dvr: VirtualDvr, lockouts: Lockouts, split: bool
) -> None:
    other = Forwarder((dvr.host, dvr.http_port) if split else None)
    dvr.control.set_device(xaddr=f"192.168.1.64:{other.port}")
    try:
        report = probe(dvr, lockouts)
    finally:
        other.close()

    assert len(report.channels) == 4
    assert report.events is not None
    assert report.events[1] == (other.port if split else dvr.http_port)
    assert other.opened > 1 if split else other.opened == 1
    assert wrong(dvr) == 0


# Events.

QUICK = Pace(first_s=0.3, longest_s=0.6, pull_s=2.0)
THIRTY_TIMES = Pace(first_s=30 / 30, longest_s=300 / 30, mending_s=300 / 30, pull_s=1.0)


class Told:
    """The facts of an event pool that listens to one recorder."""

    def __init__(
        self, source: EventSource, gate: Lockouts, run: Callable[[Worker], Running], pace: Pace = QUICK
    ) -> None:
        self.inbox = BoundedInbox()
        self.facts: list[DeviceEvent | EventsLost] = []
        pool = EventPool(SystemClock(), self.inbox, gate, pace)
        pool.watch(source)
        self.running = run(pool)

    def all(self) -> list[DeviceEvent | EventsLost]:
        while (fact := self.inbox.take(0)) is not None:
            assert isinstance(fact, DeviceEvent | EventsLost)
            self.facts.append(fact)
        return self.facts

    def events(self, kind: EventKind, channel: int) -> list[tuple[bool, bool]]:
        """(active, initial) of each event of that kind, in order."""
        return [
            (f.active, f.initial)
            for f in self.all()
            if isinstance(f, DeviceEvent) and (f.kind, f.channel) == (kind, channel)
        ]

    def sentences(self) -> list[str]:
        return [f.sentence for f in self.all() if isinstance(f, EventsLost)]


@pytest.fixture
def listen(dvr: VirtualDvr, lockouts: Lockouts, run: Callable[[Worker], Running]) -> Callable[..., Told]:
    """Starts a pool that listens to the recorder, with shorter pulls than in the field."""
    report = probe(dvr, lockouts)
    assert report.events is not None
    path, port = report.events
    tokens = tuple((c.source_token, c.number) for c in report.channels)
    source = EventSource("dvr", dvr.host, port, path, dvr.credentials, tokens)
    return lambda pace=QUICK: Told(source, lockouts, run, pace)


def held(dvr: VirtualDvr) -> int:
    count = dvr.control.state()["pull_points"]
    assert isinstance(count, int)
    return count


def test_case_08_a_user_who_may_not_subscribe_streams_all_the_same(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes, listen: Callable[[], Told]
) -> None:
    dvr.control.set_device(events_forbidden=True)
    eyes.open(dvr)

    told = listen()

    eventually(lambda: any("create an ONVIF user" in s for s in told.sentences()), 10, "the sentence")
    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")
    eventually(lambda: dvr.control.count("onvif_CreatePullPointSubscription") >= 4, 10, "further attempts")
    assert lockouts.may_try(dvr.host, dvr.credentials)
    assert wrong(dvr) == 0


def test_case_11_twenty_restarts_hold_one_pull_point(
    dvr: VirtualDvr, lockouts: Lockouts, listen: Callable[[], Told]
) -> None:
    created = dvr.control.count("onvif_CreatePullPointSubscription")
    for number in range(1, 21):
        told = listen()
        eventually(
            lambda: dvr.control.count("onvif_PullMessages") and held(dvr) == 1, 10, f"pull point {number}"
        )
        told.running.stop()
        assert held(dvr) == 0
    assert dvr.control.count("onvif_CreatePullPointSubscription") >= created + 20


def test_case_11_a_recorder_without_a_free_pull_point_is_left_alone(
    dvr: VirtualDvr, listen: Callable[[], Told]
) -> None:
    dvr.control.set_device(pull_point_limit=0)
    told = listen()
    eventually(lambda: any("other clients" in s for s in told.sentences()), 10, "the sentence")
    assert len(told.sentences()) == 1

    dvr.control.set_device(pull_point_limit=1)

    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 1), 10, "events after all")


def test_case_11_pauses_grow_to_five_minutes() -> None:
    pace, pauses = Pace(), [Pace().first_s]
    while len(pauses) < 6:
        pauses.append(pace.after(pauses[-1]))
    assert pauses == [30, 60, 120, 240, 300, 300]


def test_case_12_pauses_stay_short_for_a_recorder_that_is_starting() -> None:
    pace, longest_pull_s = Pace(), Pace().pull_s + TIMEOUT_S
    pauses = [pace.after(pace.first_s, well_since_s) for well_since_s in (0, 30, 60, 270)]
    assert pauses == [30, 30, 30, 30]
    assert longest_pull_s + max(pauses) < 90
    assert pace.after(30, 300) == 60


def test_case_12_events_are_back_within_ninety_seconds_of_a_slow_start(
    dvr: VirtualDvr, listen: Callable[..., Told]
) -> None:
    """Thirty times as fast as in the field: up for 130 s without its event service."""
    told = listen(THIRTY_TIMES)
    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 2) == [(False, True)], 10, "the first state")

    dvr.control.set_device(events_broken=True)
    dvr.control.act("reboot")
    time.sleep(130 / 30)
    dvr.control.set_device(events_broken=False)

    eventually(lambda: len(told.events(EventKind.VIDEO_LOSS, 2)) == 2, 90 / 30, "the state of now")


def test_case_12_a_pull_point_whose_answer_was_lost_is_given_back_first(
    dvr: VirtualDvr, listen: Callable[..., Told]
) -> None:
    """The recorder serves one listener, and still holds ours when it answers again."""
    dvr.control.set_device(pull_point_limit=1)
    told = listen()
    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 2) == [(False, True)], 10, "the first state")

    dvr.control.set_device(http="html")
    eventually(told.sentences, 15, "a pull that is answered by a web page")
    dvr.control.set_device(http="good")

    eventually(lambda: len(told.events(EventKind.VIDEO_LOSS, 2)) == 2, 10, "events again")
    assert held(dvr) == 1
    assert not any("other clients" in sentence for sentence in told.sentences())


@pytest.mark.parametrize("act", ["drop-subscriptions", "reboot"])
def test_case_12_events_resume_after_the_recorder_forgot_us(
    dvr: VirtualDvr, listen: Callable[[], Told], act: str
) -> None:
    dvr.control.set_device(unsubscribe_kills_all=True)
    told = listen()
    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 2) == [(False, True)], 10, "the first state")

    dvr.control.act(act)
    dvr.control.set_channel(2, mode="slate")

    # With the pauses of the field: the pull that is under way ends within 10 s, then 30 s of pause.
    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 2)[-1] == (True, True), 20, "the state of now")
    assert held(dvr) == 1


def test_case_07_a_pull_point_costs_no_further_answer(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes, listen: Callable[[], Told]
) -> None:
    """Streams and events run, both doors have said yes, when the password changes and everything is cut."""
    told = listen()
    eyes.open(dvr)
    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")
    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 1), 10, "events")

    dvr.control.set_credentials("admin", "changed-at-the-recorder")
    dvr.control.act("cut")

    eventually(lambda: eyes.states().count("refused") == 8, 15, "eight streams that hold their tongue")
    eventually(lambda: any("No further attempt" in s for s in told.sentences()), 10, "no events either")
    assert wrong(dvr) <= 2


def test_case_13_states_at_subscription_are_no_alarms(dvr: VirtualDvr, listen: Callable[[], Told]) -> None:
    dvr.control.set_channel(1, motion=True)
    dvr.control.set_channel(3, mode="off")

    told = listen()

    eventually(lambda: told.events(EventKind.MOTION, 1) == [(True, True)], 10, "the motion of before")
    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 3) == [(True, True)], 10, "the loss of before")
    dvr.control.set_channel(3, mode="on")
    eventually(
        lambda: told.events(EventKind.VIDEO_LOSS, 3) == [(True, True), (False, False)], 10, "the change"
    )


def test_case_14_odd_topics_are_understood(dvr: VirtualDvr, listen: Callable[[], Told]) -> None:
    dvr.control.set_device(odd_topics=True, clock_skew_s=-8 * 365 * 86400)
    told = listen()
    eventually(lambda: told.events(EventKind.VIDEO_LOSS, 4) == [(False, True)], 10, "the first state")

    dvr.control.set_channel(4, mode="slate")

    eventually(
        lambda: told.events(EventKind.VIDEO_LOSS, 4) == [(False, True), (True, False)], 10, "the change"
    )
    assert {f.topic for f in told.all() if isinstance(f, DeviceEvent)} == {
        "Monitoring/OperatingTime/LastReboot",
        "VideoSource/SignalLoss",
        "VideoSource/MotionAlarm",
    }


# A recorder that allows few sessions.


def test_main_streams_log_in_before_subs_at_a_recorder_that_thinks_long(
    dvr: VirtualDvr, lockouts: Lockouts, eyes: Eyes
) -> None:
    """Two logins at a time, however many streams there are: what is recorded goes first."""
    dvr.control.set_device(login_s=0.4)

    eyes.open(dvr)

    eventually(lambda: eyes.states().count("playing") == 8, 15, "eight streams")
    began = [fact.key.role for fact in eyes.told() if isinstance(fact, StreamStarted)]
    assert began == [Role.MAIN] * 4 + [Role.SUB] * 4
    assert wrong(dvr) == 0


@pytest.mark.parametrize("refusal", ["453", "403", "silent"])
def test_a_session_limit_is_learnt_and_main_streams_go_first(
    dvr: VirtualDvr, lockouts: Lockouts, look: Callable[..., Eyes], refusal: str
) -> None:
    """Five sessions for eight streams: all four main streams play, and what is left goes to a sub."""
    dvr.control.set_device(session_limit=5, session_refusal=refusal)
    eyes = look(lockouts, silence_s=1.0)
    eyes.open(dvr)

    def playing(role: Role) -> int:
        stats = eyes.loop.stats()
        return sum(1 for key, s in stats.items() if key.role is role and s.pictures and s.state == "playing")

    eventually(lambda: playing(Role.MAIN) == 4, 25, "four main streams")
    eventually(lambda: dvr.control.sessions() <= 5 or refusal == "silent", 5, "five sessions")
    if refusal == "453":
        eventually(lambda: playing(Role.SUB) == 1, 10, "one sub")
        time.sleep(1)  # the other subs have been refused by now
        asked = dvr.control.count("rtsp_setup")
        time.sleep(2)
        assert dvr.control.count("rtsp_setup") == asked
        assert playing(Role.SUB) == 1
