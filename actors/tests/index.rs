//! What may become of the index under a running recorder: it is noticed, mended without a restart, and nothing that
//! stands in the files is missing in it or linked otherwise.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use api_log::index::{Budget, WriterState, catch_up, schema};
use api_log::jsonl::line::read_row;
use api_log::work::Work;
use serde_json::{Value, json};

use super::rig::{Rig, until};
use super::traffic::{self, NUMBER};
use crate::record::rebuild::{Priority, build};

/// More than an empty index reads back by itself in these tests.
const MUCH: u64 = 80;

/// All that lists and sessions show, in an order of its own.
fn dump(index: &Path) -> Result<Vec<String>, String> {
    let connection = schema::open_reader(index).map_err(|error| error.to_string())?;
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut lines = Vec::new();
        for sql in [
            "SELECT * FROM traces ORDER BY id",
            "SELECT root, turns, first_ts, last_ts, last_id, ok_count, err_count FROM sessions ORDER BY root",
            "SELECT path, indexed_to, bad_lines, first_trace FROM segments ORDER BY path",
        ] {
            let mut statement = connection.prepare(sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|at| row.get_ref(at).map(|it| format!("{it:?}")));
                lines.push(values.collect::<rusqlite::Result<Vec<_>>>()?.join(" "));
            }
        }
        Ok(lines)
    };
    read().map_err(|error| error.to_string())
}

/// Waits until the index says that nothing is missing, and checks it against ones that are made offline in both ways.
async fn is_whole_and_equal_to_offline(rig: &Rig) {
    rig.settled().await.lost_nothing();
    is_current(rig).await;
    let dir = tempfile::tempdir().unwrap();
    let caught_up = dir.path().join("caught-up");
    let mut connection = schema::open_writer(&caught_up).unwrap();
    catch_up(&mut connection, &mut WriterState::new(), &rig.layout, read_row, Budget::WHOLE).unwrap();
    drop(connection);
    let expected = dump(&caught_up).unwrap();
    same("the running one", &dump(&rig.layout.index()).unwrap(), &expected);
    build(&rig.layout, None, Priority::Usual, &Work::new()).unwrap();
    same("a rebuilt one", &dump(&rig.layout.new_index()).unwrap(), &expected);
    std::fs::remove_file(rig.layout.new_index()).unwrap();
}

fn same(which: &str, found: &[String], expected: &[String]) {
    let different = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert_eq!((different, found.len()), (None, expected.len()), "{which}");
}

