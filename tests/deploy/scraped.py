"""A running recorder scraped by the real Prometheus with the shipped configuration: the alerts and the dashboard name
metrics that exist, every expression is understood, and no alert fires for a recorder that is well.
"""

import http.client
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

import lab
import yaml
from lab import Process, Recorder
from tls import changed

SAMPLES = lab.ROOT / "deploy/prometheus"
DASHBOARD = lab.ROOT / "deploy/grafana/api-log.json"
NAME = re.compile(r"\bapi_log_[a-z0-9_]+")
# An instance of each, so that what is told of plugins is there.
PLUGINS = [{"type": "tag", "id": "all", "enabled": True, "config": {"tags": ["seen"]}}]


class Prometheus(Process):
    """The real one, with the shipped configuration but for the port, the pace and where the recorder is."""

    def __init__(self, folder: Path, recorder: Recorder):
        self.port = lab.free_port()
        text = changed(
            (SAMPLES / "prometheus.yaml").read_text(),
            [(r"_interval: 15s$", "_interval: 1s", 2), (r"127\.0\.0\.1:7862", f"127.0.0.1:{recorder.api}", 1)],
        )
        (folder / "prometheus.yaml").write_text(text)
        shutil.copy(SAMPLES / "alerts.yaml", folder)
        super().__init__(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yaml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ]
        )

    def ask(self, path: str, **parameters):
        """A question to its API; None while it is not ready yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=lab.PATIENCE_SECONDS)
        try:
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
            answer = connection.getresponse()
            body = answer.read()
        except ConnectionRefusedError:
            assert self.runs(), self.said()
            return None
        finally:
            connection.close()
        if answer.status == 503:
            return None
        told = json.loads(body)
        assert told["status"] == "success", f"{parameters or path}: {told}"
        return told["data"]

    def query(self, expression: str) -> list:
        return self.ask("query", query=expression)["result"]


def send(recorder: Recorder, path: str, text: str = "Hi") -> None:
    connection = http.client.HTTPConnection("127.0.0.1", recorder.proxy, timeout=lab.PATIENCE_SECONDS)
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]})
    connection.request("POST", path, body, {"Authorization": "Bearer sk-scraped"})
    connection.getresponse().read()
    connection.close()


def scrapes(prometheus: Prometheus) -> None:
    """Waits until each of its targets was scraped well, often enough for rates."""

    def is_up():
        told = prometheus.ask("targets")
        targets = told["activeTargets"] if told else []
        for target in targets:
            assert target["health"] != "down", target["lastError"]
        return targets and all(it["health"] == "up" for it in targets)

    lab.wait_until(is_up, "Prometheus scrapes the recorder")
    counted = "min(count_over_time(up{job='api-log'}[1m])) >= 5 and max(api_log_disk_free_bytes) > 0"
    lab.wait_until(lambda: prometheus.query(counted), "five scrapes")


def names_exist(prometheus: Prometheus, text: str, where: str) -> int:
    """Every metric that the text names has been scraped; how many there are."""
    names = set(NAME.findall(text))
    existing = {name for name in names if prometheus.query(f"count({name})")}
    assert names == existing, f"{where} names what /metrics does not have: {sorted(names - existing)}"
    return len(names)


def values_exist(prometheus: Prometheus, alerts: str) -> None:
    """So does each value that a label is compared with."""
    for label, pattern in re.findall(r'(condition)=~?"([^"]+)"', alerts):
        for value in pattern.split("|"):
            assert prometheus.query(f'api_log_condition{{{label}="{value}"}}'), f"no {label} {value}"


def rules_work(prometheus: Prometheus, alerts: str) -> int:
    """Each was evaluated without an error, and none is of the opinion that something is wrong."""

    def evaluated():
        rules = [it for group in prometheus.ask("rules")["groups"] for it in group["rules"]]
        return rules if all(it["health"] != "unknown" for it in rules) else None

    rules = lab.wait_until(evaluated, "all rules are evaluated")
    assert len(rules) == alerts.count("- alert:") > 10
    for rule in rules:
        assert rule["health"] == "ok", rule
        assert rule["state"] != "firing", rule["alerts"]
    return len(rules)


def expressions() -> list[str]:
    """All of the dashboard's, with its variables put in."""
    board = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    found += [it["expr"] for it in board["annotations"]["list"] if "expr" in it]
    assert len(found) > 40
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)), "two panels have one number"
    return [it.replace("$__rate_interval", "1m").replace("$instance", ".*") for it in found]


def dashboard_works(prometheus: Prometheus) -> int:
    """Every expression is understood and shows something, but those that show only what is wrong."""
    all_of_them = expressions()
    for expression in all_of_them:
        assert "$" not in expression, f"an unknown variable: {expression}"
        shows = prometheus.query(expression)
        # `> 0` leaves out what is well.
        assert shows or expression.endswith("> 0"), f"shows nothing: {expression}"
    return len(all_of_them)


def main() -> None:
    for program in ("promtool", "prometheus"):
        if shutil.which(program) is None:
            lab.skip(f"{program} is not installed")
    alerts = (SAMPLES / "alerts.yaml").read_text()
    tested = (lab.ROOT / "tests/deploy/alerts.test.yaml").read_text()
    for name in re.findall(r"alert: (\w+)", alerts):
        assert f'alertname="{name}"' in tested, f"no test expects {name} to fire"
    for group in yaml.safe_load(alerts)["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"], rule["alert"]

    with tempfile.TemporaryDirectory(prefix="api-log-scraped-") as name:
        folder = Path(name)
        gateway = f"127.0.0.1:{lab.free_port()}"
        settings = {"plugins_instances": json.dumps(PLUGINS), "media_save_attachments": "false"}
        with Process([lab.BINARY, "mock", "--listen", gateway]) as mock:
            with Recorder(f"http://{gateway}", folder / "data", **settings) as recorder:
                # What has a figure only afterwards: a reload.
                subprocess.run(["kill", "-HUP", str(recorder.child.pid)], check=True)
                for _ in range(20):
                    send(recorder, "/v1/chat/completions")
                with Prometheus(folder, recorder) as prometheus:
                    scrapes(prometheus)
                    named = names_exist(prometheus, alerts, "alerts.yaml")
                    values_exist(prometheus, alerts)
                    named += names_exist(prometheus, DASHBOARD.read_text(), "the dashboard")
                    rules = rules_work(prometheus, alerts)
                    shown = dashboard_works(prometheus)
                    # The figure behind an alert moves when that happens which it is about.
                    before = prometheus.query("api_log_upstream_dial_err_total")[0]["value"][1]
                    mock.end()
                    send(recorder, "/v1/chat/completions")
                    moved = f"api_log_upstream_dial_err_total > {before}"
                    lab.wait_until(lambda: prometheus.query(moved), "the unreachable gateway is counted")
    print(f"{rules} alerts evaluated, {shown} expressions of the dashboard, {named} names of metrics looked up")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
