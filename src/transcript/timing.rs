//! How a stream came: its events over time, as a bar of blocks.

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar of so many columns over the time from 0 to `until_ms`: the more events in a column's time, the higher its
/// block. Empty if there are no events.
pub fn bar(times_ms: &[u64], until_ms: u64, columns: usize) -> String {
    if times_ms.is_empty() || columns == 0 {
        return String::new();
    }
    let until = until_ms.max(times_ms.iter().copied().max().unwrap_or(0)) + 1;
    let mut counts = vec![0_u64; columns];
    for &time in times_ms {
        let column = u128::from(time) * columns as u128 / u128::from(until);
        counts[(column as usize).min(columns - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    // One event is always seen.
    let height = |count: u64| if count == 0 { 0 } else { (count * 8).div_ceil(most).clamp(1, 8) as usize };
    counts.into_iter().map(|count| BLOCKS[height(count)]).collect()
}

/// The longest time without an event, and after which time it began.
pub fn longest_gap(times_ms: &[u64]) -> Option<(u64, u64)> {
    let gaps = times_ms.windows(2).map(|pair| (pair[1].saturating_sub(pair[0]), pair[0]));
    gaps.max_by_key(|(gap, _)| *gap).filter(|(gap, _)| *gap > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_there_are_events() {
        assert_eq!(bar(&[], 100, 10), "");
        assert_eq!(bar(&[0, 1, 2, 3, 50, 99, 99], 99, 4), "█ ▂▄");
        assert_eq!(bar(&[0], 0, 3), "█  ");
        assert_eq!(bar(&[200], 100, 2).chars().count(), 2, "an event behind the end is in the last column");
        assert_eq!(bar(&[u64::MAX - 1], 0, 2), " █");
    }

    #[test]
    fn the_longest_silence_is_found() {
        assert_eq!(longest_gap(&[0, 10, 70, 80]), Some((60, 10)));
        assert_eq!(longest_gap(&[5]), None);
        assert_eq!(longest_gap(&[5, 5]), None);
    }
}
