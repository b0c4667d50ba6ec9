//! Plans of retention, against a made-up data dir that knows whose each attachment is.

use proptest::prelude::*;

use super::*;
use crate::ids::ShortKey;
use crate::store::inventory::{MediaFolder, SegmentFiles, TraceMedia};

const TODAY: i32 = 20_000;
const NOW: UnixMillis = UnixMillis(TODAY as i64 * DAY_MILLIS + DAY_MILLIS / 2);
const OFF: Settings =
    Settings { max_bytes: 0, max_age: None, warn_at_percent: 80, per_key_max_bytes: 0, media_max_bytes: 0 };

/// A segment and the attachments of its traces, in bytes.
#[derive(Clone, Debug)]
struct Stored {
    id: SegmentId,
    lines: u64,
    media: Vec<(TraceId, u64)>,
}

fn segment(days_ago: i32, key: u8, number: u32) -> SegmentId {
    SegmentId { bucket: BucketId { date: Date(TODAY - days_ago), key: ShortKey([key; 4]) }, number }
}

fn stored(days_ago: i32, key: u8, number: u32, lines: u64) -> Stored {
    Stored { id: segment(days_ago, key, number), lines, media: Vec::new() }
}

fn trace(number: u128) -> TraceId {
    TraceId::from_bytes(number.to_be_bytes())
}

fn inventory(disk: &[Stored]) -> Inventory {
    let mut inventory = Inventory::default();
    for Stored { id, lines, media } in disk {
        let files = SegmentFiles { forms: [Some(*lines), None, None], ..SegmentFiles::default() };
        inventory.segments.insert(*id, files);
        for (trace, bytes) in media {
            let found = TraceMedia { bytes: *bytes, changed: SystemTime::UNIX_EPOCH };
            inventory.media.entry(id.bucket).or_insert_with(MediaFolder::default).traces.insert(*trace, found);
        }
    }
    inventory
}

/// Carries a plan out: what was deleted, and what is left.
fn carry_out(settings: Settings, disk: &mut Vec<Stored>, leased: &BTreeSet<SegmentId>) -> (Vec<(Step, Why)>, Planner) {
    let mut plan = Planner::new(settings, &inventory(disk), NOW);
    let mut deleted = Vec::new();
    while let Some((step, why)) = plan.next() {
        match step {
            Step::Segment(id) if leased.contains(&id) => continue,
            Step::Segment(id) => {
                let at = disk.iter().position(|it| it.id == id).expect("it is there");
                let traces: Vec<TraceId> = disk.remove(at).media.iter().map(|it| it.0).collect();
                plan.done(step, &traces);
            }
            Step::Media(bucket, trace) => {
                let owner =
                    disk.iter_mut().find(|it| it.id.bucket == bucket && it.media.iter().any(|it| it.0 == trace));
                owner.expect("it is there").media.retain(|it| it.0 != trace);
                plan.done(step, &[]);
            }
            Step::Leftover(_) => panic!("every attachment has its line"),
        }
        deleted.push((step, why));
    }
    (deleted, plan)
}

fn delete(settings: Settings, disk: &[Stored]) -> Vec<(Step, Why)> {
    carry_out(settings, &mut disk.to_vec(), &BTreeSet::new()).0
}

fn segments(deleted: &[(Step, Why)]) -> Vec<SegmentId> {
    deleted.iter().filter_map(|(step, _)| if let Step::Segment(id) = step { Some(*id) } else { None }).collect()
}

#[test]
fn without_a_limit_nothing_is_deleted_but_what_was_half_deleted() {
    let disk = [stored(4000, 1, 0, 1 << 40), stored(10, 1, 0, 10)];
    assert_eq!(delete(OFF, &disk), []);
    let mut found = inventory(&disk);
    found.segments.get_mut(&segment(10, 1, 0)).unwrap().is_half_deleted = true;
    let mut plan = Planner::new(OFF, &found, NOW);
    assert_eq!(plan.next(), Some((Step::Segment(segment(10, 1, 0)), Why::HalfDeleted)));
    assert_eq!(plan.next(), None);
}

