"""Draws a terminal's pane as SVG: reads what `tmux capture-pane -e -p` gives, writes the picture. No dependencies."""

import re
import sys
import unicodedata
from html import escape

COLUMN, ROW, SIZE, EDGE = 8.0, 18, 13, 12
BACKGROUND, TEXT = "#14181d", "#d5dbe1"
COLOURS = ["#3b4252", "#f07178", "#a5d070", "#e5c07b", "#6cb6ff", "#d291e4", "#62c6d0", "#d5dbe1"]


def colour_of(number):
    """One of the sixteen colours by its number; others stay the text's."""
    return COLOURS[number % 8] if number < 16 else TEXT


def apply(style, codes):
    """A style after an SGR sequence."""
    numbers = [int(code or 0) for code in re.split("[;:]", codes)]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            style = {}
        elif code in (1, 2, 3, 7):
            style = {**style, code: True}
        elif code in (22, 23, 27):
            gone = {22: (1, 2), 23: (3,), 27: (7,)}[code]
            style = {key: value for key, value in style.items() if key not in gone}
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = {**style, "colour": colour_of(code % 10)}
        elif code == 38 and numbers[:1] == [5]:
            style, numbers = {**style, "colour": colour_of(numbers[1])}, numbers[2:]
        elif code == 39:
            style = {key: value for key, value in style.items() if key != "colour"}
    return style


def pieces(line, style):
    """A line's texts with their styles, and the style at its end."""
    found = []
    for rank, part in enumerate(re.split("\x1b\\[([0-9;:]*)m", line)):
        if rank % 2:
            style = apply(style, part)
        elif part:
            found.append((part, style))
    return found, style


def width(text):
    """Columns that a text takes."""
    wide = sum(unicodedata.east_asian_width(it) in "WF" for it in text)
    return len(text) + wide - sum(unicodedata.combining(it) > 0 for it in text)


def draw(lines):
    """The picture of these lines."""
    shapes, style, columns = [], {}, 0
    for row, line in enumerate(lines):
        found, style = pieces(re.sub("\x1b[()][A-Z0-9]|\x0e|\x0f", "", line), style)
        at = 0
        for text, look in found:
            ink, wide = look.get("colour", TEXT), width(text)
            left, top = EDGE + at * COLUMN, EDGE + row * ROW
            if look.get(7):
                shapes.append(f'<rect x="{left}" y="{top}" width="{wide * COLUMN}" height="{ROW}" fill="{ink}"/>')
                ink = BACKGROUND
            more = ' font-weight="bold"' if look.get(1) else ""
            more += ' opacity="0.6"' if look.get(2) else ""
            more += ' font-style="italic"' if look.get(3) else ""
            # Word by word: renderers collapse spaces, and columns must stand.
            for word in re.finditer(r"\S+", text):
                begin = EDGE + (at + width(text[: word.start()])) * COLUMN
                shapes.append(
                    f'<text x="{begin}" y="{top + SIZE}" fill="{ink}" textLength="{width(word[0]) * COLUMN}"'
                    f' lengthAdjust="spacingAndGlyphs"{more}>{escape(word[0])}</text>'
                )
            at += wide
        columns = max(columns, at)
    size = f'width="{columns * COLUMN + 2 * EDGE:.0f}" height="{len(lines) * ROW + 2 * EDGE}"'
    font = f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{SIZE}"'
    ground = f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>', ground, *shapes, "</svg>"])


if __name__ == "__main__":
    print(draw(sys.stdin.read().rstrip("\n").split("\n")))
