"""The paper under a certificate: two scripts, headings, lines, tick boxes, tables. Same input, same bytes.

Needs fpdf2 and uharfbuzz (extra `iccc`): without a shaper Devanagari conjuncts and vowel signs come apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING

from edge_agent.errors import EdgeAgentError
from edge_agent.export.certificate_words import Heading

if TYPE_CHECKING:
    from fpdf import FPDF

LATIN, DEVANAGARI = "NotoSans", "NotoSansDevanagari"
SIZE, SMALL, LINE_MM = 9.5, 8.0, 4.9
MARGIN_MM, BOX_MM, LABEL_MM = 18, 3.2, 58
GREY = 110


class Sheet:
    """A4 pages, filled from the top. One certificate each."""

    def __init__(self, title: str, made_us: int, footer: str) -> None:
        self._pdf = _document(title, made_us, footer)
        self._made_us = made_us

    def finish(self) -> bytes:
        return bytes(self._pdf.output())

    def new_page(self) -> None:
        self._pdf.add_page()

    def title(self, words: Heading, size: float) -> None:
        """Centred, English over Hindi."""
        for text, family in ((words.english, LATIN), (words.hindi, DEVANAGARI)):
            self._font(size, bold=True, family=family)
            self._pdf.multi_cell(0, size * 0.55, text, align="C", new_x="LMARGIN", new_y="NEXT")

    def heading(self, words: Heading) -> None:
        pdf = self._pdf
        pdf.ln(2.2)
        self._font(SIZE + 0.5, bold=True)
        pdf.cell(pdf.get_string_width(words.english) + 3, 6, words.english)
        self._font(SIZE + 0.5, bold=True, family=DEVANAGARI)
        pdf.cell(0, 6, words.hindi, new_x="LMARGIN", new_y="NEXT")
        pdf.set_draw_color(GREY)
        pdf.line(MARGIN_MM, pdf.get_y(), pdf.w - MARGIN_MM, pdf.get_y())
        pdf.ln(1.2)

    def paragraph(self, text: str, *, small: bool = False) -> None:
        self._font(SMALL if small else SIZE)
        self._pdf.multi_cell(0, LINE_MM, text, align="L", new_x="LMARGIN", new_y="NEXT")
        self._pdf.ln(0.8)

    def field(self, label: str, value: str, *, label_mm: float = LABEL_MM) -> None:
        """A label and what is known."""
        pdf = self._pdf
        self._font(SIZE)
        pdf.set_text_color(GREY)
        pdf.cell(label_mm, LINE_MM, label)
        pdf.set_text_color(0)
        pdf.multi_cell(0, LINE_MM, value, align="L", new_x="LMARGIN", new_y="NEXT")

    def blank(self, *labels: str) -> None:
        """Labels, each with a ruled line to write on; side by side."""
        pdf = self._pdf
        self._font(SIZE)
        width = (pdf.w - 2 * MARGIN_MM) / len(labels)
        pdf.ln(2.4)
        for at, label in enumerate(labels):
            left = MARGIN_MM + at * width
            pdf.set_x(left)
            pdf.cell(width, LINE_MM, label)
            start = left + pdf.get_string_width(label) + 3
            pdf.line(start, pdf.get_y() + LINE_MM, left + width - 3, pdf.get_y() + LINE_MM)
        pdf.ln(LINE_MM + 1)

    def ticks(self, options: Sequence[str], ticked: Sequence[str]) -> None:
        """Boxes to tick; those of `ticked` are."""
        pdf = self._pdf
        self._font(SIZE)
        pdf.set_draw_color(0)
        pdf.set_x(MARGIN_MM + pdf.c_margin)
        for option in options:
            width = BOX_MM + 1.5 + pdf.get_string_width(option) + 5
            if pdf.get_x() + width > pdf.w - MARGIN_MM:
                pdf.ln(LINE_MM + 0.6)
                pdf.set_x(MARGIN_MM + pdf.c_margin)
            x, y = pdf.get_x(), pdf.get_y() + 0.9
            pdf.rect(x, y, BOX_MM, BOX_MM)
            if option in ticked:
                pdf.line(x + 0.6, y + 1.7, x + 1.3, y + 2.6)
                pdf.line(x + 1.3, y + 2.6, x + 2.7, y + 0.5)
            pdf.set_x(x + BOX_MM + 1.5)
            pdf.cell(width - BOX_MM - 1.5, LINE_MM, option)
        pdf.ln(LINE_MM + 1.4)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
        """Rows that do not fit go on over the page, under the same head."""
        self._font(SMALL)
        self._pdf.set_draw_color(GREY)
        with self._pdf.table(
            col_widths=tuple(widths),
            text_align="LEFT",
            line_height=4.2,
            padding=0.7,
            first_row_as_headings=True,
        ) as table:
            for row in (head, *rows):
                table.row(list(row))
        self._pdf.ln(1.5)

    def room(self, millimetres: float) -> None:
        """Begin a new page unless so much of this one is left."""
        if self._pdf.get_y() + millimetres > self._pdf.page_break_trigger:
            self._pdf.add_page()

    def _font(self, size: float, *, bold: bool = False, family: str = LATIN) -> None:
        self._pdf.set_font(family, "B" if bold else "", size)


def _document(title: str, made_us: int, footer: str) -> FPDF:
    try:
        import uharfbuzz
        from fpdf import FPDF
    except ImportError as error:
        raise EdgeAgentError(
            f"a certificate needs {error.name}: pip install 'edge-agent[iccc]', or export without one"
        ) from error
    assert uharfbuzz

    class Paper(FPDF):
        def footer(self) -> None:
            self.set_y(-13)
            self.set_font(LATIN, "", 7)
            self.set_text_color(GREY)
            self.cell(0, 4, footer)
            self.set_x(-40)
            self.cell(0, 4, f"{self.page_no()} / {{nb}}", align="R")
            self.set_text_color(0)

        def file_id(self) -> str:
            """Named by what it is made from, not by when: the same input gives the same bytes."""
            name = sha256(f"{title}/{footer}/{made_us}".encode()).hexdigest()[:32].upper()
            return f"<{name}><{name}>"

    pdf = Paper(format="A4")
    fonts = resources.files("edge_agent.export") / "fonts"
    for family in (LATIN, DEVANAGARI):
        for style, weight in (("", "Regular"), ("B", "Bold")):
            with resources.as_file(fonts / f"{family}-{weight}.ttf") as path:
                pdf.add_font(family, style, path)
    pdf.set_fallback_fonts([DEVANAGARI, LATIN], exact_match=False)
    pdf.set_text_shaping(True)
    pdf.set_margins(MARGIN_MM, 14, MARGIN_MM)
    pdf.set_auto_page_break(True, 16)
    pdf.set_title(title)
    pdf.set_creation_date(datetime.fromtimestamp(made_us // 1_000_000, UTC))
    pdf.add_page()
    return pdf
