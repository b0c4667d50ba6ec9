//! Queries end, whoever asks them and however long they would take.

use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use api_log::ids::UnixMillis;

use super::*;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Reads without end.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

fn readers(dir: &tempfile::TempDir, timeout: Duration) -> Arc<Readers> {
    let path = dir.path().join("index.sqlite");
    schema::open_writer(&path).unwrap();
    let status = Arc::new(Status::new(&crate::kit::Registry::new()));
    Arc::new(Readers::new(path, status, timeout))
}

fn endless(index: &mut rusqlite::Connection) -> rusqlite::Result<i64> {
    index.query_row(ENDLESS, [], |row| row.get(0))
}

fn one(index: &mut rusqlite::Connection) -> rusqlite::Result<i64> {
    index.query_row("SELECT 1", [], |row| row.get(0))
}

#[tokio::test]
async fn who_asks_beyond_the_bound_is_told_so_at_once_and_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let readers = readers(&dir, LONG);
    let taken: Vec<_> = (0..MOST_QUERIES).map(|_| readers.room.try_take(0).unwrap()).collect();
    assert!(matches!(readers.read(Load::Light, one).await, Err(ReadError::Busy)));
    drop(taken);
    readers.read(Load::Light, one).await.unwrap();
    assert_eq!(readers.room.report().refused, 1);
}

#[tokio::test]
async fn a_replaced_index_is_read_in_place_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.sqlite");
    let status = Arc::new(Status::new(&crate::kit::Registry::new()));
    let readers = Readers::new(path.clone(), status, LONG);
    for round in 1..4 {
        let writer = schema::open_writer(&path).unwrap();
        writer.execute("INSERT INTO words (text) VALUES (?1)", [round.to_string()]).unwrap();
        let query = |index: &mut rusqlite::Connection| {
            index.query_row("SELECT group_concat(text) FROM words", [], |row| row.get::<_, String>(0))
        };
        // All at once, so that every connection is asked.
        let asked = (0..2 * Load::Light.connections()).map(|_| readers.read(Load::Light, query));
        for answer in futures_util::future::join_all(asked).await {
            assert_eq!(answer.unwrap(), round.to_string());
        }
        drop(writer);
        api_log::index::files::set_aside(&path, UnixMillis(round)).unwrap();
    }
}

#[tokio::test]
async fn an_endless_query_is_stopped_and_its_connection_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let readers = readers(&dir, Duration::from_millis(50));
    for _ in 0..3 * Load::Heavy.connections() {
        let stopped = readers.read(Load::Heavy, endless).await;
        assert!(matches!(stopped, Err(ReadError::Timeout(it)) if it == Duration::from_millis(50)), "{stopped:?}");
    }
    readers.set_timeout(LONG);
    assert_eq!(readers.read(Load::Heavy, one).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn heavy_queries_keep_neither_light_ones_nor_the_writer_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let readers = readers(&dir, LONG);
    let (began, begins) = mpsc::channel();
    let heavy: Vec<_> = (0..2 * Load::Heavy.connections())
        .map(|_| {
            let (readers, began) = (readers.clone(), began.clone());
            let query = move |index: &mut rusqlite::Connection| {
                let _ = began.send(());
                endless(index)
            };
            tokio::spawn(async move { readers.read(Load::Heavy, query).await })
        })
        .collect();
    for _ in 0..Load::Heavy.connections() {
        begins.recv_timeout(LONG).unwrap();
    }
    // All the heavy places are taken, and nothing of the rest.
    assert_eq!(readers.read(Load::Light, one).await.unwrap(), 1);
    let writer = schema::open_writer(&dir.path().join("index.sqlite")).unwrap();
    writer.execute("INSERT INTO words (text) VALUES ('written meanwhile')", []).unwrap();
    let written =
        |index: &mut rusqlite::Connection| index.query_row("SELECT text FROM words", [], |row| row.get::<_, String>(0));
    assert_eq!(readers.read(Load::Light, written).await.unwrap(), "written meanwhile");
    assert!(begins.try_recv().is_err(), "no third heavy query has begun");
    heavy.iter().for_each(tokio::task::JoinHandle::abort);
    // Nobody wants them any more: the places are free long before their time would be over.
    assert_eq!(readers.read(Load::Heavy, one).await.unwrap(), 1);
}

#[tokio::test]
async fn waiting_for_a_place_ends_too() {
    let dir = tempfile::tempdir().unwrap();
    let readers = readers(&dir, LONG);
    let release = Arc::new(AtomicBool::new(false));
    let held: Vec<_> = (0..Load::Light.connections())
        .map(|_| {
            let (readers, release) = (readers.clone(), release.clone());
            // Sleeps where SQLite cannot look at its watch.
            let query = move |_: &mut rusqlite::Connection| {
                while !release.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(1)
            };
            tokio::spawn(async move { readers.read(Load::Light, query).await })
        })
        .collect();
    while readers.light.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    readers.set_timeout(Duration::from_millis(20));
    assert!(matches!(readers.read(Load::Light, one).await, Err(ReadError::Busy)));
    release.store(true, Ordering::Relaxed);
    for it in held {
        assert_eq!(it.await.unwrap().unwrap(), 1);
    }
}
