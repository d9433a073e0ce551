"""docs/sessions.svg: it is what the build makes, it is well-formed, and needs nothing that a reader may not have."""

from __future__ import annotations

import re
import runpy
from xml.etree import ElementTree

from support import TESTS

DOCS = TESTS.parent / "docs"
PICTURE = (DOCS / "sessions.svg").read_text(encoding="utf-8")


def test_the_picture_is_what_the_build_makes() -> None:
    assert runpy.run_path(str(DOCS / "picture.py"))["draw"]() == PICTURE


def test_the_picture_is_text_in_generic_fonts_and_refers_to_nothing_else() -> None:
    elements = list(ElementTree.fromstring(PICTURE).iter())
    texts = " ".join(element.text or "" for element in elements if element.tag.endswith("}text"))
    for word in "session 611", "process group 640", "foreground", "SIGINT", "SIGHUP", "SIGTTIN", "controlling terminal":
        assert word in texts
    assert set(re.findall(r"font(?:-family)?: (?:\d+px )?([a-z-]+)", PICTURE)) == {"sans-serif", "monospace"}
    assert {element.tag.rpartition("}")[2] for element in elements} & {"script", "image", "use", "a"} == set()
    assert re.findall(r"https?://\S+", PICTURE) == ['http://www.w3.org/2000/svg"']


def test_every_kind_of_shape_has_a_style() -> None:
    used = {name for names in re.findall(r'class="([^"]+)"', PICTURE) for name in names.split()}
    styled = set(re.findall(r"\.([a-z][a-z-]*) ", PICTURE.partition("</style>")[0]))
    assert used == styled
