//! A disk that fails: its file system turns read-only under the recorder.

use crate::mounted::{Mounted, exchange, is_told, recorder, settled};
use crate::wire::Gateway;

#[test]
fn a_file_system_that_turns_read_only_costs_traces_and_nothing_else() {
    let Some(mounted) = Mounted::ext4(32 << 20) else { return };
    let gateway = Gateway::new();
    // What the disk was not asked to keep is lost with it.
    let settings = [("STORAGE_FSYNC", "always"), ("STORAGE_MIN_FREE_BYTES", "0"), ("MEDIA_SAVE_ATTACHMENTS", "false")];
    let mut first = recorder(&gateway, &mounted, &settings);
    for _ in 0..3 {
        exchange(&gateway, &first, 100_000);
    }
    settled(&first, 3);
    first.listed(3);
    mounted.fail();
    for _ in 0..10 {
        exchange(&gateway, &first, 100_000);
    }
    let health = settled(&first, 13);
    let (recorded, dropped) = (&health["ledger"]["recorded"], &health["ledger"]["dropped"]["jsonl_fail"]);
    assert_eq!((recorded.as_u64(), dropped.as_u64()), (Some(3), Some(10)), "{health}");
    is_told(&first, "disk_error", Some("traces are dropped"));
    first.signal(libc::SIGTERM);
    first.wait();

    // With a disk that is well the next one goes on behind the last whole line, and what counted as recorded is there.
    mounted.heal();
    let second = recorder(&gateway, &mounted, &settings);
    exchange(&gateway, &second, 100_000);
    settled(&second, 1);
    second.listed(4);
    assert_eq!(second.finish().len(), 4);
}
