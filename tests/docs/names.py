"""Names in the documents, held against a recorder that runs: metrics, health, configuration, columns, fields, links."""

import json
import re
import sqlite3
import subprocess
import urllib.request
from contextlib import closing
from pathlib import Path

import yaml

import pages

# These tell an operator where to look.
OF_HEALTH = {"docs/troubleshooting.md", "docs/capacity.md"}
# Sections of the configuration that files and modules are named after too.
ENDINGS = ("sqlite", "jsonl", "json", "yaml", "log", "zst", "gz", "rs", "md", "sh", "html", "torn", "sse", "partial")


class Checks:
    """Outcomes, one for each kind of name and page."""

    def __init__(self):
        self.outcomes = []

    def page(self, kind: str, page: pages.Page, wrong: list[str]) -> None:
        from check import Outcome

        block = pages.Block(f"{page.name} ({kind})", 1, "", "")
        self.outcomes.append(Outcome(block, "\n".join(wrong)))


def check(root: Path, names: list[str], folder: Path, binary: Path) -> list:
    """Looks at all pages that there are, with the data dir and the recorder of this folder."""
    checks = Checks()
    metrics = exposed()
    health = set(paths(json.loads(fetch("/healthz"))))
    keys = configured(binary)
    for name in names:
        if not (root / name).exists():
            continue
        page = pages.read(root, name)
        said = page.named(r"api_log_[a-z0-9_]+")
        checks.page("metrics", page, [f"line {at}: no metric {it}" for at, it in said if it not in metrics])
        checks.page("configuration", page, unknown_keys(page, keys, health) + wrong_files(page, binary, folder))
        checks.page("links", page, broken_links(root, page))
        if name in OF_HEALTH:
            said = page.named(r"\.[a-z_]+[a-z_.\[\]]*")
            wrong = [f"line {at}: /healthz has no {it}" for at, it in said if it.replace("[]", "") not in health]
            checks.page("health", page, wrong + ([] if said else ["it names no place in /healthz"]))
    checks.page("conditions", pages.read(root, "docs/troubleshooting.md"), wrong_conditions(root))
    checks.page("columns", pages.read(root, "docs/schema.md"), wrong_columns(root, folder))
    checks.page("fields", pages.read(root, "docs/format.md"), missing_fields(root, folder))
    return checks.outcomes


def fetch(path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:7862{path}", timeout=60) as answer:
        return answer.read().decode()


def exposed() -> set[str]:
    """Families of metrics, and their samples."""
    text = fetch("/metrics")
    families = re.findall(r"^# TYPE (\S+)", text, re.M)
    return {*families, *re.findall(r"^([a-z0-9_]+)[ {]", text, re.M)}


def paths(value, at: str = "") -> list[str]:
    """Every place in a document as jq names it, steps into arrays left out."""
    if isinstance(value, dict):
        return [path for key, it in value.items() for path in [f"{at}.{key}", *paths(it, f"{at}.{key}")]]
    if isinstance(value, list):
        return [path for it in value for path in paths(it, at)]
    return []


def configured(binary: Path) -> set[str]:
    """Every key of the configuration, from its schema, and every section."""
    done = subprocess.run([binary, "config", "schema"], check=True, stdout=subprocess.PIPE)
    schema = json.loads(done.stdout)

    def walk(node: dict, at: str) -> list[str]:
        found = []
        for key, it in node.get("properties", {}).items():
            path = f"{at}.{key}" if at else key
            found += [path, *walk(it, path)]
        return found

    return set(walk(schema, ""))


def unknown_keys(page: pages.Page, keys: set[str], health: set[str]) -> list[str]:
    sections = {it.split(".")[0] for it in keys}
    wrong = []
    for at, text in page.named(r"[a-z_]+(\.[a-z_]+)+(: .*)?"):
        key = text.split(":")[0]
        is_other = key.endswith(ENDINGS) or key.startswith("index.sqlite") or f".{key}" in health
        if key.split(".")[0] in sections and key not in keys and not is_other:
            wrong.append(f"line {at}: the configuration has no key {key}")
    return wrong


def wrong_files(page: pages.Page, binary: Path, folder: Path) -> list[str]:
    """Pieces of configuration files."""
    wrong = []
    for block in page.blocks:
        if block.language == "yaml" and not block.not_run:
            file = folder / "block.yaml"
            file.write_text(block.text)
            asked = [binary, "config", "validate", "--config", file]
            done = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                wrong.append(f"line {block.line}: {done.stdout.decode()}")
    return wrong


def broken_links(root: Path, page: pages.Page) -> list[str]:
    wrong = []
    for at, line in page.prose:
        for target in re.findall(r"\]\(([^)]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (root / page.name).parent / name if name else root / page.name
            if not file.exists():
                wrong.append(f"line {at}: there is no {target}")
            elif anchor and anchor not in pages.anchors(root, str(file.resolve().relative_to(root))):
                wrong.append(f"line {at}: {name or page.name} has no heading #{anchor}")
    return wrong


def table(root: Path, name: str) -> list[str]:
    """The names in the first columns of a page's tables."""
    first = [re.match(r"\| (`[^|]+`) \|", line) for _, line in pages.read(root, name).prose]
    return [text for it in first if it for text in re.findall(r"`([^`]+)`", it[1])]


def wrong_conditions(root: Path) -> list[str]:
    """What may be degraded, against the table of it."""
    known = set(re.findall(r'^api_log_condition\{condition="([a-z_]+)"', fetch("/metrics"), re.M))
    said = set(table(root, "docs/troubleshooting.md"))
    return [f"{it} is not said" for it in sorted(known - said)] + ([] if known else ["there are no conditions"])


def wrong_columns(root: Path, folder: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{folder}/data/index.sqlite?mode=ro", uri=True)) as index:
        columns = [it[1] for it in index.execute("PRAGMA table_info(traces)")]
    said = table(root, "docs/schema.md")
    return [f"{it} is not said" for it in columns if it not in said] + [f"there is no {it}" for it in said if it not in columns]


def missing_fields(root: Path, folder: Path) -> list[str]:
    """Members of lines of a seeded recorder that the page does not name: those of the line, of `req` and of `resp`."""
    said = set(table(root, "docs/format.md"))
    seen = set()
    for file in sorted(folder.glob("data/*/*.jsonl")):
        for line in file.read_text().splitlines():
            trace = json.loads(line)
            seen.update(trace)
            for side in ("req", "resp"):
                seen.update(f"{side}.{it}" for it in trace.get(side) or {})
    assert seen, "the recorder has no lines"
    return [f"{it} is not said" for it in sorted(seen - said)]
