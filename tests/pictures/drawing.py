"""Text for Graphviz (Debian: `graphviz`), and what it draws of it.

The text is kept beside the drawing. Tests hold the text against the code, and the
drawing against the text: every word of the text must be in it.
"""

import html
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"

HEAD: Final = "// Made from the code by `python -m tests.pictures`."
"""First line of every text."""

LOOK: Final = """\
  graph [fontname="sans-serif", color="#9aa5b1"];
  node [shape=box, style="rounded,filled", fillcolor="#eef2f7", color="#52606d"];
  node [fontname="sans-serif", fontsize=11];
  edge [color="#7b8794", arrowsize=0.6, fontname="sans-serif", fontsize=10];
""".splitlines()
"""How boxes and arrows look in every picture."""

IPVS_COLOUR: Final = "#d6ebff"
"""Of boxes that are IPVS's work."""

_SVG: Final = "{http://www.w3.org/2000/svg}"
_LABEL: Final = re.compile(r'label="((?:[^"\\]|\\.)*)"')
_END: Final = re.compile(r'(?<![\[=])"([^"]+)"(?= ->|;| \[)')
_CELL: Final = re.compile(r"<TD[^>]*>(.*?)</TD>")
_TAG: Final = re.compile(r"<[^>]+>")


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture of the docs.

    Attributes:
        name: of its files in `docs`, without suffix; `ways/cluster-ip`.
        text: in the language of Graphviz.
    """

    name: str
    text: str

    @property
    def text_path(self) -> Path:
        """Where the text is kept."""
        return DOCS / f"{self.name}.dot"

    @property
    def drawing_path(self) -> Path:
        """Where the drawing is kept."""
        return DOCS / f"{self.name}.svg"

    def words(self) -> frozenset[str]:
        """Every line of text in its boxes and at its arrows."""
        lines = {
            line
            for label in _LABEL.findall(self.text)
            for line in label.replace('\\"', '"').split("\\n")
        }
        cells = {html.unescape(_TAG.sub("", cell)) for cell in _CELL.findall(self.text)}
        return frozenset(line.strip() for line in lines | cells) - {""}

    def arrows(self) -> frozenset[str]:
        """Every arrow, `a->b`."""
        chains = (_END.findall(line) for line in self.text.splitlines() if "->" in line)
        return frozenset(
            f"{one}->{other}" for chain in chains for one, other in pairwise(chain)
        )

    def drawn_words(self) -> frozenset[str]:
        """The same of the drawing."""
        return frozenset(
            " ".join("".join(text.itertext()).split())
            for text in self._drawn(f"{_SVG}text")
        ) - {""}

    def drawn(self, kind: str) -> frozenset[str]:
        """Names of what is drawn: `node` for boxes, `edge` for arrows (`a->b`)."""
        return frozenset(
            group.findtext(f"{_SVG}title", "")
            for group in self._drawn(f"{_SVG}g")
            if group.get("class") == kind
        )

    def _drawn(self, tag: str) -> Iterator[ET.Element]:
        tree = ET.parse(self.drawing_path)  # noqa: S314  # a file of ours
        return tree.iter(tag)


def table(*rows: str) -> str:
    """A label of rows that begin at the left, the first one bold; blanks indent."""
    head, *rest = (_cell(row) for row in rows)
    cells = "".join(
        f'<TR><TD ALIGN="LEFT">{row}</TD></TR>' for row in (f"<B>{head}</B>", *rest)
    )
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}</TABLE>>'


def _cell(row: str) -> str:
    words = row.lstrip(" ")
    indent = "&#160;" * (len(row) - len(words))
    return indent + html.escape(words, quote=False)


def write(pictures: Iterable[Picture]) -> int:
    """Write the texts, and draw them; the exit status."""
    dot = shutil.which("dot")
    if dot is None:
        print("needs `dot`: apt-get install graphviz", file=sys.stderr)
        return 1
    for picture in pictures:
        picture.text_path.write_text(picture.text, encoding="utf-8")
        drawing = f"-o{picture.drawing_path}"
        subprocess.run([dot, "-Tsvg", drawing, str(picture.text_path)], check=True)
    return 0
