"""`doctor link` over a real broker and the emulated line: true figures, plain words, nobody disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import tomlkit
from click.testing import Result
from far_city import FarCity, inside
from lab import CITY_ADDRESS, Lab, lab
from shaper import Shape
from typer.testing import CliRunner

from edge_agent import config as configuration
from edge_agent.cli.doctor_link import Asked, LinkDoctor, Report
from edge_agent.cli.main import app
from edge_agent.clock import SystemClock
from edge_agent.demo import settings
from edge_agent.demo.broker import Mosquitto
from edge_agent.demo.pki import Pki
from edge_agent.demo.settings import SITE, Layout
from edge_agent.model import ClockTrust
from edge_agent.uplink.probe import probing
from edge_agent.uplink.probe_judge import State, Step
from edge_agent.uplink.settings import media_settings

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make network namespaces"),
    pytest.mark.needs("ip"),
    pytest.mark.needs("mosquitto"),
]


class Shop:
    """A box that was just installed, at the end of a line, and the broker at the other end."""

    def __init__(self, line: Lab, directory: Path) -> None:
        self.line = line
        self.layout = Layout(directory)
        self.layout.make()
        self.pki = Pki(self.layout.pki, names=("localhost", "127.0.0.1", CITY_ADDRESS))
        self.broker = Mosquitto(self.layout.broker, self.pki, host="0.0.0.0")

    def configured(self, **uplink: Any) -> Path:
        path = settings.write_agent_config(self.layout, self.pki, self.broker.port, "")
        document = tomlkit.parse(path.read_text()).unwrap()
        document["uplink"]["brokers"] = [f"mqtts://{CITY_ADDRESS}:{self.broker.port}"]
        document["uplink"] = {k: v for k, v in (document["uplink"] | uplink).items() if v is not None}
        document["recorders"] = []
        path.write_text(tomlkit.dumps(document))
        return path

    def examine(
        self, asked: Asked = Asked(), status: Iterable[dict[str, Any] | None] = (), **uplink: Any
    ) -> Report:
        config = configuration.load(self.configured(**uplink))
        clock, said = SystemClock(lambda: ClockTrust.NTP), iter(status)
        with inside(self.line.box):
            return LinkDoctor(
                config, lambda: next(said, None), clock, lambda _: None, lambda _: None
            ).examine(asked)

    def command(self, *arguments: str) -> Result:
        with inside(self.line.box):
            return CliRunner().invoke(app, ["doctor", *arguments, "--config", str(self.configured())])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with lab() as line:
        shop = Shop(line, tmp_path_factory.mktemp("shop"))
        with inside(line.city):
            shop.broker.start()
        yield shop
        shop.broker.stop()


@pytest.fixture
def shop(built: Shop) -> Shop:
    """With a perfect line again."""
    built.line.shape(Shape())
    return built


def test_the_figures_of_a_mobile_line_are_true(shop: Shop) -> None:
    shop.line.mobile(rate_bps=2e6, round_trip_s=0.04)
    report = shop.examine(Asked(seconds=2))

    assert report.good, report.steps
    figures = report.figures
    assert 40 <= figures["round_trip_ms"]["least"] < 80
    assert 1400 < figures["goodput_kbps"] < 2100
    assert figures["loss"] < 0.02
    assert figures["carries"]["subs"] in (3, 4, 5)
    assert figures["carries"]["mains"] == 0


def test_a_budget_is_kept(shop: Shop) -> None:
    before = shop.line.counters()["up"]["bytes"]
    report = shop.examine(Asked(seconds=5, budget_bytes=200_000))

    assert 130_000 <= report.figures["sent_bytes"] < 200_000
    assert shop.line.counters()["up"]["bytes"] - before < 300_000


@pytest.mark.parametrize(
    ("uplink", "step", "words", "cure"),
    [
        ({"brokers": ["mqtts://no-such-name.invalid"]}, "name", "does not resolve", "name server"),
        ({"brokers": [f"mqtts://{CITY_ADDRESS}:9"]}, "port", "is closed", "whether its broker runs"),
        ({"media_certificate": None, "media_key": None}, "broker", "no media certificate", "set uplink"),
        ({"brokers": []}, "broker", "no broker is configured", "fill in uplink"),
    ],
)
def test_the_step_that_fails_says_what_to_do(
    shop: Shop, uplink: dict[str, Any], step: str, words: str, cure: str
) -> None:
    found = _worst(shop.examine(**uplink), step)

    assert words in found.sentence
    assert cure in found.next


def test_a_broker_of_another_authority_is_not_trusted(shop: Shop, tmp_path: Path) -> None:
    found = _worst(shop.examine(ca=str(Pki(tmp_path / "foreign").ca)), "TLS")

    assert "not trusted" in found.sentence
    assert "uplink.ca" in found.next


def test_certificates_that_the_broker_does_not_know_are_refused(shop: Shop, tmp_path: Path) -> None:
    stranger = Pki(tmp_path / "foreign").client(f"{SITE}.av")
    found = _worst(
        shop.examine(media_certificate=str(stranger.certificate), media_key=str(stranger.key)), "broker"
    )

    assert "certificate" in found.sentence
    assert "revoked" in found.next


def test_a_certificate_of_another_site_is_told_before_the_broker_is_asked(shop: Shop) -> None:
    other = shop.pki.client("other-site.av")
    report = shop.examine(media_certificate=str(other.certificate), media_key=str(other.key))

    assert f"this box needs '{SITE}.av'" in _worst(report, "media certificate").sentence
    assert "round_trip_ms" not in report.figures


def test_a_viewer_who_comes_ends_the_measurement(shop: Shop) -> None:
    shop.line.mobile()
    uplink = configuration.load(shop.configured()).uplink
    media = media_settings(SITE, uplink)
    assert media is not None

    def watch() -> None:
        with probing(SITE, media, media.brokers[0], SystemClock(lambda: ClockTrust.NTP)) as agent:
            agent.round_trips(1)

    with inside(shop.line.box):
        viewer = Timer(1.5, watch)
        viewer.start()
    report = shop.examine(Asked(seconds=10), status=[_status(False), _status(True)])
    viewer.join()

    assert report.good, report.steps
    assert report.steps[-1].name == "viewers"
    assert "somebody began to watch" in report.steps[-1].sentence


def test_an_agent_that_is_cut_off_on_a_good_line_points_at_its_own_firewall(shop: Shop) -> None:
    down = {"link": {"up": False, "broker": "", "reason": "timed out"}, "cameras": []}
    report = shop.examine(Asked(seconds=1, budget_bytes=100_000), status=[down])

    assert "not connected: timed out" in _step(report, "agent").sentence
    assert "service's own firewall" in _step(report, "agent").next
    assert report.figures["goodput_kbps"] > 0


def test_nothing_is_measured_while_somebody_watches(shop: Shop) -> None:
    report = shop.examine(status=[_status(True)])

    assert report.good, report.steps
    assert report.steps[-1].name == "viewers"
    assert "goodput_kbps" not in report.figures


def test_plain_doctor_examines_the_link(shop: Shop) -> None:
    with inside(shop.line.box):
        done = CliRunner().invoke(app, ["--config", str(shop.configured(brokers=[])), "doctor"])

    assert done.exit_code == 1
    assert "no broker is configured" in done.stdout


def test_the_command_prints_json_and_its_exit_code_tells(shop: Shop) -> None:
    good = shop.command("link", "--seconds", "1", "--json")
    document = json.loads(good.stdout)

    assert good.exit_code == 0, good.stderr
    assert set(document) == {"site", "good", "steps", "figures"}
    assert all(set(step) == {"name", "state", "sentence", "next"} for step in document["steps"])
    assert set(document["figures"]) == {
        "broker", "dns_ms", "connect_ms", "tls_ms", "round_trip_ms", "goodput_kbps", "sent_bytes", "loss",
        "carries",
    }  # fmt: skip
    assert good.stderr == ""


@pytest.mark.long
def test_loss_is_seen_and_named(shop: Shop) -> None:
    shop.line.mobile(rate_bps=2e6, round_trip_s=0.04, loss=0.03)
    report = shop.examine(Asked(seconds=8))

    assert 0.015 < report.figures["loss"] < 0.06
    assert _step(report, "loss").state is not State.GOOD
    assert "signal" in _step(report, "loss").next


@pytest.mark.long
def test_a_queue_that_we_filled_ourselves_is_not_called_loss(shop: Shop) -> None:
    shop.line.mobile(rate_bps=20e6, round_trip_s=0.03)
    report = shop.examine()

    assert report.good, report.steps
    assert report.figures["loss"] < 0.01
    assert report.figures["goodput_kbps"] > 8000


@pytest.mark.long
def test_a_silent_line_is_told_as_one(shop: Shop) -> None:
    shop.line.silence()
    found = _worst(shop.examine(), "port")

    assert "nothing answers" in found.sentence
    assert "firewall" in found.next


@pytest.mark.long
def test_a_line_that_dies_under_load_is_half_dead(shop: Shop) -> None:
    shop.line.mobile()
    dying = Timer(3, shop.line.silence)
    dying.start()
    found = _worst(shop.examine(Asked(seconds=30, budget_bytes=50_000_000)), "goodput")
    dying.join()

    assert "half-dead" in found.next


@pytest.mark.long
def test_a_forgetful_nat_is_found_by_ever_longer_pauses(shop: Shop) -> None:
    shop.line.shape(Shape(delay_s=0.02), nat_timeout_s=3.0)
    report = shop.examine(Asked(seconds=1, pauses_s=(1, 2, 5)))

    assert report.figures["idle"] == {"survived_s": 2, "lost_s": 5}
    assert _step(report, "idle").state is State.BAD
    assert "uplink.heartbeat_s" in _step(report, "idle").next


@pytest.mark.long
def test_a_running_agent_keeps_its_connection(tmp_path: Path) -> None:
    with FarCity(tmp_path, cameras=2) as far:
        far.lab.mobile()
        far.wait_until_seeing(2)
        before = far.client.birth(SITE)
        command = [sys.executable, "-m", "edge_agent.cli", "doctor", "link", "--config"]
        inside_box = far.lab.at(far.lab.box, [*command, str(far.layout.agent_config)])
        done = subprocess.run(inside_box, capture_output=True, text=True, timeout=60, check=False)
        after, link = far.client.birth(SITE), far.status()["link"]

    assert done.returncode == 0, done.stdout
    assert before is not None
    assert after is not None
    assert (before.session, before.seq) == (after.session, after.seq)
    assert link["up"]
    assert (far.layout.logs / "agent.log").read_text().count(f"{SITE}: connected to") == 1
    assert "runs and is connected" in done.stdout
    assert "usual ones" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def _status(watched: bool) -> dict[str, Any]:
    """What a running agent would say of its link."""
    return {"link": {"up": True, "broker": "the broker", "media_connected": watched}, "cameras": []}


def _step(report: Report, name: str) -> Step:
    return next(step for step in report.steps if step.name == name)


def _worst(report: Report, name: str) -> Step:
    """The step by that name, which must be what is bad."""
    assert [step.name for step in report.steps if step.state is State.BAD] == [name], report.steps
    return _step(report, name)
