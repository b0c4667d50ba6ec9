//! The screen without a terminal: what it knows after what was heard and pressed, and how that is drawn.

use api_log::index::query::TraceRow;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::health::Health;
use super::model::{Inflight, Key, MOST_TRACES, Model, News, Order, View};
use super::view;

fn row(number: usize, model: &str, status: i32) -> TraceRow {
    let id = format!("01J{number:023}");
    serde_json::from_value(json!({
        "id": id, "ts_start": "2026-05-27T10:23:45.007Z", "ts_end": "2026-05-27T10:23:46.000Z",
        "client": "192.0.2.1:5000", "method": "POST", "path": "/v1/chat/completions", "upstream": "http://g",
        "status": status, "model": model, "stream": true, "prompt_tokens": 14, "completion_tokens": 7,
        "total_tokens": 21, "cached_tokens": null, "cache_creation_tokens": null, "reasoning_tokens": null,
        "finish_reason": "stop", "client_kind": null, "client_version": null, "client_project": null,
        "key_hash": "343cff7c00000000", "parent_id": null, "session_root_id": id, "disconnected": false,
        "truncated_req": false, "truncated_resp": false, "media_count": 0, "jsonl_path": "a", "jsonl_offset": 0,
        "jsonl_bytes": 1, "end": "complete", "protocol": "chat", "duration_ms": 993, "ttfb_ms": 10,
        "first_event_ms": 150, "error_type": null, "req_bytes": 215, "resp_bytes": 879, "project": null, "tags": []
    }))
    .unwrap()
}

fn inflight(id: &str) -> Inflight {
    Inflight {
        id: id.to_owned(),
        age_ms: 2300,
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        protocol: "chat".to_owned(),
        key_hash: "343cff7c00000000".to_owned(),
        status: Some(200),
        req_bytes: 215,
        resp_bytes: 12_345,
        events: Some(17),
    }
}

fn health(accepted: u64, dropped: u64) -> Health {
    serde_json::from_value(json!({
        "version": "1.2.3", "degraded": [{"condition": "disk", "reason": "full", "since": "x"}], "uptime_seconds": 9,
        "ledger": {"accepted": accepted, "recorded": 3, "filtered": 0, "in_flight": 1, "balanced": true,
                   "dropped": {"writer_full": dropped, "jsonl_fail": 0}},
        "supervision": {"children": [{"name": "writer", "state": "backing_off", "restarts": 2, "queue_depth": 5}],
                        "nurseries": [{"name": "finalizers", "running": 2, "failed": 0}]}
    }))
    .unwrap()
}

fn filled() -> Model {
    let mut model = Model::new("http://127.0.0.1:7862".to_owned());
    model.hear(News::Connected);
    model.hear(News::Earlier(vec![row(2, "gpt-模型-\u{1b}[2J", 200), row(1, "claude", 500)]));
    model.hear(News::Inflight(1, vec![inflight("01JX")]));
    model.hear(News::Health(Box::new(health(4, 1))));
    model
}

