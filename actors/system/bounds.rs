//! Every bound of the recorder in one list: how full it is, how full it was, and what was turned away.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use api_log::counters::{Counters, DropCause};

use super::MOST_WAITING;
use crate::kit::{BoundReport, Registry};
use crate::proxy::listener::Front;
use crate::record::finalizer::Shared;
use crate::record::{Intake, LogShared, MOST_NEWS, MOST_SPILLS, Memory, OpenSockets};

/// What has bounds.
pub(super) struct Bounded<'s> {
    pub(super) memory: &'s Arc<Memory>,
    pub(super) logs: &'s Arc<LogShared>,
    pub(super) intake: &'s Arc<Intake>,
    pub(super) shared: &'s Arc<Shared>,
    pub(super) sockets: &'s Arc<OpenSockets>,
    /// It holds the lanes, which are joined when nobody else does.
    pub(super) front: Weak<Front>,
    pub(super) counters: &'s Arc<Counters>,
    /// Traces held at once.
    pub(super) most_held: usize,
}

/// Shows them. The API's own and the index's are shown where they are made, the nurseries' by the registry.
pub(super) fn show(registry: &Registry, it: Bounded<'_>) {
    let (memory, counters) = (it.memory.clone(), it.counters.clone());
    registry.show_bound("captures", move |name| {
        let recording = &counters.recording;
        BoundReport::new(name)
            .bytes(memory.used(), memory.high_water(), Some(memory.limit()))
            .dropped("bodies_cut", recording.capture_memory_cut.get())
            .dropped("socket_bytes_missed", recording.socket_bytes_missed.get())
    });
    let logs = it.logs.clone();
    registry.show_bound("arena", move |name| {
        let arena = logs.arena.report();
        BoundReport::new(name)
            .bytes(arena.allocated_bytes, arena.high_water_bytes, Some(arena.limit_bytes))
            .within("captures")
            .dropped("chunks_from_heap", arena.heap_chunks)
    });
    let (intake, counters) = (it.intake.clone(), it.counters.clone());
    registry.show_bound("ended_exchanges", move |name| {
        let (now, high_water) = (intake.ended.len() as u64, intake.ended.high_water() as u64);
        BoundReport::new(name)
            .count(now, high_water, Some(MOST_WAITING as u64))
            .within("captures")
            .dropped(DropCause::WriterFull.name(), counters.ledger.dropped(DropCause::WriterFull))
            .dropped(DropCause::BudgetFull.name(), counters.ledger.dropped(DropCause::BudgetFull))
    });
    let intake = it.intake.clone();
    registry.show_bound("spill_orders", move |name| {
        let (now, high_water) = (intake.spills.len() as u64, intake.spills.high_water() as u64);
        BoundReport::new(name).count(now, high_water, Some(MOST_SPILLS as u64)).within("captures")
    });
    let intake = it.intake.clone();
    registry.show_bound("upgraded_connections", move |name| {
        let (now, high_water) = (intake.sockets.len() as u64, intake.sockets.high_water() as u64);
        BoundReport::new(name).count(now, high_water, None).within("connections")
    });
    let sockets = it.sockets.clone();
    // Of the socket whose reader is furthest behind.
    registry.show_bound("socket_news", move |name| {
        let open = sockets.all();
        let deepest = open.iter().map(|it| it.news.len()).max().unwrap_or(0);
        let highest = open.iter().map(|it| it.news.high_water()).max().unwrap_or(0);
        BoundReport::new(name).count(deepest as u64, highest as u64, Some(MOST_NEWS as u64)).within("captures")
    });
    let (shared, most) = (it.shared.clone(), it.most_held as u64);
    registry.show_bound("held_traces", move |name| {
        let (now, high_water) = (shared.held.len() as u64, shared.held.high_water() as u64);
        BoundReport::new(name).count(now, high_water, Some(most)).within("captures")
    });
    registry.show("finished_lines", &it.shared.lines);
    let front = it.front.clone();
    registry.show_bound("connections", move |name| {
        let Some(front) = front.upgrade() else { return BoundReport::new(name) };
        let limit = (front.max_connections > 0).then_some(front.max_connections);
        BoundReport::new(name)
            .count(front.open() as u64, front.high_water.load(Ordering::Relaxed), limit)
            .dropped("refused", front.refused.load(Ordering::Relaxed))
    });
    let listener = registry.child("listener");
    registry.show_bound("connection_orders", move |name| {
        let listener = listener.report();
        BoundReport::new(name).count(listener.queue_depth, listener.queue_high_water, None).within("connections")
    });
}