async fn is_current(rig: &Rig) {
    for _ in 0..2000 {
        let health = rig.health().await;
        let is_merged = health["index"]["fresh_rows"] == 0;
        if health["index"]["state"] == "current" && is_merged && conditions(&health).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the index does not come to rest: {}", rig.health().await["index"]);
}

/// The index's conditions in the health document.
fn conditions(health: &Value) -> Vec<String> {
    let degraded = health["degraded"].as_array().unwrap();
    let names = degraded.iter().filter_map(|it| it["condition"].as_str());
    names.filter(|it| it.starts_with("index_")).map(str::to_owned).collect()
}

async fn shows(rig: &Rig, condition: &str) {
    for _ in 0..2000 {
        if conditions(&rig.health().await).contains(&condition.to_owned()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{condition} does not show");
}

fn part(rig: &Rig, suffix: &str) -> PathBuf {
    format!("{}{suffix}", rig.layout.index().display()).into()
}

fn set_aside(rig: &Rig) -> usize {
    let names = std::fs::read_dir(rig.layout.root()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|it| it.starts_with("index.sqlite.corrupt-") && !it.ends_with("-wal") && !it.ends_with("-shm")).count()
}

/// Conversations with pictures, some of whose rows will find their parents and attachments only when they are read back.
async fn conversations(rig: &mut Rig, count: u64) {
    let first = rig.expect(count * 3);
    let url = format!("http://{}/v1/chat/completions", rig.proxy);
    let http = traffic::http_client(true);
    let picture = "data:image/png;base64,iVBORw0KGgo=";
    for conversation in 0..count {
        let mut messages = Vec::new();
        for turn in 0..3 {
            let number = first + conversation * 3 + turn;
            messages.push(json!({"role": "user", "content": [
                {"type": "text", "text": format!("turn {turn} of {conversation}, first {first}")},
                {"type": "image_url", "image_url": {"url": picture}},
            ]}));
            let body = json!({"model": "m", "seed": number, "messages": messages});
            let asked = http.post(&url).json(&body).header(NUMBER, number).bearer_auth("pictures").send();
            let answer: Value = asked.await.unwrap().json().await.unwrap();
            messages.push(answer["choices"][0]["message"].clone());
        }
    }
}

/// Damages the index amid traffic, and expects it whole again.
async fn heals(damage: impl FnOnce(&Rig)) -> Rig {
    let mut rig = Rig::start().await;
    rig.traffic(MUCH).await;
    conversations(&mut rig, 2).await;
    rig.settled().await.lost_nothing();
    let numbers = rig.expect_traffic(MUCH);
    let going_on = tokio::spawn(traffic::run(rig.proxy, numbers));
    damage(&rig);
    conversations(&mut rig, 3).await;
    going_on.await.unwrap();
    rig.traffic(40).await;
    is_whole_and_equal_to_offline(&rig).await;
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_index_is_made_anew() {
    let rig = heals(|rig| {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(part(rig, suffix));
        }
    })
    .await;
    assert_eq!(set_aside(&rig), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_deleted_without_its_journal_is_made_anew() {
    heals(|rig| std::fs::remove_file(part(rig, "")).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_was_replaced_by_something_else_is_made_anew() {
    let rig = heals(|rig| {
        let other = part(rig, ".other");
        std::fs::write(&other, "no index at all, though it stands in the place of one").unwrap();
        std::fs::rename(other, part(rig, "")).unwrap();
    })
    .await;
    assert_eq!(set_aside(&rig), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_was_replaced_by_an_older_one_is_caught_up() {
    heals(|rig| {
        let older = part(rig, ".older");
        let reader = rusqlite::Connection::open(part(rig, "")).unwrap();
        reader.execute("VACUUM INTO ?", [older.to_str().unwrap()]).unwrap();
        drop(reader);
        let connection = rusqlite::Connection::open(&older).unwrap();
        connection.execute_batch("DELETE FROM rows; UPDATE segments SET indexed_to = 0; DELETE FROM sessions").unwrap();
        drop(connection);
        std::fs::rename(older, part(rig, "")).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_index_is_made_anew() {
    heals(|rig| OpenOptions::new().write(true).open(part(rig, "")).unwrap().set_len(5000).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_with_garbage_in_its_pages_is_made_anew() {
    heals(|rig| {
        for suffix in ["", "-wal"] {
            let file = OpenOptions::new().write(true).open(part(rig, suffix)).unwrap();
            let bytes = file.metadata().unwrap().len();
            for at in (8192..bytes).step_by(4096 * 3) {
                file.write_all_at(&[0x5a; 4096], at).unwrap();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_is_locked_for_long_shows_and_is_read_back() {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    conversations(&mut rig, 1).await;
    rig.settled().await.lost_nothing();
    let other = rusqlite::Connection::open(rig.layout.index()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    rig.traffic(40).await;
    conversations(&mut rig, 2).await;
    shows(&rig, "index_locked").await;
    assert_eq!(rig.health().await["index"]["state"], "locked");
    // Rows are not held for as long as that lasts.
    rig.traffic(40).await;
    // Looked at once each time: right behind that, a last row may just come.
    let mut waiting = serde_json::Value::Null;
    for _ in 0..2000 {
        waiting = rig.health().await["index"]["rows_waiting"].clone();
        if waiting == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(waiting, 0);
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    is_whole_and_equal_to_offline(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_come_in_a_rush_are_taken_in_fresh_and_merged_when_there_is_time() {
    let mut rig = Rig::start().await;
    rig.traffic(10).await;
    for round in 0.. {
        // Rows pile up behind a transaction of somebody's. On a busy machine that may take so long that they are let go.
        let other = rusqlite::Connection::open(rig.layout.index()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        rig.traffic(30).await;
        conversations(&mut rig, 3).await;
        other.execute_batch("ROLLBACK").unwrap();
        is_whole_and_equal_to_offline(&rig).await;
        if rig.health().await["index"]["merged_rows"] != 0 {
            break;
        }
        assert!(round < 20, "no rush in so many rounds");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_the_disk_refuses_shows_and_is_read_back() {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(part(&rig, suffix));
    }
    std::fs::create_dir(part(&rig, "")).unwrap();
    rig.traffic(40).await;
    shows(&rig, "index_unwritable").await;
    std::fs::remove_dir(part(&rig, "")).unwrap();
    rig.traffic(40).await;
    is_whole_and_equal_to_offline(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_on_command_takes_the_old_ones_place_amid_traffic() {
    let mut rig = Rig::start().await;
    rig.traffic(MUCH).await;
    conversations(&mut rig, 2).await;
    rig.settled().await.lost_nothing();
    let inode = |rig: &Rig| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(part(rig, "")).unwrap());
    // Kept open, so that its inode is not given to another file.
    let _old = std::fs::File::open(part(&rig, "")).unwrap();
    let before = inode(&rig);
    let numbers = rig.expect_traffic(MUCH);
    let going_on = tokio::spawn(traffic::run(rig.proxy, numbers));
    rig.rebuild_index().await;
    conversations(&mut rig, 3).await;
    going_on.await.unwrap();
    until("another index", || if inode(&rig) == before { Err("the old one".into()) } else { Ok(()) }).await;
    is_whole_and_equal_to_offline(&rig).await;
    assert_eq!(set_aside(&rig), 0);
}
