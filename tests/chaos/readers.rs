//! Readers of the read API beside the traffic, of whom one changes the plugins: they bear that it fails, and are told so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::stand::{self, Stand};

/// How often each answer came; 0 for none, as when the API's actor died meanwhile.
pub(crate) type Answers = BTreeMap<u16, u64>;

/// Two of them, who look around without pause.
pub(crate) struct Readers {
    is_over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Answers>>,
}

/// A list of plugins that labels every trace so.
pub(crate) fn plugins(label: u64) -> String {
    let instance =
        serde_json::json!({"type": "tag", "id": "labels", "enabled": true, "config": {"tags": [format!("l{label}")]}});
    serde_json::json!({"instances": [instance]}).to_string()
}

impl Readers {
    pub(crate) fn start(stand: &Stand) -> Readers {
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = |number: u32| {
            let (is_over, api, data_dir) = (is_over.clone(), stand.recorder.api, stand.data_dir.clone());
            std::thread::spawn(move || {
                let mut answers = Answers::new();
                let mut call = |method: &str, path: &str, body: &str| {
                    let answer = stand::ask(api, data_dir.path(), method, path, body);
                    *answers.entry(answer.as_ref().map_or(0, |it| it.0)).or_default() += 1;
                    answer.filter(|it| it.0 == 200).map(|it| it.1)
                };
                let mut labels = 0_u64..;
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(label) = labels.next().filter(|_| number == 0) {
                        call("PUT", "/api/config/plugins", &plugins(label));
                    }
                    let mut ask = |path: &str| call("GET", path, "");
                    let listed = ask("/api/traces?limit=20").and_then(|it| serde_json::from_str::<Value>(&it).ok());
                    let rows = listed.as_ref().and_then(|it| it["traces"].as_array()).cloned().unwrap_or_default();
                    if let Some(id) = rows.last().and_then(|it| it["id"].as_str()) {
                        ask(&format!("/api/traces/{id}"));
                    }
                    for path in ["/healthz", "/readyz", "/metrics"] {
                        ask(path);
                    }
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                answers
            })
        };
        Readers { threads: (0..2).map(reader).collect(), is_over }
    }

    /// What they got.
    ///
    /// # Panics
    /// They got nothing, or an answer that the API does not give.
    pub(crate) fn stop(self) -> Answers {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Answers::new();
        for (status, count) in self.threads.into_iter().flat_map(|it| it.join().unwrap()) {
            *all.entry(status).or_default() += count;
        }
        assert!(all.contains_key(&200), "{all:?}");
        // 404: the trace was deleted meanwhile, or its row was there before a reader's snapshot had it.
        assert!(all.keys().all(|it| [0, 200, 404, 500, 503].contains(it)), "{all:?}");
        all
    }
}
