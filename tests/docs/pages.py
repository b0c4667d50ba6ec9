"""Markdown pages: their blocks of code, what marks them, and the names in them.

A fence of `sh` is run. A comment on the line before it says otherwise:

    <!-- not run: why -->            it is not, and that is listed
    <!-- run: for 3 s -->            it goes on until Ctrl-C, which comes after so long
    <!-- run: alone -->              without the recorder and the gateway that all others have; also `alone for 3 s`
    <!-- run: may be empty -->       it need not print anything (recipes must, each of them)
    <!-- run: exits 1 -->            it ends with that code
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)$")
MARK = re.compile(r"^ *<!-- (?P<kind>not run|run): (?P<text>.+) -->$")
RULE = re.compile(r"^(?P<alone>alone)?(?: ?for (?P<seconds>\d+) s)?$|^(?P<empty>may be empty)$|^exits (?P<code>\d+)$")


@dataclass
class Block:
    """Lines between two fences."""

    page: str
    line: int
    language: str
    text: str
    not_run: str = ""
    is_alone: bool = False
    seconds: int = 0
    may_be_empty: bool = False
    code: int = 0

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Page:
    """One file."""

    name: str
    blocks: list[Block] = field(default_factory=list)
    # Without its blocks: line numbers and lines.
    prose: list[tuple[int, str]] = field(default_factory=list)

    def named(self, pattern: str) -> list[tuple[int, str]]:
        """Everything in backticks that is wholly so, with its line."""
        found = []
        for number, line in self.prose:
            for text in re.findall(r"`([^`]+)`", line):
                if re.fullmatch(pattern, text):
                    found.append((number, text))
        return found


def read(root: Path, name: str) -> Page:
    """Reads a page; a mark that cannot be understood, or belongs to no block, is an error."""
    page = Page(name)
    block, indent, mark = None, "", None
    for number, line in enumerate((root / name).read_text().splitlines(), 1):
        if block is not None:
            if line == f"{indent}```":
                page.blocks.append(block)
                block = None
            else:
                block.text += line.removeprefix(indent) + "\n"
            continue
        if fence := FENCE.match(line):
            block, indent = Block(name, number, fence["language"], ""), fence["indent"]
            if mark:
                apply(block, *mark)
            mark = None
            continue
        if mark:
            raise ValueError(f"{name}:{number - 1}: a mark without a block behind it")
        if found := MARK.match(line):
            mark = (found["kind"], found["text"])
        elif "<!-- run" in line or "<!-- not run" in line:
            raise ValueError(f"{name}:{number}: not a mark that is understood: {line.strip()}")
        page.prose.append((number, line))
    if block is not None:
        raise ValueError(f"{name}:{block.line}: the block does not end")
    return page


def apply(block: Block, kind: str, text: str) -> None:
    if kind == "not run":
        block.not_run = text
        return
    for part in text.split(", "):
        rule = RULE.match(part)
        if not rule:
            raise ValueError(f"{block.place}: not a mark that is understood: {text}")
        block.is_alone |= bool(rule["alone"])
        block.seconds = int(rule["seconds"] or block.seconds)
        block.may_be_empty |= bool(rule["empty"])
        block.code = int(rule["code"] or block.code)


def anchors(root: Path, name: str) -> set[str]:
    """What a link into a page may end with, as GitHub makes it of headings."""
    found = set()
    for _, line in read(root, name).prose:
        if line.startswith("#"):
            title = re.sub(r"[`*\[\]]|\(.*?\)", lambda it: it[0] if it[0].startswith("(") else "", line.lstrip("# "))
            found.add(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-"))
    return found
