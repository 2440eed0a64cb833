"""The certificate under section 63(4)(c) of the Bharatiya Sakshya Adhiniyam 2023, filled as far as is known.

Part A for the party, Part B for the expert, the hash report, and when nothing was recorded. Names, relations
and signatures stay blank: a person must state them.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_agent.export import certificate_facts as facts
from edge_agent.export import certificate_words as words
from edge_agent.export.certificate_facts import CertificateFacts, HashedFile
from edge_agent.export.certificate_sheet import Sheet
from edge_agent.export.manifest import UNKNOWN, Json

NAME = "certificate.pdf"
MAX_OUTAGES = 200


def extras(manifest: Mapping[str, Json]) -> dict[str, bytes]:
    """For `package.write`: the certificate as one more file of the package."""
    return {NAME: certificate(manifest)}


def certificate(manifest: Mapping[str, Json]) -> bytes:
    """A PDF; the same manifest gives the same bytes.

    `manifest` is the package's, with the files packed so far. Raises FormatError when it is none,
    EdgeAgentError without the libraries of the extra `iccc`.
    """
    told = facts.read(manifest)
    title = f"Certificate, {told.camera}, {told.recorded_from} IST"
    sheet = Sheet(title, told.exported_at_us, f"{told.site}; {told.camera}; {told.software}")
    _part_a(sheet, told)
    sheet.new_page()
    _part_b(sheet, told)
    sheet.new_page()
    _hash_report(sheet, told)
    _outages(sheet, told)
    return sheet.finish()


def _part_a(sheet: Sheet, told: CertificateFacts) -> None:
    sheet.title(words.TITLE, 14)
    sheet.title(words.ACT, 10)
    sheet.heading(words.PART_A)
    sheet.blank("I,")
    sheet.blank("son / daughter / spouse of")
    sheet.blank("residing / employed at")
    sheet.paragraph(words.AFFIRM)
    _source(sheet, told)
    sheet.paragraph(words.LIVE)
    sheet.heading(words.CONTROL)
    sheet.paragraph(words.WORKING)
    sheet.paragraph(_worked(told))
    sheet.paragraph(words.HELD_AS)
    sheet.ticks(words.RELATIONS, ())
    _hashes(sheet, told)
    _signature(sheet, "Name and signature")


def _part_b(sheet: Sheet, told: CertificateFacts) -> None:
    sheet.title(words.TITLE, 14)
    sheet.title(words.ACT, 10)
    sheet.heading(words.PART_B)
    sheet.blank("I,")
    sheet.blank("son / daughter / spouse of")
    sheet.blank("residing / employed at")
    sheet.paragraph(words.AFFIRM)
    _source(sheet, told)
    _hashes(sheet, told)
    _signature(sheet, "Name, designation and signature")


def _source(sheet: Sheet, told: CertificateFacts) -> None:
    sheet.heading(words.SOURCE)
    sheet.paragraph(words.TAKEN_FROM)
    sheet.ticks(words.SOURCES, (words.DVR if told.has_recorder else words.OTHER,))
    if not told.has_recorder:
        sheet.field("Other", "network camera")
    sheet.heading(words.DEVICE)
    sheet.field("Make and model", told.make_model)
    sheet.field("Colour", told.colour)
    sheet.field("Serial number", told.serial)
    sheet.field("IMEI / UIN / UID / MAC / Cloud ID", told.mac if told.mac == UNKNOWN else f"MAC {told.mac}")
    sheet.field("Other information", _other(told))
    sheet.heading(words.RECORD)
    sheet.field("Site", told.site)
    sheet.field("Address", told.address)
    sheet.field("Camera, its position", told.camera)
    sheet.field("Recorded (IST, 24 h)", f"{told.recorded_from} to {told.recorded_to}")
    sheet.field("Case; reason", f"{told.case}; {told.reason}" if told.case != UNKNOWN else told.reason)


def _other(told: CertificateFacts) -> str:
    if told.firmware == UNKNOWN:
        return f"called {told.recorder} in its configuration" if told.has_recorder else UNKNOWN
    return f"called {told.recorder} in its configuration; firmware {told.firmware}"


def _worked(told: CertificateFacts) -> str:
    if not told.outages:
        return words.WORKED
    seconds = sum(outage.seconds for outage in told.outages)
    number = f"{len(told.outages)} interruption{'s' if len(told.outages) > 1 else ''}"
    lost = f"{number}, {seconds:,.1f} s in all, listed in the hash report"
    return f"Interruptions of recording in this time: {lost}."


def _hashes(sheet: Sheet, told: CertificateFacts) -> None:
    sheet.room(38)
    sheet.heading(words.HASHES)
    sheet.paragraph(words.HASHED)
    sheet.ticks(words.ALGORITHMS, (words.SHA256,))
    for file in _clips(told):
        sheet.field(file.name, file.sha256, label_mm=24)
    sheet.paragraph(words.ENCLOSED)


def _clips(told: CertificateFacts) -> list[HashedFile]:
    return [file for file in told.files if file.name.startswith("clip")][:4]


def _signature(sheet: Sheet, who: str) -> None:
    sheet.room(42)
    sheet.heading(words.SIGNATURE)
    sheet.blank(who)
    sheet.blank("Date (DD/MM/YYYY)", "Time (IST, 24 h)")
    sheet.blank("Place")


def _hash_report(sheet: Sheet, told: CertificateFacts) -> None:
    sheet.title(words.REPORT, 11)
    sheet.field("Algorithm", "SHA-256")
    sheet.field("Made at", f"{told.exported_at} IST, at {told.where}")
    sheet.field("Made by", told.exported_by)
    sheet.field("Made with", told.software)
    sheet.field("Recording box", told.box)
    sheet.field("Licence of the site", told.licence)
    sheet.field("Time asked for (IST)", f"{told.asked_from} to {told.asked_to}")
    rows = [(file.name, f"{file.bytes:,}", file.sha256) for file in told.files]
    sheet.table(("File", "Bytes", "SHA-256"), rows, (26, 22, 126))
    sheet.paragraph(words.BLANK_NOTE, small=True)


def _outages(sheet: Sheet, told: CertificateFacts) -> None:
    sheet.room(40)
    sheet.heading(words.OUTAGES)
    if not told.outages:
        sheet.paragraph(words.WORKED)
        return
    sheet.paragraph(words.PAUSED)
    rows = [(o.start, o.end, f"{o.seconds:,.1f}", o.cause, o.source) for o in told.outages[:MAX_OUTAGES]]
    sheet.table(("From (IST)", "To (IST)", "Seconds", "Cause", "Told by"), rows, (34, 34, 17, 62, 27))
    rest = len(told.outages) - MAX_OUTAGES
    if rest > 0:
        sheet.paragraph(f"{rest} more are listed in manifest.json.")