#[test]
fn a_busy_key_day_larger_than_the_limit_loses_its_oldest_segments_and_keeps_the_open_one() {
    let disk: Vec<Stored> = (0..5).map(|number| stored(0, 1, number, 100)).collect();
    let gone = delete(Settings { max_bytes: 250, ..OFF }, &disk);
    assert_eq!(segments(&gone), [segment(0, 1, 0), segment(0, 1, 1), segment(0, 1, 2)]);
    let gone = delete(Settings { max_bytes: 1, ..OFF }, &disk);
    assert_eq!(segments(&gone), (0..4).map(|number| segment(0, 1, number)).collect::<Vec<_>>());
}

#[test]
fn age_is_that_of_the_day_from_its_end_on() {
    let disk = [stored(3, 1, 0, 1), stored(2, 1, 0, 1), stored(1, 1, 0, 1), stored(0, 1, 0, 1)];
    let after = |age| segments(&delete(Settings { max_age: Some(age), ..OFF }, &disk));
    let day = Duration::from_secs(86_400);
    // It is noon: yesterday ended 12 hours ago.
    assert_eq!(after(3 * day), []);
    assert_eq!(after(2 * day), [segment(3, 1, 0)]);
    assert_eq!(after(day), [segment(3, 1, 0), segment(2, 1, 0)]);
    assert_eq!(after(day / 2), [segment(3, 1, 0), segment(2, 1, 0), segment(1, 1, 0)]);
    assert_eq!(after(Duration::from_millis(1)).len(), 3, "today has not ended");
}

#[test]
fn what_is_in_use_does_not_count_as_freed() {
    let mut disk = vec![stored(3, 1, 0, 100), stored(2, 1, 0, 100), stored(1, 1, 0, 100)];
    let leased = BTreeSet::from([segment(3, 1, 0)]);
    let (gone, _) = carry_out(Settings { max_bytes: 200, ..OFF }, &mut disk, &leased);
    assert_eq!(segments(&gone), [segment(2, 1, 0)]);
}

#[test]
fn a_key_over_its_own_limit_costs_no_other_key() {
    let disk = [stored(3, 1, 0, 100), stored(3, 2, 0, 100), stored(2, 2, 0, 100), stored(1, 2, 0, 100)];
    let gone = delete(Settings { per_key_max_bytes: 150, ..OFF }, &disk);
    assert_eq!(segments(&gone), [segment(3, 2, 0), segment(2, 2, 0)]);
    assert!(gone.iter().all(|(_, why)| *why == Why::PerKeyMaxBytes));
    // What a key frees may be enough for all.
    let gone = delete(Settings { per_key_max_bytes: 150, max_bytes: 200, ..OFF }, &disk);
    assert_eq!(segments(&gone), [segment(3, 2, 0), segment(2, 2, 0)]);
}

#[test]
fn attachments_over_their_limit_go_oldest_first_and_lines_stay() {
    let mut disk = vec![stored(3, 1, 0, 10), stored(2, 2, 0, 10)];
    disk[0].media = vec![(trace(2), 100), (trace(4), 100)];
    disk[1].media = vec![(trace(1), 100), (trace(3), 100)];
    let gone = delete(Settings { media_max_bytes: 250, ..OFF }, &disk);
    let media = |key: usize, number| (Step::Media(disk[key].id.bucket, trace(number)), Why::MediaMaxBytes);
    assert_eq!(gone, [media(1, 1), media(0, 2)]);
    // Attachments that are just being written stay.
    let mut found = inventory(&disk);
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.0.unsigned_abs());
    found.media.get_mut(&disk[1].id.bucket).unwrap().traces.get_mut(&trace(1)).unwrap().changed = now;
    let mut plan = Planner::new(Settings { media_max_bytes: 250, ..OFF }, &found, NOW);
    assert_eq!(plan.next(), Some(media(0, 2)));
}

