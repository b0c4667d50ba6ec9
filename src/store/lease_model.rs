//! The leases under every interleaving of their users: `lease.rs` once more, over locks that loom schedules.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use loom::thread;

use self::lease::Leases;
use crate::ids::{BucketId, Date, SegmentId, ShortKey};

#[expect(clippy::duplicate_mod, reason = "the same source over other locks is what this file is for")]
#[allow(dead_code, unreachable_pub, reason = "the whole interface, of which the models use the leases")]
#[path = "lease.rs"]
mod lease;

/// What `lease.rs` finds in place of the real locks.
mod sync {
    pub(super) use loom::sync::Arc;

    #[derive(Debug, Default)]
    pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

const SEGMENT: SegmentId = SegmentId { bucket: BucketId { date: Date(20_000), key: ShortKey([1; 4]) }, number: 0 };

/// A file as its users see it: it must not be deleted while anyone reads. Its counts are plain atomics, for every
/// one that loom schedules multiplies the interleavings; others get their turn at the lock that is taken meanwhile.
#[derive(Default)]
struct File {
    readers: AtomicUsize,
    deleters: AtomicUsize,
}

impl File {
    fn read(&self, leases: &Leases) {
        self.readers.fetch_add(1, SeqCst);
        assert!(!leases.is_empty(), "a lease that is held is not known");
        assert_eq!(self.deleters.load(SeqCst), 0, "read while it is being deleted");
        self.readers.fetch_sub(1, SeqCst);
    }

    fn delete(&self, leases: &Leases) {
        assert_eq!(self.deleters.fetch_add(1, SeqCst), 0, "deleted by two");
        assert!(!leases.is_empty(), "a lease that is held is not known");
        assert_eq!(self.readers.load(SeqCst), 0, "deleted while it is read");
        self.deleters.fetch_sub(1, SeqCst);
    }
}

/// Tries every interleaving with so many preemptions at most: those that find faults have few, and more take minutes.
fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

/// Tries everything that threads may do to one segment, and checks that all is given back.
fn check(threads: &'static [fn(&Leases, &File)]) {
    model(move || {
        let (leases, file) = (Leases::new(), Arc::new(File::default()));
        let running: Vec<_> = threads
            .iter()
            .map(|work| {
                let (leases, file) = (leases.clone(), file.clone());
                thread::spawn(move || work(&leases, &file))
            })
            .collect();
        running.into_iter().for_each(|it| it.join().unwrap());
        assert!(leases.is_empty(), "a lease was not given back");
        assert!(leases.exclusive(SEGMENT).is_ok());
    });
}

fn read(leases: &Leases, file: &File) {
    if let Ok(_lease) = leases.shared(SEGMENT) {
        file.read(leases);
    }
}

fn delete(leases: &Leases, file: &File) {
    if let Ok(_lease) = leases.exclusive(SEGMENT) {
        file.delete(leases);
    }
}

/// Hands its lease on: the first is dropped before the clone is used.
fn read_by_a_clone(leases: &Leases, file: &File) {
    let Ok(lease) = leases.shared(SEGMENT) else { return };
    let clone = lease.clone();
    drop(lease);
    file.read(leases);
    drop(clone);
}

#[test]
fn readers_and_a_deleter_never_meet() {
    check(&[read, delete, read]);
}

#[test]
fn two_deleters_never_meet() {
    check(&[delete, delete]);
}

#[test]
fn a_clone_keeps_a_deleter_out_when_the_first_lease_is_gone() {
    check(&[read_by_a_clone, delete]);
}

#[test]
fn a_lease_cloned_into_another_thread_holds_as_long_as_either_lives() {
    model(|| {
        let (leases, file) = (Leases::new(), Arc::new(File::default()));
        let first = leases.shared(SEGMENT).unwrap();
        let deleter = {
            let (leases, file) = (leases.clone(), file.clone());
            thread::spawn(move || delete(&leases, &file))
        };
        let reader = {
            let (leases, clone, file) = (leases.clone(), first.clone(), file.clone());
            thread::spawn(move || {
                file.read(&leases);
                drop(clone);
            })
        };
        file.read(&leases);
        drop(first);
        deleter.join().unwrap();
        reader.join().unwrap();
        assert!(leases.is_empty());
    });
}
