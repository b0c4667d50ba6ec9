//! The plugins' registry in a whole recorder: it may die at any moment, and a change is kept whole or not at all.

use serde_json::{Value, json};

use super::rig::{Rig, until};
use super::traffic;
use crate::faults;
use crate::plugins::registry;

const TIMES: u32 = 4;

/// A list with one label.
fn list(label: &str) -> Value {
    json!({"instances": [{"type": "tag", "id": "t", "enabled": true, "config": {"tags": [label]}}]})
}

/// Replaces the list by the API: the status.
async fn put(rig: &Rig, label: &str) -> u16 {
    let token = std::fs::read_to_string(rig.layout.token()).unwrap();
    let asked = traffic::http_client(false)
        .put(format!("http://{}/api/config/plugins", rig.api))
        .bearer_auth(token.trim())
        .body(list(label).to_string());
    asked.send().await.unwrap().status().as_u16()
}

/// Waits until traces get this label.
async fn is_in_force(rig: &Rig, label: &str) {
    let in_force = || rig.plugins().list().iter().any(|it| it.config["tags"][0] == label);
    until("the list to be in force", || in_force().then_some(()).ok_or_else(|| format!("not {label}"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_dies_and_hears_of_files_again() {
    let mut rig = Rig::start().await;
    for died in 1..=u64::from(TIMES) {
        faults::arm("plugins", 1);
        rig.slots.plugins.cast_when_there(registry::Msg::Look).await;
        rig.traffic(20).await;
        rig.shows_restarts("plugins", died, "plugins").await;
        let label = format!("after-{died}");
        std::fs::write(rig.layout.overrides(), json!({"plugins": list(&label)}).to_string()).unwrap();
        is_in_force(&rig, &label).await;
    }
    rig.settled().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_killed_again_and_again_keeps_the_set_in_force() {
    let mut rig = Rig::start().await;
    assert_eq!(put(&rig, "kept").await, 200);
    let generation = rig.plugins().generation();
    for _ in 0..TIMES {
        rig.slots.plugins.kill();
        rig.traffic(20).await;
        assert_eq!(rig.plugins().generation(), generation, "nothing has changed, so nothing was exchanged");
    }
    rig.settled().await.lost_nothing();
    assert!(rig.by_number().values().all(|line| line["tags"] == json!(["kept"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_keeping_a_list_and_its_force_leaves_the_new_one() {
    let mut rig = Rig::start().await;
    assert_eq!(put(&rig, "old").await, 200);
    faults::arm("plugins.persisted", 1);
    assert_eq!(put(&rig, "new").await, 500, "nobody can tell what came of it");
    is_in_force(&rig, "new").await;
    let file: Value = serde_json::from_slice(&std::fs::read(rig.layout.overrides()).unwrap()).unwrap();
    assert_eq!(file["plugins"], list("new"));
    rig.traffic(20).await;
    rig.settled().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_kept_is_not_in_force() {
    let mut rig = Rig::start().await;
    assert_eq!(put(&rig, "old").await, 200);
    let before = std::fs::read(rig.layout.overrides()).unwrap();
    faults::arm("plugins.persist", 1);
    assert_eq!(put(&rig, "new").await, 500);
    assert_eq!(std::fs::read(rig.layout.overrides()).unwrap(), before);
    rig.traffic(20).await;
    rig.settled().await.lost_nothing();
    assert!(rig.by_number().values().all(|line| line["tags"] == json!(["old"])));
}
