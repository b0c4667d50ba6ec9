//! Sealing that is cut off, told to stop or meets what another left: the plain bytes are never lost.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Few enough bytes that every step can be tried, and too many for one read.
fn lines() -> Vec<u8> {
    (0..2500)
        .flat_map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "said before ".repeat(n % 20)).into_bytes())
        .collect()
}

/// Seals and dies at the `nth` step, as a process does: nothing is tidied up. Whether it died.
fn dies_at(layout: &Layout, codec: Codec, nth: usize) -> bool {
    let mut steps = 0;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        seal(layout, segment(), codec, &mut |_| {
            if steps == nth {
                std::panic::resume_unwind(Box::new("dies"));
            }
            steps += 1;
            ControlFlow::Continue(())
        })
    }));
    outcome.is_err()
}

fn whole(layout: &Layout) -> Vec<u8> {
    let (mut reader, _) = read::open_at(layout, segment(), 0).unwrap();
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    found
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_the_next_look_finishes() {
    let text = [lines(), b"{\"torn".to_vec()].concat();
    let kept = &text[..text.len() - 6];
    for (codec, then) in [(Codec::Zstd, Codec::Zstd), (Codec::Gzip, Codec::Gzip), (Codec::Gzip, Codec::Zstd)] {
        let mut nth = 0;
        loop {
            let (_dir, layout) = with_plain(&text);
            let died = dies_at(&layout, codec, nth);
            let found = whole(&layout);
            assert!(found == kept || found == text, "step {nth} of {codec:?}");
            assert!(layout.segments().unwrap().len() == 1, "what is half-written is no segment");
            // The configuration may have changed since.
            seal_now(&layout, then).unwrap();
            assert!(whole(&layout) == kept, "step {nth} of {codec:?}");
            let names = files(&layout);
            assert_eq!(names.len(), 2, "one form and the torn line: {names:?}");
            if !died {
                break;
            }
            nth += 1;
        }
        assert!(nth > 8, "{nth} steps");
    }
}

#[test]
fn a_crash_twice_in_a_row_is_as_one() {
    let text = lines();
    for (first, second) in (0..9).flat_map(|it| [(it, 3), (8 - it, it)]) {
        let (_dir, layout) = with_plain(&text);
        dies_at(&layout, Codec::Zstd, first);
        dies_at(&layout, Codec::Gzip, second);
        seal_now(&layout, Codec::Zstd).unwrap();
        assert!(whole(&layout) == text, "{first} {second}");
        assert_eq!(files(&layout).len(), 1);
    }
}

#[test]
fn told_to_stop_it_leaves_the_plain_file_and_nothing_else() {
    let text = lines();
    for codec in CODECS {
        for stop_at in [Step::Mended, Step::Written, Step::Verified] {
            let (_dir, layout) = with_plain(&text);
            let outcome = seal(&layout, segment(), codec, &mut |step| match step == stop_at {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            });
            assert!(matches!(outcome, Err(SealError::Stopped)), "{outcome:?}");
            assert_eq!(files(&layout), ["a1b2c3d4.jsonl"]);
        }
        let (_dir, layout) = with_plain(&text);
        let mut reads = 0;
        let outcome = seal(&layout, segment(), codec, &mut |step| {
            reads += usize::from(matches!(step, Step::Read(_)));
            if reads == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(outcome, Err(SealError::Stopped)), "{outcome:?}");
        assert_eq!(files(&layout), ["a1b2c3d4.jsonl"]);
    }
}

#[test]
fn a_plain_file_that_changes_meanwhile_stays() {
    let text = lines();
    let (_dir, layout) = with_plain(&text);
    let plain = layout.segment(segment(), Form::Plain);
    let outcome = seal(&layout, segment(), Codec::Zstd, &mut |step| {
        if step == Step::InPlace {
            let mut file = File::options().append(true).open(&plain).unwrap();
            io::Write::write_all(&mut file, b"{\"more\":1}\n").unwrap();
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(SealError::Changed { .. })), "{outcome:?}");
    seal_now(&layout, Codec::Zstd).unwrap();
    assert!(whole(&layout) == [&text[..], b"{\"more\":1}\n"].concat());
}

#[test]
fn what_another_program_left_half_compressed_is_replaced() {
    let text = lines();
    for other in CODECS {
        for codec in CODECS {
            let (_dir, layout) = with_plain(&text);
            let (bytes, _) = packed(&text, other, 1 << 20);
            std::fs::write(layout.segment(segment(), other.form()), &bytes[..bytes.len() / 2]).unwrap();
            assert!(matches!(seal_now(&layout, codec).unwrap(), Outcome::Sealed(_)));
            assert!(whole(&layout) == text);
            assert_eq!(files(&layout).len(), 1);
        }
    }
}

#[test]
fn a_sealed_file_that_holds_something_else_is_never_thrown_away() {
    let text = lines();
    for other in [b"{\"other\":1}\n".to_vec(), [text.clone(), b"{\"more\":1}\n".to_vec()].concat()] {
        let (_dir, layout) = with_plain(&text);
        let (bytes, _) = packed(&other, Codec::Gzip, 1 << 20);
        let path = layout.segment(segment(), Form::Gzip);
        std::fs::write(&path, &bytes).unwrap();
        let outcome = seal_now(&layout, Codec::Zstd);
        assert!(matches!(outcome, Err(SealError::Conflict { .. })), "{outcome:?}");
        assert!(std::fs::read(&path).unwrap() == bytes && whole(&layout) == text);
    }
}
