//! Which segments are finished and still plain.

use crate::ids::{Date, SegmentId};
use crate::store::layout::FoundSegment;

/// Those of `found` (ordered, as a listing gives them) that may be sealed, the oldest first: segments of days before
/// `today`, and those that a later segment of their bucket follows. A writer may still have one of them open.
pub fn due(found: &[FoundSegment], today: Date) -> Vec<SegmentId> {
    let is_followed = |at: usize| found.get(at + 1).is_some_and(|next| next.id.bucket == found[at].id.bucket);
    let is_due = |(at, segment): &(usize, &FoundSegment)| {
        segment.is_plain() && (segment.id.bucket.date < today || is_followed(*at))
    };
    found.iter().enumerate().filter(is_due).map(|(_, segment)| segment.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::layout::Form;

    #[test]
    fn past_days_and_full_segments_are_due_and_what_grows_or_is_sealed_is_not() {
        let found = [
            ("2026-05-26/a1b2c3d4.jsonl", vec![Form::Zstd]),
            ("2026-05-26/a1b2c3d4.1.jsonl", vec![Form::Plain]),
            ("2026-05-27/a1b2c3d4.jsonl", vec![Form::Plain, Form::Gzip]),
            ("2026-05-27/a1b2c3d4.1.jsonl", vec![Form::Plain]),
            ("2026-05-27/b1b2c3d4.jsonl", vec![Form::Plain]),
            ("2026-05-27/c1b2c3d4.jsonl", vec![Form::Plain]),
            ("2026-05-27/c1b2c3d4.1.jsonl", vec![Form::Zstd]),
        ]
        .map(|(id, forms)| FoundSegment { id: id.parse().unwrap(), forms });
        let due: Vec<String> = due(&found, "2026-05-27".parse().unwrap()).iter().map(SegmentId::to_string).collect();
        let expected = ["2026-05-26/a1b2c3d4.1.jsonl", "2026-05-27/a1b2c3d4.jsonl", "2026-05-27/c1b2c3d4.jsonl"];
        assert_eq!(due, expected);
    }
}
