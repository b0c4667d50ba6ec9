//! A log in memory, on disk and in both: what is read of it is what was appended.

use super::look::Look;
use super::*;
use crate::record::arena::Arena;
use crate::record::intake::Queue;

/// What logs need, with a budget of so many bytes, and the folder of their spools.
pub(crate) fn shared(bytes: u64) -> (Arc<LogShared>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    std::fs::create_dir(layout.tmp()).unwrap();
    let intake = Intake { ended: Queue::new(|| ()), sockets: Queue::new(|| ()), spills: Queue::new(|| ()) };
    let arena = Arena::new(TraceId::from_bytes([9; 16]), bytes, None, || ()).unwrap();
    let memory = Memory::new(bytes);
    (
        Arc::new(LogShared {
            arena,
            memory,
            intake: Arc::new(intake),
            spill_bytes: 64 << 10,
            layout,
            strays: Mutex::default(),
        }),
        dir,
    )
}

fn begin(shared: &Arc<LogShared>, id: u8) -> Arc<Log> {
    let id = TraceId::from_bytes([id; 16]);
    Log::begin(shared, id, UnixMillis(7), ([127, 0, 0, 1], 1).into(), "http://gw", b"GET / HTTP/1.1\r\n\r\n")
}

fn told(log: &Log) -> Told {
    let (told, error) = log.told();
    assert!(error.is_none(), "{error:?}");
    told
}

