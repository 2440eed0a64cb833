"""Fetching goes on until nothing is missing, and says why when it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Condition

import pytest

from edge_agent.errors import EdgeAgentError, UplinkError
from edge_agent.iccc import clip
from edge_agent.iccc.clip import ClipOrder, Heard, fetch
from edge_agent.iccc.orders import CommandRefused, Ordered
from edge_agent.iccc.stream import MediaRouter
from edge_agent.model import Role
from edge_agent.seal.record import Flag, Header, Kind, Record, build_record
from edge_agent.uplink import ulid
from edge_agent.uplink.clip import ClipStarted, payloads, survey
from edge_agent.uplink.messages import Lifecycle, Reply, ReplyData
from edge_agent.uplink.operations import ClipArgs
from edge_agent.uplink.topics import MediaKind

ORDER = ClipOrder("pump-17", "cam-01", Role.MAIN, 1, 9, "asha", "FIR 12")
LEASE = ulid.from_bytes(bytes(16))


def records(first: int, count: int) -> list[Record]:
    return [
        build_record(
            Header(
                Kind.FRAGMENT, b"s" * 16, b"e" * 16, n, 50_000, 50_000, 1_790_000_000_000_000, n, b"b" * 16,
                bytes(32), Flag.KEYFRAME,
            ),
            bytes([n]) * 50_000,
        )
        for n in range(first, first + count)
    ]  # fmt: skip


def whole(some: list[Record]) -> bytes:
    return b"".join(record.raw for record in some)


class Box:
    """Stands in for client and box: `lose` says which parts of a round do not arrive."""

    def __init__(self, lose: Callable[[int, int], bool] = lambda _round, _number: False) -> None:
        self.ring = records(0, 10)
        self.asked: list[ClipArgs] = []
        self.refusal = ""
        self.said: list[str] = []
        self._lose = lose
        self._router = MediaRouter()
        self._replies: dict[str, list[tuple[Reply, float]]] = {}

    def birth(self, _site: str) -> object:
        return self

    def media(self, _site: str, kind: MediaKind) -> MediaRouter:
        assert kind is MediaKind.CLIP
        return self._router

    def order(self, site: str, op: str, args: dict, *, operator: str, reason: str) -> Ordered:
        command = ulid.new(len(self.said))
        self.said.append(op)
        self._replies[command] = []
        if op == "clip.fetch":
            self._serve(command, ClipArgs.model_validate(args, strict=False))
        return Ordered(Condition(), self._replies, site, op, command)

    def _serve(self, command: str, args: ClipArgs) -> None:
        self.asked.append(args)
        made = survey(b"s" * 16, args.from_us, 5, self.ring)
        if self.refusal:
            self._reply(command, Lifecycle.FAILED, code=self.refusal)
        elif args.transfer not in (None, made.transfer.hex()):
            self._reply(command, Lifecycle.FAILED, code="changed")
        else:
            session = ulid.new(len(self.asked))
            started = ClipStarted(
                transfer=made.transfer.hex(), session=session, lease=LEASE, lease_s=20, topic="t", from_us=1,
                to_us=5, size=made.size, parts=made.parts, records=10, sha256=made.sha256.hex(),
            )  # fmt: skip
            self._reply(command, Lifecycle.PROGRESS, result=started.model_dump(mode="json"))
            for number, payload in enumerate(payloads(made, self.ring, args.want)):
                if not self._lose(len(self.asked), number):
                    self._router.take(session, payload)
            self._reply(command, Lifecycle.DONE, result={"ended": "all parts sent"})

    def _reply(self, command: str, status: Lifecycle, **more) -> None:
        data = ReplyData(command=command, op="clip.fetch", status=status, **more)
        reply = Reply(id=LEASE, session=LEASE, seq=0, ts="2026-11-22T18:10:00.250Z", mono=0, data=data)
        self._replies[command].append((reply, 0.0))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STRAGGLERS_S": 0.02, "PAUSE_S": (0.0, 0.0), "_POLL_S": 0.01}.items():
        monkeypatch.setattr(clip, name, value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clip.records"


def test_lost_parts_alone_are_asked_for_again(path: Path) -> None:
    box = Box(lambda turn, number: turn == 1 and number in (2, 3, 6))
    head = fetch(box, ORDER, path)
    assert path.read_bytes() == whole(box.ring)
    assert [args.want for args in box.asked] == [(), ((2, 3), (6, 6))]
    assert (box.asked[1].to_us, box.asked[1].transfer) == (5, head.transfer)


def test_another_run_goes_on_where_the_first_gave_up(path: Path) -> None:
    box = Box(lambda turn, number: number > 3 and turn == 1)
    with pytest.raises(UplinkError, match=r"4 of 8 parts are here, run it again"):
        fetch(Box(lambda _turn, number: number > 3), ORDER, path, patience_s=-1)
    fetch(box, ORDER, path)
    assert path.read_bytes() == whole(box.ring)
    assert box.asked[0].want == ((4, 7),)


def test_a_ring_that_changed_is_told_and_fetched_anew(path: Path) -> None:
    told: list[str] = []
    box = Box(lambda turn, number: turn == 1 and number == 5)

    def evict(heard: Heard) -> None:
        told.append(heard.waiting)
        box.ring = records(2, 8)

    fetch(box, ORDER, path, evict)
    assert path.read_bytes() == whole(records(2, 8))
    assert [args.transfer is None for args in box.asked] == [True, False, True]
    assert any("changed" in text for text in told)


@pytest.mark.parametrize("code", ["not_allowed", "unsupported", "not_recorded"])
def test_a_lasting_refusal_ends_it_at_once(path: Path, code: str) -> None:
    box = Box()
    box.refusal = code
    with pytest.raises(CommandRefused, match=code):
        fetch(box, ORDER, path)
    assert len(box.asked) == 1


def test_a_box_that_looks_for_its_cameras_is_waited_for(path: Path) -> None:
    box = Box(lambda turn, number: turn == 1 and number == 0)

    def restart(_heard: Heard) -> None:
        box.refusal = "not_recorded" if len(box.asked) in (1, 2) else ""

    fetch(box, ORDER, path, restart)
    assert path.read_bytes() == whole(box.ring)
    assert len(box.asked) > 2


def test_the_sending_is_stopped_when_the_receiver_gives_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box()
    box._reply = lambda command, status, **more: (  # type: ignore[method-assign]
        None if status is Lifecycle.DONE else Box._reply(box, command, status, **more)
    )

    def interrupted(heard: Heard) -> None:
        raise KeyboardInterrupt

    box._lose = lambda _turn, number: number > 0
    monkeypatch.setattr(clip, "SAVE_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        fetch(box, ORDER, path, interrupted)
    assert box.said == ["clip.fetch", "live.stop"]


def test_files_in_the_way_are_named(path: Path) -> None:
    with pytest.raises(UplinkError):
        fetch(Box(lambda _turn, number: number > 3), ORDER, path, patience_s=-1)
    other = ClipOrder("pump-17", "cam-02", Role.MAIN, 1, 9, "asha", "FIR 12")
    with pytest.raises(EdgeAgentError, match="another clip was begun"):
        fetch(Box(), other, path)
    path.write_bytes(b"")
    with pytest.raises(EdgeAgentError, match="is there already"):
        fetch(Box(), ORDER, path)
