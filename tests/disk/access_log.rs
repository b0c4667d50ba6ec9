//! The access log on a disk that runs full: requests are answered, whole lines wait, and none is torn.

use serde_json::Value;

use crate::full::fill;
use crate::mounted::{Mounted, is_told};
use crate::recorder::{Recorder, until};
use crate::wire::Gateway;

#[test]
fn an_access_log_without_room_fails_nobody_and_goes_on_when_there_is_some() {
    let Some(mounted) = Mounted::tmpfs(1 << 20) else { return };
    let log = mounted.data_dir.path().join("access.jsonl");
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("API_ACCESS_LOG", log.to_str().unwrap())]);
    let ask = |number: u32| assert_eq!(recorder.api(&format!("/api/traces?model=m{number}")).0, 200);
    let written = || recorder.api("/healthz").1["api"]["access_log"]["written"].as_u64().unwrap();
    ask(0);
    until("the first line", || (written() == 1).then_some(()));
    let large = fill(mounted.data_dir.path(), "large", usize::MAX);
    // The rest of the page that the first one is on may take some; then it ends within a line.
    (1..60).for_each(ask);
    is_told(&recorder, "access_log", Some("cannot be written"));
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.ends_with('\n'), "what did not fit whole was cut off again");
    assert!((text.lines().count() as u64) < 60, "it is full");
    std::fs::remove_file(large).unwrap();
    is_told(&recorder, "access_log", None);
    until("all lines", || (written() == 60).then_some(()));
    let text = std::fs::read_to_string(&log).unwrap();
    let queries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["query"].clone());
    assert!(queries.eq((0..60).map(|it| Value::String(format!("model=m{it}")))), "in order, each once: {text}");
    assert_eq!(recorder.api("/healthz").1["api"]["access_log"]["dropped"], 0);
}
