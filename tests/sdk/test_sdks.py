"""Official SDKs see the same with and without the recorder, and the recorder saw them right."""

import json
import sqlite3

import pytest

import record
from expect import normalised


def test_sdk_is_satisfied_by_the_mock(direct):
    assert direct.exchanges


@pytest.mark.recorded
def test_recorder_changes_nothing_and_records_all(stack, scenario, direct, run_id, expected_exchanges):
    key = f"sk-{scenario.name}-{run_id}"
    outcome = scenario.run(stack.recorded, key)
    expected_exchanges[scenario.name] = len(outcome.exchanges)
    assert normalised(outcome.result) == normalised(direct.result)
    rows = record.rows_of(stack, key, len(outcome.exchanges))
    assert len(rows) == len(outcome.exchanges), [row["path"] for row in rows]
    for row, expected in zip(rows, outcome.exchanges, strict=True):
        record.check(stack, row, expected)


@pytest.mark.recorded
def test_a_conversation_is_one_session(stack, run_id, expected_exchanges):
    name = "openai_chat_of_three_turns"
    if name not in expected_exchanges:
        pytest.skip("the conversation was not selected")
    first, *later = record.rows_of(stack, f"sk-{name}-{run_id}", expected_exchanges[name])
    assert first["parent_id"] is None
    for row, before in zip(later, [first, *later]):
        assert (row["parent_id"], row["session_root_id"]) == (before["id"], first["id"])


@pytest.mark.recorded
def test_every_exchange_is_one_line_and_one_row_after_the_end(stack, expected_exchanges):
    """Stops the recorder, so it stands last."""
    if stack.recorder is None:
        pytest.skip("this recorder is not ours to stop")
    assert stack.stop_recorder() == 0
    files = sorted(stack.data_dir.glob("*/*.jsonl"))
    ids = [json.loads(line)["id"] for file in files for line in file.read_bytes().splitlines()]
    assert len(ids) == len(set(ids)) == sum(expected_exchanges.values())
    index = sqlite3.connect(f"file:{stack.data_dir / 'index.sqlite'}?mode=ro", uri=True)
    assert sorted(row[0] for row in index.execute("SELECT id FROM traces")) == sorted(ids)
