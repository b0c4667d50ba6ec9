//! The sweeper by itself, over a data dir made by hand; the index is not there, and nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use api_log::counters::Counters;
use api_log::ids::{BucketId, Date, SegmentId, ShortKey, UnixMillis};
use api_log::store::data_dir::create_private;
use api_log::store::layout::{Form, Layout};
use api_log::store::lease::Leases;
use api_log::store::open_segments::OpenSegments;
use api_log::store::retention::Settings;
use api_log::store::retention_change::RetentionChange;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tempfile::TempDir;

use super::sweeper::{Args, Msg, Sweeper};
use super::{Gauge, Live};
use crate::faults::{self, Alone};
use crate::kit::{Registry, Slot};
use crate::record::index::{self, Door};

const OFF: Settings =
    Settings { max_bytes: 0, max_age: None, warn_at_percent: 80, per_key_max_bytes: 0, media_max_bytes: 0 };
/// Bytes of each made-up segment.
const BYTES: u64 = 1000;
const DEADLINE: Duration = Duration::from_secs(40);

struct Rig {
    layout: Layout,
    leases: Leases,
    segments: OpenSegments,
    counters: Arc<Counters>,
    registry: Registry,
    live: Arc<Live>,
    slot: Slot<Msg>,
    args: Args,
    _dir: TempDir,
    _alone: Alone,
}

impl Rig {
    async fn new(settings: Settings) -> Rig {
        Rig::with(settings, Ok(None)).await
    }