fn drawn(model: &mut Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(model, frame.area(), frame.buffer_mut(), true)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let cells = buffer.content();
    assert!(cells.iter().all(|it| !it.symbol().contains(char::is_control)), "no control character is drawn");
    let lines = cells.chunks(usize::from(width));
    lines.map(|line| line.iter().map(|it| it.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
}

fn type_in(model: &mut Model, text: &str) {
    for key in text.chars() {
        model.press(Key::Char(key), 10);
    }
}

#[test]
fn all_that_is_known_is_seen_at_any_size() {
    for (width, height) in [(80, 24), (40, 10), (200, 50)] {
        let seen = drawn(&mut filled(), width, height);
        for word in ["connected", "1 dropped", "under way: 1", "17 events", "claude", "gpt-"] {
            assert!(seen.contains(word) || (width == 40 && word == "1 dropped"), "{word} at {width}x{height}:\n{seen}");
        }
        assert_eq!(seen.contains("writer backing_off, restarts 2, 5 wait"), width == 200, "{seen}");
    }
    // None of these has room for anything; none may panic.
    for (width, height) in [(1, 1), (4, 3), (10, 4), (5, 30)] {
        drawn(&mut filled(), width, height);
    }
}

#[test]
fn the_filter_takes_words_and_the_filters_of_the_api() {
    let mut model = filled();
    let models = |model: &Model| model.traces().map(|it| it.model.clone().unwrap()).collect::<Vec<_>>();
    type_in(&mut model, "/CLAU");
    assert_eq!(models(&model).len(), 2, "not before it is entered");
    model.press(Key::Enter, 10);
    assert_eq!(models(&model), ["claude"]);
    model.press(Key::Escape, 10);
    type_in(&mut model, "/status=2xx");
    model.press(Key::Enter, 10);
    assert_eq!(model.traces().map(|it| it.status).collect::<Vec<_>>(), [200]);
    type_in(&mut model, "/ colour=red");
    model.press(Key::Enter, 10);
    assert!(model.notice.as_ref().is_some_and(|it| it.contains("colour")), "{:?}", model.notice);
    assert!(model.typing.is_some(), "it can be mended");
}

#[test]
fn what_comes_moves_no_selection_and_nothing_grows_without_end() {
    let mut model = filled();
    model.press(Key::Tab, 10);
    model.press(Key::Down, 10);
    model.press(Key::Char('p'), 10);
    model.hear(News::Trace(Box::new(row(3, "held", 200))));
    assert_eq!(model.traces().count(), 2);
    model.press(Key::Char('p'), 10);
    assert_eq!(model.traces().count(), 3);
    model.hear(News::Earlier(vec![row(3, "held", 200)]));
    assert_eq!(model.traces().count(), 3, "each once");
    assert_eq!(model.press(Key::Enter, 10), Some(Order::Open(row(1, "", 0).id)));
    for number in 10..MOST_TRACES + 20 {
        model.hear(News::Trace(Box::new(row(number, "m", 200))));
    }
    assert_eq!(model.traces().count(), MOST_TRACES);
}

#[test]
fn a_followed_stream_says_what_its_events_say() {
    let mut model = filled();
    assert_eq!(model.press(Key::Char('f'), 10), Some(Order::Follow("01JX".to_owned())));
    for piece in ["你好", " wor", "ld\u{1b}[31m"] {
        let data = json!({"choices": [{"index": 0, "delta": {"content": piece}}]}).to_string();
        model.hear(News::Event("01JX".to_owned(), String::new(), data));
    }
    model.hear(News::Event("another".to_owned(), String::new(), "not this".to_owned()));
    let seen = drawn(&mut model, 80, 24);
    assert!(seen.contains(" world␛[31m") && seen.contains("3 events") && !seen.contains("not this"), "{seen}");
    type_in(&mut model, "e");
    assert!(drawn(&mut model, 80, 24).contains("\"delta\""));
    for _ in 0..6_000 {
        model.hear(News::Event("01JX".to_owned(), String::new(), "{}".to_owned()));
    }
    type_in(&mut model, "g");
    assert!(drawn(&mut model, 80, 24).contains("1003 earlier events are left out"));
    model.hear(News::Ended("01JX".to_owned(), "complete".to_owned()));
    assert_eq!(model.press(Key::Enter, 10), Some(Order::Open("01JX".to_owned())));
    assert_eq!(model.press(Key::Escape, 10), Some(Order::LetGo));
    assert!(matches!(model.view, View::Lists));
}

#[test]
fn a_recorder_that_is_gone_is_told_and_so_is_its_return() {
    let mut model = filled();
    model.hear(News::Lost("refused".to_owned()));
    let seen = drawn(&mut model, 80, 24);
    assert!(seen.contains("NOT CONNECTED, trying again: refused") && seen.contains("under way: 0"), "{seen}");
    model.hear(News::Connected);
    assert!(drawn(&mut model, 80, 24).contains("connected again"));
    assert_eq!(model.press(Key::Char('q'), 10), Some(Order::Quit));
}
