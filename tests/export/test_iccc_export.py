"""Evidence at the command centre: over a link that loses, taken up again, proved by the mirror's store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from evidence_world import PRIVATE, START_US, Box, S, minutes

from edge_agent.errors import UplinkError
from edge_agent.export.manifest import Exported
from edge_agent.iccc import export as exports
from edge_agent.iccc.export import Desk, Wanted
from edge_agent.iccc.export_spool import Spool
from edge_agent.iccc.ingest import Ingest
from edge_agent.iccc.playback import PlaybackEnd
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.witness import Role as Cosigning
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.wire import Batch
from edge_agent.model import Role
from edge_agent.seal.tips import tips_stream
from edge_agent.verify.check import verify
from edge_agent.verify.report import Verdict
from edge_agent.verify.trust import Trust


@dataclass
class Link:
    """Stands at our seam to the client: plays what the box holds, but loses every `loses`-th record once."""

    box: Box
    loses: int = 0
    breaks_after: int = 0
    loses_lists: bool = False
    asked: list[tuple[int, int]] = field(default_factory=list)

    def birth(self, site: str) -> object:
        camera = SimpleNamespace(
            id="cam-01", name="Forecourt", recorder="dvr", streams={Role.MAIN: self.box.stream.hex()}
        )
        return SimpleNamespace(
            data=SimpleNamespace(
                cameras=(camera,),
                name="Pump 7",
                kind="petrol_pump",
                timezone="Asia/Kolkata",
                licence="UP/ALG/7",
                address="Ramghat Road",
            )
        )

    def playback(self, site, camera, role, from_us, to_us, *, keep, **_) -> AbstractContextManager:
        self.asked.append((from_us, to_us))
        return nullcontext(self._play(from_us, to_us, keep))

    def _play(self, from_us: int, to_us: int, keep) -> Iterator[object]:
        loses, self.loses = self.loses, 0
        breaks, self.breaks_after = self.breaks_after, 0
        lists = [] if len(self.asked) == 1 and self.loses_lists else self.box.tips
        for number, record in enumerate([*lists, *self.box.read(from_us, to_us)], 1):
            if breaks and number > breaks:
                raise UplinkError("the connection is gone")
            if not loses or number % loses:
                keep(record)
                yield record
        yield PlaybackEnd("end of footage", complete=True)  # its last number came: it has no other sign


@pytest.fixture
def box() -> Box:
    return minutes(Box(), 3)


@pytest.fixture
def store(tmp_path: Path, box: Box) -> Iterator[LedgerStore]:
    """The mirror has all leaves and has cosigned them."""
    with closing(LedgerStore(tmp_path / "mirror.sqlite")) as store:
        store.enrol("pump-7", box.box.public, START_US)
        roles = [Cosigning(c.key, c.private.sign) for c in (box.witness, box.mirror)]
        ingest = Ingest(store, *roles)
        ingest.on_ledger("pump-7", Batch(0, tuple(box.leaves), box.view().own).encode(), START_US)
        for due in ingest.notes_due(START_US + 600 * S):
            ingest.publish_note(due.site, lambda _note: None)
        yield store


def wanted(box: Box) -> Wanted:
    told = Exported(box.now_us, "asha", "FIR 12", "4711", "iccc")
    return Wanted("pump-7", "cam-01", Role.MAIN, START_US, START_US + 12 * S, told)


def spool(path: Path, box: Box) -> Spool:
    return Spool(path, box.stream, tips_stream(box.box.box_id))


def desk(box: Box) -> Desk:
    key = Ed25519PrivateKey.generate()
    exporter = Verifier("iccc/exporter", key.public_key().public_bytes_raw())
    return Desk("site", PRIVATE, exporter, key, box.witness.key.vkey, box.mirror.key.vkey)


def test_a_package_from_the_mirrors_leaves_is_authentic_by_the_city_keys(
    tmp_path: Path, box: Box, store: LedgerStore
) -> None:
    out, link, with_keys = tmp_path / "e.zip", Link(box), desk(box)
    with closing(spool(tmp_path / "s", box)) as spooled:
        assert exports.pull(link, wanted(box), spooled, lambda _us: None)
        written = exports.write(
            out, link, wanted(box), with_keys, spooled, store, box.box.public, lambda records: records,
            lambda manifest: {"certificate.pdf": f"for {manifest['camera']['id']}".encode()},
        )  # fmt: skip
    assert written.cosigned == written.fragments == 60
    city = {
        ("mirror", with_keys.mirror),
        ("witness", with_keys.witness),
        ("exporter", with_keys.exporter.vkey),
    }
    report = verify(out, Trust(frozenset(city)))
    assert report.verdict is Verdict.AUTHENTIC, report
    site = report.facts["site"]
    assert isinstance(site, dict)
    assert (site["licence"], site["address"]) == ("UP/ALG/7", "Ramghat Road")
    assert report.keys["box"] == "vouched for by iccc/mirror"
    assert b"for cam-01" in out.read_bytes()


def test_what_the_link_loses_is_asked_for_again(tmp_path: Path, box: Box) -> None:
    link = Link(box, loses=9)
    with closing(spool(tmp_path / "s", box)) as spooled:
        assert exports.pull(link, wanted(box), spooled, lambda _us: None)
        assert [r.digest for r in spooled.footage()] == [r.digest for r in box.records]
    assert len(link.asked) > 2
    assert max(to - start for start, to in link.asked[1:-1]) < 5 * S


def test_many_holes_are_asked_for_in_few_sessions(tmp_path: Path, box: Box) -> None:
    link = Link(box, loses=2)
    with closing(spool(tmp_path / "s", box)) as spooled:
        assert exports.pull(link, wanted(box), spooled, lambda _us: None)
        assert [r.digest for r in spooled.footage()] == [r.digest for r in box.records]
    assert len(link.asked) <= 1 + exports.HOLES_AT_ONCE


def test_a_list_that_was_lost_on_the_way_is_asked_for_by_its_mark(
    tmp_path: Path, box: Box, store: LedgerStore
) -> None:
    """Footage has numbers, and the hole shows; of a list only the mark knows."""
    out, link = tmp_path / "e.zip", Link(box, loses_lists=True)
    with closing(spool(tmp_path / "s", box)) as spooled:
        assert exports.pull(link, wanted(box), spooled, lambda _us: None)
        assert spooled.tips() == []
        exports.write(
            out, link, wanted(box), desk(box), spooled, store, box.box.public, lambda records: records
        )
        assert len(spooled.tips()) == len(box.tips)
    assert len(link.asked) == 2
    assert verify(out).verdict is Verdict.AUTHENTIC


def test_a_broken_export_goes_on_where_it_was(tmp_path: Path, box: Box) -> None:
    link = Link(box, breaks_after=40)
    with closing(spool(tmp_path / "s", box)) as spooled, pytest.raises(UplinkError):
        exports.pull(link, wanted(box), spooled, lambda _us: None)
    with (tmp_path / "s").open("ab") as file:
        file.write(box.records[41].raw[:100])  # a crash in the middle of a write
    with closing(spool(tmp_path / "s", box)) as spooled:
        assert spooled.records == 40 - len(box.tips)
        assert exports.pull(link, wanted(box), spooled, lambda _us: None)
        assert [r.digest for r in spooled.footage()] == [r.digest for r in box.records]
    assert link.asked[1][0] > START_US + 6 * S


def test_the_spool_takes_no_other_stream_and_nothing_twice(tmp_path: Path, box: Box) -> None:
    other = minutes(Box(uid="another"))
    with closing(spool(tmp_path / "s", box)) as spooled:
        for record in [*other.records, *box.records, *box.records, *box.tips, *box.tips]:
            spooled.add(record)
        assert spooled.records == len(box.records)
        assert len(spooled.tips()) == len(box.tips)


def test_a_camera_that_the_birth_does_not_name_is_refused_with_those_it_does(box: Box) -> None:
    order, birth = wanted(box), Link(box).birth("pump-7")
    other = Wanted("pump-7", "cam-09", Role.MAIN, order.from_us, order.to_us, order.exported)
    with pytest.raises(UplinkError, match="known: cam-01"):
        exports.stream_of(birth, other)
