"""The words of the certificate's form: Schedule to the Bharatiya Sakshya Adhiniyam 2023, section 63(4)(c).

English first, Hindi for the headings, so that both who sign and who read find their place.
"""

from __future__ import annotations

from typing import NamedTuple


class Heading(NamedTuple):
    english: str
    hindi: str


TITLE = Heading("CERTIFICATE", "प्रमाण-पत्र")
ACT = Heading(
    "under section 63(4)(c) of the Bharatiya Sakshya Adhiniyam, 2023",
    "भारतीय साक्ष्य अधिनियम, 2023 की धारा 63(4)(ग) के अधीन",
)
PART_A = Heading("PART A: to be filled by the party", "भाग क: पक्षकार द्वारा भरा जाएगा")
PART_B = Heading("PART B: to be filled by the expert", "भाग ख: विशेषज्ञ द्वारा भरा जाएगा")
SIGNER = Heading("Who certifies", "प्रमाणकर्ता")
SOURCE = Heading("Source of the record", "अभिलेख का स्रोत")
DEVICE = Heading("The device", "उपकरण का विवरण")
RECORD = Heading("The record", "अभिलेख")
CONTROL = Heading("Control and working", "नियंत्रण और कार्यशीलता")
HASHES = Heading("Hash values", "हैश मान")
SIGNATURE = Heading("Signature", "हस्ताक्षर")
REPORT = Heading("HASH REPORT, enclosed with the certificate", "प्रमाण-पत्र के साथ संलग्न हैश रिपोर्ट")
OUTAGES = Heading("When nothing was recorded", "अभिलेखन में अंतराल")

AFFIRM = "do hereby solemnly affirm and sincerely state and submit as follows:"
TAKEN_FROM = (
    "I have produced electronic record / output of the digital record taken from the following device or "
    "digital record source (tick mark):"
)
SOURCES = (
    "Computer / Storage Media", "DVR", "Mobile", "Flash Drive", "CD / DVD", "Server", "Cloud", "Other",
)  # fmt: skip
DVR, OTHER = "DVR", "Other"
LIVE = (
    "The footage was recorded from the live stream of this device, as it was received, by a recording box at "
    "the same site; it was not copied from the device's own disk."
)
WORKING = (
    "The digital device or the digital record source was under the lawful control for regularly creating, "
    "storing or processing information for the purposes of carrying out regular activities and during "
    "this period, the computer or the communication device was working properly and the relevant information "
    "was regularly fed into the computer during the ordinary course of business. If the computer / digital "
    "device at any point of time was not working properly or out of operation, then it has not affected the "
    "electronic / digital record or its accuracy."
)
HELD_AS = "The digital device or the source of the digital record is, by me (select as applicable):"
RELATIONS = ("Owned", "Maintained", "Managed", "Operated")
HASHED = "I state that the hash values of the electronic / digital records, obtained with the algorithm"
ALGORITHMS = ("SHA1", "SHA256", "MD5", "Other")
SHA256 = "SHA256"
ENCLOSED = "are those of the hash report, which is enclosed with the certificate."
WORKED = "While the footage was recorded there was no interruption of over one second."
PAUSED = (
    "In this time nothing was recorded between the moments listed below. What was recorded before and after "
    "is not affected: every record is sealed by itself and chained to the one before it."
)
BLANK_NOTE = (
    "Lines left blank are for whoever signs. What the recording system does not know reads: not available."
)
