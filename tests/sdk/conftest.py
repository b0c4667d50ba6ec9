"""What all tests share: the stack, the scenarios, and each scenario's outcome without the recorder."""

import os
import uuid

# SDKs obey the usual proxy variables; nothing here may leave this machine.
for _name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]:
    os.environ.pop(_name, None)
os.environ["NO_PROXY"] = "*"

import pytest  # noqa: E402

import scenarios_anthropic  # noqa: E402, F401
import scenarios_gemini  # noqa: E402, F401
import scenarios_litellm  # noqa: E402, F401
import scenarios_node  # noqa: E402, F401
import scenarios_openai  # noqa: E402, F401
import stack as stacks  # noqa: E402
from expect import SCENARIOS, Outcome, Scenario  # noqa: E402

pytest.register_assert_rewrite("record")


def pytest_configure(config):
    config.addinivalue_line("markers", "recorded: needs the recorder, not only the mock gateway")


def pytest_collection_modifyitems(config, items):
    """With a mock alone (`APILOG_DIRECT` without `APILOG_RECORDED`) there is no recorder to test."""
    if "APILOG_DIRECT" in os.environ and "APILOG_RECORDED" not in os.environ:
        recorded = [item for item in items if item.get_closest_marker("recorded")]
        items[:] = [item for item in items if item not in recorded]
        config.hook.pytest_deselected(items=recorded)


@pytest.fixture(scope="session")
def stack():
    found = stacks.find()
    yield found
    found.stop()


@pytest.fixture(scope="session")
def run_id() -> str:
    """Makes this run's API keys its own, so that a data directory can see several runs."""
    return uuid.uuid4().hex[:12]


@pytest.fixture(scope="session")
def expected_exchanges() -> dict[str, int]:
    """Scenario → exchanges that went through the recorder; filled as the tests run."""
    return {}


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def scenario(request) -> Scenario:
    return request.param


@pytest.fixture(scope="session")
def direct_outcomes() -> dict[str, Outcome]:
    return {}


@pytest.fixture
def direct(stack, scenario, direct_outcomes) -> Outcome:
    """The scenario's outcome without the recorder; taken once per run."""
    if scenario.name not in direct_outcomes:
        direct_outcomes[scenario.name] = scenario.run(stack.direct, f"sk-direct-{scenario.name}")
    return direct_outcomes[scenario.name]
