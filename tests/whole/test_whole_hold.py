"""A whole city: footage is held over the broker, its key destroyed, and it is exported all the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.demo import keyfile, settings
from edge_agent.demo.city import EXPORTER, City
from edge_agent.demo.settings import SITE
from edge_agent.errors import SealError
from edge_agent.export import certificate
from edge_agent.export.manifest import Exported
from edge_agent.iccc import export as exports
from edge_agent.iccc import hold as holds
from edge_agent.iccc.belief import TrustedBoxes
from edge_agent.iccc.client import ClientSettings, IcccClient
from edge_agent.iccc.export import Desk, Wanted
from edge_agent.iccc.hold import HoldOrder, Rewrapper
from edge_agent.iccc.hold_store import HoldStore
from edge_agent.iccc.link import TlsFiles
from edge_agent.iccc.orders import CommandRefused, SecondKey
from edge_agent.iccc.store import LedgerStore
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.model import Role
from edge_agent.ring.evidence import list_holds
from edge_agent.seal.keys import Recipient, generate_recipient
from edge_agent.verify.check import verify
from edge_agent.verify.report import Verdict

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.long, pytest.mark.timeout(900)]

Soon = Callable[[Callable[[], object], float, str], None]
S = 1_000_000


def test_what_was_held_is_exported_after_its_key_is_destroyed(
    city: City, watcher, soon: Soon, tmp_path: Path
) -> None:
    time.sleep(12)
    end_us = time.time_ns() // 1000 - S
    order = HoldOrder(SITE, "cam-01", Role.MAIN, end_us - 10 * S, end_us, "4711/2026", "asha", "FIR 12")
    public, percents = settings.box_public(city.layout), []
    private, evidence_public = generate_recipient()
    recipient_key = city.pki.recipient_key().private_bytes_raw()
    rewrapper = Rewrapper(settings.RECIPIENT_ID, recipient_key, Recipient("evidence", evidence_public))
    with closing(HoldStore(tmp_path / "holds.sqlite")) as store:
        held = holds.hold(watcher.client, public, order, rewrapper, store, percents.append)
        again = holds.hold(watcher.client, public, order, rewrapper, store)
        wraps = store.wraps(SITE)
    assert (held.id, held.digest) == (again.id, again.digest)
    size = city.status()["ledger"]["size"]
    soon(lambda: city.status()["ledger"]["cosigned"] >= size, 400, "the cosignature")
    report = exported(city, tmp_path, order, Recipient("evidence", evidence_public), private, wraps)
    assert report.verdict is Verdict.AUTHENTIC, report
    with pytest.raises(SealError):
        exported(city, tmp_path, order, Recipient("evidence", evidence_public), private, {})
    released(city, watcher.client, tmp_path, soon)


def released(city: City, client: IcccClient, tmp_path: Path, soon: Soon) -> None:
    """One person alone, or one role twice, is refused; two give it up, there and here."""
    evidence = city.layout.agent / "ring" / "evidence"
    with closing(HoldStore(tmp_path / "holds.sqlite")) as store:
        with pytest.raises(CommandRefused, match="not_allowed"):
            client.command(SITE, "ring.release", {"case": "4711/2026"}, operator="asha", reason="alone")
        again = SecondKey(city.pki.command_key(), settings.COMMAND_KID)
        with pytest.raises(CommandRefused, match="not_allowed"):
            holds.release(client, SITE, "4711/2026", again, store, by="asha", reason="twice the same")
        assert store.holds(SITE)
        second = SecondKey(city.pki.supervisor_key(), settings.SUPERVISOR_KID)
        size = holds.release(client, SITE, "4711/2026", second, store, by="asha", reason="court 9")
        assert size > 1_000_000
        assert store.holds(SITE) == []
    cases = [hold for hold in list_holds(evidence) if not hold.stretch.automatic]
    assert cases == []
    with closing(LedgerStore(city.layout.mirror)) as kept:
        soon(lambda: b'"type":"release"' in everything(kept), 60, "the leaf at the mirror")


def everything(kept: LedgerStore) -> bytes:
    origin = kept.of_site(SITE)
    return b"".join(kept.leaves(origin.name, 0, origin.size))


def exported(city: City, tmp_path: Path, order: HoldOrder, evidence: Recipient, private: bytes, wraps):
    """With the evidence key alone, from wherever the box has the footage."""
    identity, public = city.pki.client(EXPORTER), settings.box_public(city.layout)
    known = ClientSettings(
        f"mqtts://127.0.0.1:{city.broker.port}", TlsFiles(city.pki.ca, identity.certificate, identity.key),
        EXPORTER, city.pki.command_key(), settings.COMMAND_KID, evidence.id, private,
    )  # fmt: skip
    client = IcccClient(known, TrustedBoxes({SITE: public}), lambda _site: wraps)
    exporter = keyfile.ed25519_key(tmp_path / "exporter.pem")
    desk = Desk(
        evidence.id, private, Verifier("iccc/exporter", exporter.public_key().public_bytes_raw()), exporter,
        keyfile.vkey(settings.WITNESS_NAME, city.pki.witness_key()),
        keyfile.vkey(settings.MIRROR_NAME, city.pki.mirror_key()), wraps,
    )  # fmt: skip
    told = Exported(time.time_ns() // 1000, "asha", "FIR 12", order.case, "iccc")
    wanted = Wanted(SITE, order.camera, order.role, order.from_us, order.to_us, told)
    out = tmp_path / f"{time.time_ns()}.zip"
    client.start()
    try:
        while (birth := client.birth(SITE)) is None:
            time.sleep(0.1)
        with (
            exports.open_spool(tmp_path / f"{time.time_ns()}.spool", birth, wanted, public) as spool,
            closing(LedgerStore(city.layout.mirror)) as store,
        ):
            assert exports.pull(client, wanted, spool, lambda _us: None)
            exports.write(
                out, client, wanted, desk, spool, store, public, lambda records: records,
                certificate.extras, exports.recorder_of(client, wanted),
            )  # fmt: skip
    finally:
        client.stop()
    return verify(out)