#[test]
fn attachments_without_lines_go_once_there_is_a_limit() {
    let mut found = inventory(&[Stored { media: vec![(trace(1), 5)], ..stored(3, 1, 0, 10) }]);
    found.segments.clear();
    assert_eq!(Planner::new(OFF, &found, NOW).next(), None);
    let mut plan = Planner::new(Settings { max_bytes: 1 << 40, ..OFF }, &found, NOW);
    let step = Step::Leftover(segment(3, 1, 0).bucket);
    assert_eq!(plan.next(), Some((step, Why::NoLines)));
    plan.done(step, &[]);
    assert_eq!((plan.next(), plan.totals().all), (None, 0));
}

#[test]
fn more_than_a_thousand_steps_are_told() {
    let disk: Vec<Stored> = (0..1001).map(|number| stored(9, 1, number, 1)).collect();
    let mut left = disk.clone();
    let age = Settings { max_age: Some(Duration::from_secs(1)), ..OFF };
    let (gone, plan) = carry_out(age, &mut left, &BTreeSet::new());
    assert_eq!((gone.len(), plan.is_cut_short()), (MOST_STEPS, true));
    let (gone, plan) = carry_out(age, &mut left, &BTreeSet::new());
    assert_eq!((gone.len(), plan.is_cut_short()), (1, false));
}

#[test]
fn around_midnight_yesterdays_last_segment_is_left_to_its_writer() {
    let found = inventory(&[stored(1, 1, 0, 10), stored(1, 1, 1, 10)]);
    let settings = Settings { max_bytes: 1, ..OFF };
    let steps = |after_midnight: i64| {
        let now = UnixMillis(i64::from(TODAY) * DAY_MILLIS + after_midnight);
        let mut plan = Planner::new(settings, &found, now);
        std::iter::from_fn(|| plan.next()).count()
    };
    assert_eq!((steps(60_000), steps(600_000)), (1, 2));
}

#[test]
fn the_state_follows_the_share_of_the_limit() {
    let limited = Settings { max_bytes: 1000, ..OFF };
    let state = |stored| limited.state(Some(stored));
    assert_eq!(limited.state(None), State::Pending);
    assert_eq!(
        (state(799), state(800), state(999), state(1000)),
        (State::Ok, State::Warning, State::Warning, State::Critical)
    );
    assert_eq!((limited.usage_percent(999), limited.usage_percent(2500)), (99, 250));
    assert_eq!((OFF.state(Some(5)), OFF.usage_percent(5)), (State::Disabled, 0));
    let aged = Settings { max_age: Some(Duration::from_secs(90_000)), ..OFF };
    assert_eq!((aged.state(Some(5)), aged.max_age_days()), (State::Ok, 2));
}

fn disks() -> impl Strategy<Value = Vec<Stored>> {
    let segment = (0..4i32, 0..3u8, 0..4u32, 0..200u64, proptest::collection::vec(0..100u64, 0..3));
    proptest::collection::btree_map((0..4i32, 0..3u8, 0..4u32), segment, 0..24).prop_map(|found| {
        let mut next = 0;
        let with_media = |((days, key, number), (_, _, _, lines, media)): (_, (_, _, _, u64, Vec<u64>))| Stored {
            media: media
                .into_iter()
                .map(|bytes| {
                    next += 7919;
                    (trace(next % 1000), bytes)
                })
                .collect(),
            ..stored(days, key, number, lines)
        };
        found.into_iter().map(with_media).collect()
    })
}

fn limits() -> impl Strategy<Value = Settings> {
    (0..2000u64, proptest::option::of(0..4u64), 0..800u64, 0..600u64).prop_map(|(all, days, key, media)| Settings {
        // A small one now and then means none.
        max_bytes: if all < 200 { 0 } else { all },
        max_age: days.map(|it| Duration::from_secs(it * 86_400 + 1)),
        per_key_max_bytes: if key < 200 { 0 } else { key },
        media_max_bytes: if media < 100 { 0 } else { media },
        ..OFF
    })
}

