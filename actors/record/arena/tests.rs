//! What the arena keeps and gives back.

use super::*;

#[test]
fn what_a_load_took_is_given_back_when_it_is_over() {
    let trace = TraceId::from_bytes([9; 16]);
    let arena = Arena::new(trace, 256 << 20, None, || ()).unwrap();
    let least = arena.report().allocated_bytes;
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.extend((0..500).map(|_| arena.take(0, trace, 0)));
        arena.tend().unwrap();
    }
    let kept = taken.split_off(2000);
    assert!(arena.report().allocated_bytes > 4000 * SIZES[0] as u64);
    for chunk in taken {
        arena.give_back(chunk);
    }
    let of_kept = kept.len();
    let after_a_while = || {
        (0..=2 * ROUNDS).for_each(|_| arena.tend().unwrap());
        arena.report().allocated_bytes
    };
    // Some more than what is in use stays, for it is soon wanted again.
    assert_eq!(after_a_while() - least, (3 * of_kept - LEAST[0] as usize) as u64 * SIZES[0] as u64);
    for chunk in kept {
        arena.give_back(chunk);
    }
    assert_eq!(after_a_while(), least);
    assert_eq!(arena.report().heap_chunks, 0);
}
