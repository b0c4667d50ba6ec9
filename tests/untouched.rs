//! What mutators cost an exchange that none of them is about: no allocation, so no copy either.

#![allow(clippy::unwrap_used, reason = "a test fails by it, as it should")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use api_log::plugin::instance::Instance;
use api_log::plugin::rewrite::Mutators;
use api_log::plugin::set::{Set, Source};
use serde_json::json;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised to us.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn an_exchange_that_no_mutator_is_about_costs_no_allocation() {
    let rules = json!([{"match": "a", "replace": "b"}]);
    let instances = json!([
        {"type": "text-replace", "id": "1", "enabled": true, "config": {"routes": ["/elsewhere/*"], "up": rules, "down": rules}},
        {"type": "text-append", "id": "2", "enabled": true, "config": {"routes": ["/nowhere"], "down": {"suffix": "x"}}},
        {"type": "text-append", "id": "3", "enabled": true, "config": {}},
        {"type": "text-replace", "id": "4", "enabled": false, "config": {"up": rules}},
    ]);
    let (list, bad) = Instance::read_list(instances.as_array().unwrap());
    assert_eq!(bad, []);
    let set = Set::after(&Set::default(), Source::Override, Vec::new(), list);
    assert!(set.has_mutator());
    let target = "/v1/chat/completions?beta=true";
    assert_eq!(allocations(|| assert!(Mutators::of(&set, "POST", target).is_none())), 0);
    // The count counts: one that it is about does cost.
    let about = "/elsewhere/v1/chat/completions";
    assert!(allocations(|| assert!(Mutators::of(&set, "POST", about).is_some())) > 0);
}