    async fn with(settings: Settings, overridden: Result<Option<RetentionChange>, ()>) -> Rig {
        let alone = faults::alone().await;
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("data"));
        create_private(layout.root()).unwrap();
        let (leases, segments, registry, slot) =
            (Leases::new(), OpenSegments::new(), Registry::new(), Slot::<Msg>::new());
        let live = Arc::new(Live::new(settings, &overridden, Gauge::new(slot.clone())));
        let counters = Arc::new(Counters::default());
        let index = Slot::new();
        let args = Args {
            layout: layout.clone(),
            leases: leases.clone(),
            segments: segments.clone(),
            live: live.clone(),
            door: Door::new(index.clone(), &registry),
            index,
            counters: counters.clone(),
            health: registry.child("sweeper"),
            disk_filling: registry.condition("disk_filling"),
        };
        Rig { layout, leases, segments, counters, registry, live, slot, args, _dir: dir, _alone: alone }
    }

    async fn start(&self) -> ActorRef<Msg> {
        let (sweeper, _) = Actor::spawn(None, Sweeper, self.args.clone()).await.unwrap();
        self.slot.fill(sweeper.clone());
        sweeper
    }

    /// Starts a sweeper and waits for its first sweep.
    async fn swept(&self) -> ActorRef<Msg> {
        let before = self.sweeps();
        let sweeper = self.start().await;
        self.until("a sweep", || self.sweeps() > before).await;
        sweeper
    }

    async fn sweeps_again(&self) {
        let before = self.sweeps();
        self.live.gauge.look();
        self.until("another sweep", || self.sweeps() > before).await;
    }

    fn sweeps(&self) -> u64 {
        self.report()["sweeps"].as_u64().unwrap()
    }

    fn report(&self) -> serde_json::Value {
        serde_json::to_value(self.live.report()).unwrap()
    }

    async fn until(&self, what: &str, mut look: impl FnMut() -> bool) {
        let began = std::time::Instant::now();
        while !look() {
            assert!(began.elapsed() < DEADLINE, "waited in vain for {what}: {}, {:?}", self.report(), self.left());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Puts a segment of [`BYTES`], with one trace.
    fn put(&self, segment: SegmentId) {
        create_private(&self.layout.day(segment.bucket.date)).unwrap();
        let mut line = format!("{{\"id\":\"{}\",\"x\":\"", trace(segment));
        line += &"x".repeat(BYTES as usize - line.len() - 3);
        std::fs::write(self.layout.segment(segment, Form::Plain), line + "\"}\n").unwrap();
    }

    /// Puts attachments of so many bytes beside its trace.
    fn put_media(&self, segment: SegmentId, bytes: usize) {
        let folder = self.layout.media(segment.bucket, trace(segment).parse().unwrap());
        create_private(&folder).unwrap();
        std::fs::write(folder.join("0.png"), vec![0; bytes]).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::open(&folder).unwrap().set_modified(long_ago).unwrap();
    }

    fn left(&self) -> Vec<SegmentId> {
        self.layout.segments().unwrap().into_iter().map(|it| it.id).collect()
    }

    fn has_media(&self, segment: SegmentId) -> bool {
        self.layout.media(segment.bucket, trace(segment).parse().unwrap()).exists()
    }
}

fn segment(days_ago: i32, key: u8, number: u32) -> SegmentId {
    let date = Date(UnixMillis::now().date().0 - days_ago);
    SegmentId { bucket: BucketId { date, key: ShortKey([key; 4]) }, number }
}

/// The id of a segment's one trace: the older the day, the lower.
fn trace(segment: SegmentId) -> String {
    let SegmentId { bucket, number } = segment;
    format!("01J{:010}{:010}{:03}", bucket.date.0, number, bucket.key.0[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_nothing_is_deleted_and_everything_is_counted() {
    let rig = Rig::new(OFF).await;
    rig.put(segment(4000, 1, 0));
    rig.put_media(segment(4000, 1, 0), 500);
    rig.swept().await;
    assert_eq!(rig.left(), [segment(4000, 1, 0)]);
    let report = rig.report();
    assert_eq!((&report["data_dir_bytes"], &report["state"]), (&(BYTES + 500).into(), &"disabled".into()));
    assert_eq!((&report["engine_running"], &report["media_bytes"]), (&true.into(), &500.into()));
    assert!(report["disk_free_bytes"].as_u64() <= report["disk_total_bytes"].as_u64());
    assert!(report.get("last_eviction_ts").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_go_first_and_what_is_being_read_stays_until_it_is_done() {
    let rig = Rig::new(Settings { max_bytes: 2 * BYTES, ..OFF }).await;
    for days_ago in 0..4 {
        rig.put(segment(days_ago, 1, 0));
    }
    let reading = rig.leases.shared(segment(3, 1, 0)).unwrap();
    rig.swept().await;
    assert_eq!(rig.left(), [segment(3, 1, 0), segment(0, 1, 0)], "it is passed over for the next");
    assert!(!rig.layout.day(segment(2, 1, 0).bucket.date).exists(), "nor does an empty day stay");
    rig.put(segment(1, 1, 0));
    rig.sweeps_again().await;
    drop(reading);
    rig.put(segment(1, 1, 0));
    rig.sweeps_again().await;
    assert_eq!(rig.left(), [segment(1, 1, 0), segment(0, 1, 0)]);
    let report = rig.report();
    assert_eq!((&report["data_dir_bytes"], &report["state"]), (&(2 * BYTES).into(), &"critical".into()));
    assert_eq!(rig.counters.evicted_traces.get(), report["evicted_segments"].as_u64().unwrap());
    assert_eq!(rig.counters.evicted_bytes.get(), BYTES * rig.counters.evicted_traces.get());
    assert_eq!(report["last_eviction_ts"].as_str().unwrap().len(), 20);
    assert!(rig.leases.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_day_loses_its_closed_segments_and_never_the_one_that_is_open() {
    let rig = Rig::new(Settings { max_bytes: 1, ..OFF }).await;
    for number in 0..4 {
        rig.put(segment(0, 1, number));
    }
    // One with a writer, though others came behind it.
    let writer = rig.segments.take(segment(0, 2, 0).bucket).unwrap();
    rig.put(segment(0, 2, 0));
    rig.put(segment(0, 2, 1));
    assert!(writer.open(0));
    rig.swept().await;
    assert_eq!(rig.left(), [segment(0, 1, 3), segment(0, 2, 0), segment(0, 2, 1)]);
    assert_eq!(rig.report()["state"], "critical");
    // What was deleted is never opened again.
    let next = rig.segments.take(segment(0, 1, 0).bucket).unwrap();
    assert_eq!(next.first_free(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_its_own_limit_and_attachments_theirs() {
    let rig = Rig::new(Settings { per_key_max_bytes: 2 * BYTES, media_max_bytes: 700, ..OFF }).await;
    for days_ago in 1..4 {
        rig.put(segment(days_ago, 1, 0));
    }
    for days_ago in 1..3 {
        rig.put(segment(days_ago, 2, 0));
        rig.put_media(segment(days_ago, 2, 0), 400);
    }
    let reading = rig.leases.shared(segment(1, 1, 0)).unwrap();
    rig.swept().await;
    // Key 2's attachments count for it, too.
    assert_eq!(rig.left(), [segment(2, 1, 0), segment(1, 1, 0), segment(1, 2, 0)]);
    assert!(rig.has_media(segment(1, 2, 0)));
    rig.put(segment(3, 3, 0));
    rig.put_media(segment(3, 3, 0), 400);
    rig.sweeps_again().await;
    assert!(!rig.has_media(segment(3, 3, 0)) && rig.has_media(segment(1, 2, 0)));
    assert!(rig.left().contains(&segment(3, 3, 0)), "the line stays");
    drop(reading);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_set_applies_at_once_and_one_that_is_passed_by_writing_too() {
    let rig = Rig::new(OFF).await;
    for days_ago in 1..4 {
        rig.put(segment(days_ago, 1, 0));
    }
    rig.swept().await;
    assert_eq!(rig.left().len(), 3);
    let before = rig.sweeps();
    rig.live.set(Some(&RetentionChange { max_bytes: Some(2 * BYTES), ..RetentionChange::default() }));
    rig.until("a deletion", || rig.left().len() == 2).await;
    rig.until("the end of the sweep", || rig.sweeps() > before).await;
    rig.put(segment(1, 2, 0));
    rig.live.gauge.wrote(BYTES);
    rig.until("another deletion", || rig.left() == [segment(1, 1, 0), segment(1, 2, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_doubt_nothing_is_deleted() {
    let rig = Rig::with(Settings { max_bytes: 1, ..OFF }, Err(())).await;
    rig.put(segment(5, 1, 0));
    rig.swept().await;
    assert_eq!(rig.left(), [segment(5, 1, 0)]);
    rig.live.set(Some(&RetentionChange::default()));
    rig.until("the doubt to be over", || rig.left().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_crash_interrupted_is_finished_though_the_limit_is_gone() {
    for point in ["sweeper.marked", "sweeper.unindexed"] {
        let rig = Rig::new(Settings { max_bytes: 1, ..OFF }).await;
        rig.put(segment(5, 1, 0));
        rig.put_media(segment(5, 1, 0), 100);
        faults::arm(point, 1);
        let dying = rig.start().await;
        rig.until("the crash", || dying.get_status() == ractor::ActorStatus::Stopped).await;
        assert_eq!(rig.left(), [segment(5, 1, 0)]);
        assert!(rig.leases.is_empty());
        rig.live.set(Some(&RetentionChange { max_bytes: Some(0), ..RetentionChange::default() }));
        rig.swept().await;
        assert_eq!(std::fs::read_dir(rig.layout.root()).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_plan_may_delete_is_deleted_soon() {
    let rig = Rig::new(Settings { max_age: Some(Duration::from_secs(1)), ..OFF }).await;
    for number in 0..1003 {
        rig.put(segment(5, 1, number));
    }
    rig.swept().await;
    rig.until("all to be gone", || rig.left().is_empty()).await;
    rig.until("the end", || rig.report()["eviction_cap_hit"] == false).await;
    assert_eq!(rig.registry.child("sweeper").report().queue_depth, 0);
}

/// An index that takes what it is asked, and never comes to answer it.
struct Overwhelmed;

impl Actor for Overwhelmed {
    type Msg = index::Msg;
    type State = Vec<RpcReplyPort<u64>>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<index::Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        Ok(Vec::new())
    }

    async fn handle(
        &self,
        _: ActorRef<index::Msg>,
        msg: index::Msg,
        asked: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let index::Msg::RemoveSegment { reply, .. } = msg {
            asked.push(reply);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_overwhelmed_does_not_make_limits_helpless() {
    let rig = Rig::new(Settings { max_age: Some(Duration::from_secs(1)), ..OFF }).await;
    let (index, _) = Actor::spawn(None, Overwhelmed, ()).await.unwrap();
    rig.args.index.fill(index);
    for number in 0..100 {
        rig.put(segment(5, 1, number));
    }
    let began = tokio::time::Instant::now();
    rig.swept().await;
    assert!(rig.left().is_empty(), "{:?}", rig.left());
    // By the paused clock: half a minute for all of them, and a little for each; not half a minute for each.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(rig.report()["evicted_segments"], 100);
}
