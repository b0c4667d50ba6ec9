"""The official OpenAI Node SDK, driven through `scenarios.mjs`."""

import json
import subprocess
from pathlib import Path

from expect import Exchange, Outcome, scenario

HERE = Path(__file__).parent


def run(name: str, url: str, key: str) -> Outcome:
    """Runs one scenario in Node, which prints its outcome as JSON."""
    done = subprocess.run(
        ["node", "scenarios.mjs", name, url, key], cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    return Outcome(outcome["result"], [Exchange(**exchange) for exchange in outcome["exchanges"]])


@scenario
def node_chat(url: str, key: str) -> Outcome:
    return run("chat", url, key)


@scenario
def node_chat_streamed(url: str, key: str) -> Outcome:
    return run("chatStreamed", url, key)


@scenario
def node_chat_tool_streamed(url: str, key: str) -> Outcome:
    return run("chatToolStreamed", url, key)


@scenario
def node_responses(url: str, key: str) -> Outcome:
    return run("responses", url, key)


@scenario
def node_responses_streamed(url: str, key: str) -> Outcome:
    return run("responsesStreamed", url, key)


@scenario
def node_responses_socket(url: str, key: str) -> Outcome:
    return run("responsesSocket", url, key)
