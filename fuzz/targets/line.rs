//! Any line is a trace or an error.
#![no_main]

use api_log::jsonl::line::read_row;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    // Whatever it says, it is read twice alike: the index can be rebuilt from it.
    match (read_row(line), read_row(line)) {
        (Ok(row), Ok(again)) => assert_eq!(row, again),
        (Err(_), Err(_)) => {}
        _ => panic!("one line, two answers"),
    }
});
