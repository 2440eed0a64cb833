"""The certificate: what it says, in shaped letters, and as the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uharfbuzz
from evidence_world import Box, minutes
from fontTools.ttLib import TTFont

from edge_agent.errors import FormatError
from edge_agent.export import certificate as certificates
from edge_agent.export import certificate_facts, certificate_words, package
from edge_agent.export.certificate_words import Heading
from edge_agent.export.manifest import Json, RecorderFacts, SiteFacts
from edge_agent.verify.check import verify
from edge_agent.verify.report import Verdict

FONTS = Path(certificates.__file__).parent / "fonts"
RECORDER = RecorderFacts(
    "dvr", "CP PLUS", "CP-UVR-0801E1", "7L0B2A1PAZ01234", "3c:ef:8c:11:22:33", colour="black"
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Json]]:
    """A package with its certificate: two marked stretches, a pause of seven seconds, another one."""
    box = minutes(Box(), 2)
    box.pause(7, "no packets from the camera")
    box.record(4, epoch=False)
    box.mark()
    request = box.request()
    site = SiteFacts("pump-7", "रामघाट रोड पेट्रोल पंप", address="Ramghat Road, Aligarh")
    facts = replace(request.facts, site=site, recorder=RECORDER)
    seen: dict[str, Json] = {}

    def extras(manifest) -> dict[str, bytes]:
        seen.update(manifest)
        return certificates.extras(manifest)

    path = tmp_path_factory.mktemp("packed") / "e.zip"
    with path.open("w+b") as file:
        package.write(file, replace(request, facts=facts), extras)
    return path, seen


def test_a_package_with_its_certificate_verifies_and_lists_it(packed) -> None:
    path, _ = packed
    assert verify(path).verdict is Verdict.AUTHENTIC_WITH_GAPS
    content = path.read_bytes()
    assert b"certificate.pdf" in content
    at = content.index(b"%PDF-")
    path_changed = path.with_name("changed.zip")
    path_changed.write_bytes(content[: at + 200] + bytes([content[at + 200] ^ 1]) + content[at + 201 :])
    assert verify(path_changed).verdict is Verdict.NOT_AUTHENTIC


def test_the_same_manifest_gives_the_same_bytes(packed) -> None:
    _, manifest = packed
    assert certificates.certificate(manifest) == certificates.certificate(dict(manifest))


def test_what_is_known_is_filled_in_and_told_in_ist(packed) -> None:
    told = certificate_facts.read(packed[1])
    assert (told.make_model, told.serial, told.mac, told.colour) == (
        "CP PLUS, CP-UVR-0801E1", "7L0B2A1PAZ01234", "3c:ef:8c:11:22:33", "black",
    )  # fmt: skip
    assert told.recorded_from == "21/09/2026 19:43:20"  # 14:13:20 UTC
    assert told.camera == "Forecourt (cam-01, main stream)"
    assert [(o.seconds, o.cause, o.source) for o in told.outages] == [
        (7.0, "no packets from the camera", "sealed record")
    ]
    assert [f.name for f in told.files] == ["clip.mp4", "records.bin", "tips.bin", "ledger.json"]


def test_what_is_unknown_reads_not_available(packed) -> None:
    manifest = {**packed[1], "recorder": {"name": "not available"}}
    told = certificate_facts.read(manifest)
    assert (told.serial, told.mac, told.colour, told.has_recorder) == (*["not available"] * 3, False)
    assert certificates.certificate(manifest).startswith(b"%PDF-")


@pytest.mark.parametrize("part", ["files", "gaps", "held", "asked", "exported", "camera"])
def test_a_manifest_that_lacks_a_part_is_refused(packed, part: str) -> None:
    manifest = {name: value for name, value in packed[1].items() if name != part}
    with pytest.raises(FormatError):
        certificates.certificate(manifest)


def test_many_outages_go_on_over_pages(packed) -> None:
    gap = packed[1]["gaps"][0]
    few = certificates.certificate(packed[1])
    many = certificates.certificate({**packed[1], "gaps": [gap] * 300})
    assert many.count(b"/Type /Page\n") > few.count(b"/Type /Page\n") >= 4


def headings() -> Iterator[str]:
    return (word.hindi for word in vars(certificate_words).values() if isinstance(word, Heading))


@pytest.mark.parametrize("weight", ["Regular", "Bold"])
def test_every_hindi_heading_is_in_the_font_and_shapes_without_a_loose_sign(weight: str) -> None:
    path = FONTS / f"NotoSansDevanagari-{weight}.ttf"
    order = TTFont(path).getGlyphOrder()
    for text in headings():
        names = [order[glyph] for glyph in shaped(path, text)]
        assert ".notdef" not in names, text
        assert not {"dottedcircle", "uni25CC"}.intersection(names), text


@pytest.mark.parametrize("cluster", ["क्ष", "त्र", "श्र", "ज्ञ", "द्व", "र्य"])
def test_conjuncts_are_formed(cluster: str) -> None:
    """Shaped, a conjunct has fewer glyphs than letters and no visible virama."""
    path = FONTS / "NotoSansDevanagari-Regular.ttf"
    font = TTFont(path)
    virama = font.getGlyphID(font.getBestCmap()[0x94D])
    glyphs = shaped(path, cluster)
    assert len(glyphs) < len(cluster)
    assert virama not in glyphs


def shaped(path: Path, text: str) -> list[int]:
    font = uharfbuzz.Font(uharfbuzz.Face(uharfbuzz.Blob(path.read_bytes())))
    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    uharfbuzz.shape(font, buffer)
    return [info.codepoint for info in buffer.glyph_infos]


def test_the_fonts_come_with_their_licence() -> None:
    assert "SIL OPEN FONT LICENSE" in (FONTS / "OFL.txt").read_text()
    for path in FONTS.glob("*.ttf"):
        assert "Open Font License" in TTFont(io.BytesIO(path.read_bytes()))["name"].getDebugName(13)
