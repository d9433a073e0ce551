"""Draws sessions.svg: who leads what in two sessions, and to whom a terminal's signals go.

Run: make docs
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

OUTPUT = Path(__file__).with_name("sessions.svg")
WIDTH, HEIGHT = 880, 560
# On a card of its own, so that it can be read on whatever page it stands.
STYLE = """
  .card { fill: #ffffff; stroke: #d0d7de }
  .session { fill: #f6f8fa; stroke: #57606a; stroke-dasharray: 7 4 }
  .group { fill: #ffffff; stroke: #8c959f }
  .front { fill: #ddf4e4; stroke: #1a7f37; stroke-width: 2 }
  .terminal { fill: #dcebff; stroke: #0550ae; stroke-width: 2 }
  .process { fill: #eaeef2; stroke: #8c959f }
  .keys { stroke: #1a7f37; stroke-width: 2; fill: none }
  .hangup { stroke: #b3261e; stroke-width: 2; fill: none }
  .read { stroke: #6e5494; stroke-width: 2; fill: none }
  .of-keys { fill: #1a7f37 } .of-hangup { fill: #b3261e } .of-read { fill: #6e5494 }
  text { font: 14px sans-serif; fill: #1f2328 }
  .title { font-weight: bold }
  .right { text-anchor: end }
  .small { font-size: 12.5px; fill: #4a535d }
  .code { font-family: monospace }
  text.of-keys { fill: #14642b } text.of-hangup { fill: #9c1c15 } text.of-read { fill: #5b4385 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d }
    .session { fill: #151b23; stroke: #9198a1 }
    .group { fill: #0d1117; stroke: #656c76 }
    .front { fill: #12261e; stroke: #3fb950 }
    .terminal { fill: #121d2f; stroke: #4493f8 }
    .process { fill: #262c36; stroke: #656c76 }
    .keys { stroke: #3fb950 } .hangup { stroke: #f8756d } .read { stroke: #b89cf0 }
    .of-keys { fill: #3fb950 } .of-hangup { fill: #f8756d } .of-read { fill: #b89cf0 }
    text { fill: #f0f6fc }
    .small { fill: #b1bac4 }
    text.of-keys { fill: #56d364 } text.of-hangup { fill: #ff938c } text.of-read { fill: #cbb2ff }
  }
"""
DESCRIPTION = (
    "Session 611 has the controlling terminal /dev/pts/4. Its leader is bash, process 611, in process group 611. "
    "Group 640, grep and less, is in the foreground: SIGINT, SIGQUIT, SIGTSTP and SIGWINCH go to all of it, and it "
    "may read the keys. Group 655, make and cc, is in the background and gets SIGTTIN when it reads. When the terminal "
    "hangs up, the session leader gets SIGHUP; when the leader ends, the foreground group does. Session 700, made by "
    "setsid, has no controlling terminal."
)


class Drawing:
    """Shapes and texts, in the order in which they are laid on each other."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def box(self, kind: str, x: int, y: int, width: int, height: int, radius: int = 8) -> None:
        """A rectangle; `kind` is a class of the style."""
        place = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"'
        self._parts.append(f'<rect class="{kind}" {place}/>')

    def text(self, kind: str, x: int, y: int, *lines: str) -> None:
        """Lines of text from (x, y), the first one's base line."""
        for number, line in enumerate(lines):
            self._parts.append(f'<text class="{kind}" x="{x}" y="{y + 18 * number}">{escape(line)}</text>')

    def arrow(self, kind: str, *points: tuple[int, int]) -> None:
        """A line through the points, with a head at the last, to which it comes level or upright."""
        (x0, y0), (x1, y1) = points[-2:]
        x, y = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
        body = [*points[:-1], (x1 - 8 * x, y1 - 8 * y)]
        self._parts.append(f'<path class="{kind}" d="M{" L".join(f"{x},{y}" for x, y in body)}"/>')
        head = [(x1, y1), (x1 - 11 * x - 5 * y, y1 - 11 * y - 5 * x), (x1 - 11 * x + 5 * y, y1 - 11 * y + 5 * x)]
        self._parts.append(f'<polygon class="of-{kind}" points="{" ".join(f"{x},{y}" for x, y in head)}"/>')

    def svg(self) -> str:
        """The picture as a file."""
        size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d">'
        title = '<title id="t">Sessions, process groups and a terminal</title>'
        about = f'<desc id="d">{escape(DESCRIPTION)}</desc>'
        lines = [head, title, about, f"<style>{STYLE}</style>", *self._parts, "</svg>"]
        return "\n".join(lines) + "\n"


def group(drawing: Drawing, y: int, pgid: int, what: str, members: dict[int, str], *, front: bool = False) -> None:
    """A process group of session 611, with its processes; the first one leads it."""
    drawing.box("front" if front else "group", 392, y, 372, 92)
    drawing.text("title", 406, y + 22, f"process group {pgid}")
    drawing.text("right of-keys title" if front else "right small", 750, y + 22, what)
    for number, (pid, name) in enumerate(members.items()):
        role = "leads the group" if pid == pgid else "is a member"
        process(drawing, 406 + 176 * number, y + 34, pid, name, role, width=168)


def process(drawing: Drawing, x: int, y: int, pid: int, name: str, role: str, *, width: int) -> None:
    """A process."""
    drawing.box("process", x, y, width, 46, 6)
    drawing.text("code", x + 10, y + 19, f"{name} {pid}")
    drawing.text("small", x + 10, y + 37, role)


def draw() -> str:
    """The picture."""
    drawing = Drawing()
    drawing.box("card", 1, 1, WIDTH - 2, HEIGHT - 2, 10)

    drawing.box("session", 376, 20, 484, 364, 12)
    drawing.text("title", 392, 44, "session 611")
    drawing.text("right small", 764, 44, "controlling terminal: /dev/pts/4")
    group(drawing, 56, 611, "background now", {})
    process(drawing, 406, 90, 611, "bash", "leads session and group: controlling process", width=344)
    group(drawing, 164, 640, "foreground", {640: "grep", 641: "less"}, front=True)
    group(drawing, 272, 655, "background", {655: "make", 656: "cc"})

    drawing.box("terminal", 20, 56, 130, 308, 10)
    drawing.text("title", 36, 84, "terminal")
    drawing.text("code", 36, 106, "/dev/pts/4")
    drawing.text("small", 36, 196, "knows its", "session, 611,", "and its", "foreground", "group, 640")

    drawing.text("of-hangup", 166, 86, "hangs up: SIGHUP", "to the session leader")
    drawing.arrow("hangup", (150, 114), (406, 114))
    drawing.arrow("hangup", (750, 114), (784, 114), (784, 210), (764, 210))
    drawing.text("of-hangup", 794, 148, "when it", "ends:", "SIGHUP")
    drawing.text("of-keys", 166, 168, "Ctrl-C: SIGINT", "Ctrl-\\: SIGQUIT", "Ctrl-Z: SIGTSTP", "new size: SIGWINCH")
    drawing.arrow("keys", (150, 232), (392, 232))
    drawing.text("of-keys", 166, 250, "other keys: for who reads")
    drawing.text("of-read", 166, 296, "reads: gets SIGTTIN", "writes: SIGTTOU (if tostop)")
    drawing.arrow("read", (392, 326), (150, 326))

    drawing.box("session", 376, 404, 484, 136, 12)
    drawing.text("title", 392, 428, "session 700")
    drawing.text("right small", 764, 428, "no controlling terminal")
    drawing.box("group", 392, 440, 372, 88)
    drawing.text("title", 406, 462, "process group 700")
    process(drawing, 406, 474, 700, "server", "has called setsid(): leads session and group", width=344)
    drawing.text("small", 20, 430, "A session has at most one controlling", "terminal, a terminal at most one session.")
    drawing.text("small", 20, 476, "One group at a time is in the foreground:", "tcsetpgrp() says which.")
    drawing.text("small", 20, 522, "No terminal sends signals to session 700.")
    return drawing.svg()


if __name__ == "__main__":
    OUTPUT.write_text(draw(), encoding="utf-8")