fn bytes(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_log_reads_the_same_wherever_its_bytes_stand() {
    let (shared, _dir) = shared(4 << 20);
    let log = begin(&shared, 1);
    let mut buffer = Vec::new();
    let mut all = Vec::new();
    for round in 0..40 {
        let more = bytes(all.len(), 1 + round * 997);
        assert_eq!(log.append(Kind::ResponseBody, round as u64 * 1000, &more, Need::WithinBudget), more.len());
        all.extend(more);
        match round % 3 {
            0 => assert!(log.spool(&mut buffer).unwrap()),
            1 => drop(log.shed()),
            _ => {}
        }
        assert!(told(&log).response.bytes == all, "in round {round}");
    }
    assert_eq!(told(&log).response.marks.len(), 40);
    let used = shared.memory.used();
    log.spool(&mut buffer).unwrap();
    assert!(log.shed() > 0 && shared.memory.used() < used);
    assert!(told(&log).response.bytes == all);
    assert!(shared.layout.spool(log.id).exists());
    drop(log);
    assert_eq!(shared.memory.used(), 0);
    assert_eq!(std::fs::read_dir(shared.layout.tmp()).unwrap().count(), 0, "its spool went with it");
}

#[test]
fn what_the_budget_has_no_room_for_is_left_out_and_vital_things_are_not() {
    let (shared, _dir) = shared(1 << 20);
    let log = begin(&shared, 1);
    let kept = log.append(Kind::ResponseBody, 1, &bytes(0, 2 << 20), Need::WithinBudget);
    assert!((900 << 10..1 << 20).contains(&kept), "{kept}");
    assert_eq!(log.append(Kind::ResponseBody, 1, &bytes(0, 100_000), Need::WithinBudget), 0);
    let head = bytes(0, 100_000);
    assert_eq!(log.append(Kind::AnswerHead, 2, &head, Need::Vital), head.len());
    log.append(Kind::Answer, 2, &200_u16.to_le_bytes(), Need::Vital);
    let told = told(&log);
    assert!(told.response.bytes == bytes(0, kept));
    assert!(told.answer == Some((200, head)));
}

#[test]
fn a_log_that_outgrows_its_share_asks_for_the_spool_once() {
    let (shared, _dir) = shared(4 << 20);
    let log = begin(&shared, 1);
    let is_asked = || match shared.intake.spills.pop() {
        Some(SpoolOrder::Spill(it)) => it.upgrade().is_some_and(|it| it.id == log.id),
        Some(_) => panic!("another order"),
        None => false,
    };
    log.append(Kind::ResponseBody, 1, &bytes(0, 20_000), Need::WithinBudget);
    assert!(!is_asked());
    log.append(Kind::ResponseBody, 1, &bytes(0, 500_000), Need::WithinBudget);
    log.append(Kind::ResponseBody, 1, &bytes(0, 500_000), Need::WithinBudget);
    assert!(is_asked() && !is_asked());
    log.take_order();
    log.append(Kind::ResponseBody, 1, &bytes(0, 500_000), Need::WithinBudget);
    assert!(is_asked());
}

#[test]
fn where_memory_is_short_only_what_would_give_much_of_it_back_asks_for_the_spool() {
    let (shared, _dir) = shared(1 << 20);
    let mut others = Share::none(&shared.memory);
    others.grow_told(600 << 10);
    assert!(shared.memory.is_tight());
    // Two chunks: the first and the last are never given back.
    let small = begin(&shared, 1);
    small.append(Kind::ResponseBody, 1, &bytes(0, 10_000), Need::WithinBudget);
    assert!(!small.has_to_shed() && shared.intake.spills.len() == 0);
    let large = begin(&shared, 2);
    large.append(Kind::ResponseBody, 1, &bytes(0, 100_000), Need::WithinBudget);
    assert!(large.has_to_shed() && shared.intake.spills.len() == 1);
    large.spool(&mut Vec::new()).unwrap();
    assert!(large.shed() > 0 && !large.has_to_shed(), "it has given back what there was");
}

#[test]
fn of_a_socket_what_is_covered_is_given_back_in_memory_and_on_disk() {
    let (shared, _dir) = shared(16 << 20);
    let log = begin(&shared, 1);
    log.append(Kind::Socket, 1, &[], Need::Vital);
    let mut buffer = Vec::new();
    for round in 0..20 {
        log.append(Kind::SocketServer, 2, &bytes(round, 200_000), Need::WithinBudget);
        log.spool(&mut buffer).unwrap();
        log.cover(log.end());
    }
    assert!(shared.memory.used() < 200_000, "{}", shared.memory.used());
    log.append(Kind::SocketServer, 3, b"the rest", Need::WithinBudget);
    log.spool(&mut buffer).unwrap();
    let spool = File::open(shared.layout.spool(log.id)).unwrap();
    assert!(spool.metadata().unwrap().len() < MOST_COVERED + 400_000);
    let (header, frames) = spool::scan(&spool).unwrap();
    assert_eq!((header.trace, frames[0].offset), (log.id, 0), "it begins with the handshake");
    assert!(told(&log).response.bytes.ends_with(b"the rest"));
}

/// What a look gives of the answer's body, from an offset on.
fn looked(log: &Log, at: &mut u64) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        match log.look(*at) {
            Look::Bytes(bytes) => {
                let mut records = api_log::capture::record::Records::of(&bytes);
                for record in records.by_ref().filter(|it| it.kind == Kind::ResponseBody) {
                    body.extend_from_slice(record.payload);
                }
                assert!(records.rest().is_empty(), "whole records");
                *at += bytes.len() as u64;
            }
            Look::Nothing => return body,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_look_reads_the_same_wherever_the_bytes_stand_and_goes_on_from_anywhere() {
    let (shared, _dir) = shared(4 << 20);
    let log = begin(&shared, 1);
    let mut buffer = Vec::new();
    let (mut all, mut followed, mut at) = (Vec::new(), Vec::new(), 0);
    for round in 0..40 {
        let more = bytes(all.len(), 1 + round * 997);
        log.append(Kind::ResponseBody, round as u64 * 1000, &more, Need::WithinBudget);
        all.extend(more);
        match round % 3 {
            0 => assert!(log.spool(&mut buffer).unwrap()),
            1 => drop(log.shed()),
            _ => {}
        }
        if round % 2 == 0 {
            followed.extend(looked(&log, &mut at));
            assert!(followed == all, "in round {round}");
        }
        assert!(looked(&log, &mut 0) == all, "in round {round}");
    }
    log.forget();
    assert_eq!(log.look(at), Look::Forgotten);
}

#[test]
fn what_cannot_be_read_back_is_told_and_what_follows_is_given() {
    let (shared, _dir) = shared(4 << 20);
    let log = begin(&shared, 1);
    let mut buffer = Vec::new();
    for _ in 0..8 {
        log.append(Kind::ResponseBody, 0, &[7; 64 << 10], Need::WithinBudget);
    }
    log.spool(&mut buffer).unwrap();
    assert!(log.shed() > 0);
    std::fs::remove_file(shared.layout.spool(log.id)).unwrap();
    let (mut at, mut gaps) = (0, 0);
    loop {
        match log.look(at) {
            Look::Bytes(bytes) => at += bytes.len() as u64,
            Look::GoneUntil(next) => {
                assert!(next > at);
                (at, gaps) = (next, gaps + 1);
            }
            Look::Nothing => break,
            Look::Forgotten => panic!("it is not"),
        }
    }
    assert!(gaps > 0 && at == log.end());
}

#[test]
fn open_logs_are_those_that_have_not_ended() {
    let (shared, _dir) = shared(4 << 20);
    let [one, other] = [1, 2].map(|id| begin(&shared, id));
    let ids = |shared: &LogShared| shared.open_logs().iter().map(|it| it.id).collect::<Vec<_>>();
    assert_eq!(ids(&shared), [one.id, other.id]);
    one.passed(1, 77);
    let seen = one.looked_at(|| true).unwrap();
    assert_eq!((seen.asked.method.as_str(), seen.passed, seen.status), ("GET", [0, 77], None));
    let ended = api_log::capture::record::Ended {
        end: api_log::exchange::End::Complete,
        request_bytes: 0,
        response_bytes: 0,
        error: None,
    };
    one.append(Kind::End, 1, &ended.encode(), Need::Vital);
    assert_eq!(ids(&shared), [other.id]);
    assert!(one.looked_at(|| true).is_none());
    drop(other);
    assert!(shared.open_log(one.id).is_none() && ids(&shared).is_empty());
}

#[test]
fn lookers_beside_a_writing_lane_see_whole_records_only() {
    const RECORDS: usize = 20_000;
    let (shared, _dir) = shared(64 << 20);
    let log = begin(&shared, 1);
    std::thread::scope(|scope| {
        let looker = || {
            let (mut at, mut count) = (0, 0_u32);
            while (count as usize) < RECORDS {
                match log.look(at) {
                    Look::Bytes(bytes) => {
                        for record in api_log::capture::record::Records::of(&bytes) {
                            if record.kind == Kind::ResponseBody {
                                assert_eq!(record.payload, count.to_le_bytes());
                                count += 1;
                            }
                        }
                        at += bytes.len() as u64;
                    }
                    Look::Nothing => std::thread::yield_now(),
                    other => panic!("{other:?}"),
                }
            }
        };
        scope.spawn(looker);
        scope.spawn(looker);
        scope.spawn(|| {
            let mut buffer = Vec::new();
            while log.end() < 100_000 {
                let _ = log.spool(&mut buffer);
                log.shed();
            }
        });
        for number in 0..RECORDS as u32 {
            log.append(Kind::ResponseBody, 0, &number.to_le_bytes(), Need::Vital);
        }
    });
}