fn sum<'a>(disk: impl IntoIterator<Item = &'a Stored>) -> u64 {
    disk.into_iter().map(|it| it.lines + it.media.iter().map(|it| it.1).sum::<u64>()).sum()
}

fn media(disk: &[Stored]) -> u64 {
    disk.iter().flat_map(|it| &it.media).map(|it| it.1).sum()
}

fn is_last_of_today(id: SegmentId, disk: &[Stored]) -> bool {
    id.bucket.date.0 >= TODAY && disk.iter().all(|it| it.id.bucket != id.bucket || it.id <= id)
}

proptest! {
    #[test]
    fn a_plan_deletes_what_it_must_and_nothing_else(disk in disks(), settings in limits(), uses in any::<u32>()) {
        let leased: BTreeSet<SegmentId> =
            disk.iter().enumerate().filter(|(at, _)| uses & (1 << (at % 32)) != 0).map(|(_, it)| it.id).collect();
        let mut left = disk.clone();
        let (deleted, plan) = carry_out(settings, &mut left, &leased);

        // The books agree with the disk.
        prop_assert_eq!(plan.totals().all, sum(&left));
        prop_assert_eq!(plan.totals().media, media(&left));

        // Step by step: each was needed when it was taken, none was protected, and the oldest went first.
        let mut now = disk.clone();
        for (step, why) in deleted {
            match step {
                Step::Segment(id) => {
                    prop_assert!(!leased.contains(&id) && !is_last_of_today(id, &disk));
                    let of_key = sum(now.iter().filter(|it| it.id.bucket.key == id.bucket.key));
                    let rivals = |it: &&Stored| why != Why::PerKeyMaxBytes || it.id.bucket.key == id.bucket.key;
                    match why {
                        Why::MaxBytes => prop_assert!(sum(&now) > settings.max_bytes),
                        Why::PerKeyMaxBytes => prop_assert!(of_key > settings.per_key_max_bytes),
                        Why::MaxAge => prop_assert!(id.bucket.date.0 < TODAY && settings.max_age.is_some()),
                        _ => prop_assert!(false, "{why:?}"),
                    }
                    for older in now.iter().filter(rivals).filter(|it| it.id < id) {
                        prop_assert!(leased.contains(&older.id) || is_last_of_today(older.id, &disk));
                    }
                    now.retain(|it| it.id != id);
                }
                Step::Media(_, trace) => {
                    prop_assert!(media(&now) > settings.media_max_bytes);
                    prop_assert!(now.iter().flat_map(|it| &it.media).all(|it| it.0 >= trace));
                    now.iter_mut().for_each(|it| it.media.retain(|it| it.0 != trace));
                }
                Step::Leftover(_) => prop_assert!(false),
            }
        }

        // What is still over a limit could not be helped.
        let may_go = |it: &&Stored| !leased.contains(&it.id) && !is_last_of_today(it.id, &disk);
        if settings.max_bytes > 0 && sum(&left) > settings.max_bytes {
            prop_assert_eq!(left.iter().filter(may_go).count(), 0);
        }
        if settings.media_max_bytes > 0 {
            prop_assert!(media(&left) <= settings.media_max_bytes);
        }
        if settings.per_key_max_bytes > 0 {
            for key in 0..3 {
                let of_key: Vec<&Stored> = left.iter().filter(|it| it.id.bucket.key.0[0] == key).collect();
                if sum(of_key.iter().copied()) > settings.per_key_max_bytes {
                    prop_assert_eq!(of_key.into_iter().filter(may_go).count(), 0);
                }
            }
        }

        // Once more changes nothing.
        prop_assert_eq!(carry_out(settings, &mut left, &leased).0, []);
    }
}
