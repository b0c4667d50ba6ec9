//! How numbers are spread, in few bytes: counts by class, of which sums and differences are taken exactly.

/// Classes of an octave: a class is at most a sixteenth of its numbers wide.
const OF_AN_OCTAVE: u64 = 16;
/// Larger numbers count as this one: some 35 years of milliseconds.
const MOST: u64 = 1 << 40;

/// So many numbers of each class. Numbers below 32 have a class each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Distribution {
    /// *Invariant:* rising classes, each once; after [`Distribution::encode`] and [`Distribution::merge`] none is empty
    /// unless a difference is on its way.
    counts: Vec<(u16, i64)>,
}

impl Distribution {
    /// Counts a number so many times; negative takes it away.
    pub(super) fn count(&mut self, number: i64, times: i64) {
        let class = class_of(u64::try_from(number).unwrap_or(0));
        match self.counts.binary_search_by_key(&class, |it| it.0) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(times),
            Err(at) => self.counts.insert(at, (class, times)),
        }
    }

    /// Adds another one.
    pub(super) fn merge(&mut self, other: &Distribution) {
        self.merge_pairs(other.counts.iter().copied());
    }

    /// Adds an encoded one. What is no distribution adds what of it is.
    pub(super) fn merge_encoded(&mut self, bytes: &[u8]) {
        self.merge_pairs(Pairs { bytes, class: 0 });
    }

    /// Both rise, so one look along this one suffices.
    fn merge_pairs(&mut self, pairs: impl Iterator<Item = (u16, i64)>) {
        let mut at = 0;
        for (class, count) in pairs {
            while self.counts.get(at).is_some_and(|it| it.0 < class) {
                at += 1;
            }
            match self.counts.get_mut(at) {
                Some(it) if it.0 == class => it.1 = it.1.saturating_add(count),
                _ => self.counts.insert(at, (class, count)),
            }
        }
    }

    /// As bytes: for each class that has any, the steps from the class before and the count, seven bits a byte, low
    /// ones first.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(3 * self.counts.len());
        let mut before = 0;
        for &(class, count) in self.counts.iter().filter(|it| it.1 > 0) {
            push(&mut bytes, u64::from(class - before));
            push(&mut bytes, count.cast_unsigned());
            before = class;
        }
        bytes
    }

    /// How many numbers there are.
    pub(super) fn total(&self) -> i64 {
        self.counts.iter().fold(0, |sum, it| sum.saturating_add(it.1))
    }

    /// The number that so many per mille of all are not above: the greatest of its class. `None` if there is none.
    pub(super) fn per_mille(&self, per_mille: i64) -> Option<i64> {
        let rank = ((i128::from(self.total()) * i128::from(per_mille) + 999) / 1000).max(1);
        let mut seen = 0_i128;
        let found = self.counts.iter().find(|it| {
            seen += i128::from(it.1);
            seen >= rank
        });
        found.map(|it| greatest_of(it.0))
    }
}

/// The class of a number.
fn class_of(number: u64) -> u16 {
    let number = number.min(MOST);
    if number < 2 * OF_AN_OCTAVE {
        return number as u16;
    }
    let shift = u64::from(number.ilog2()) - u64::from(OF_AN_OCTAVE.ilog2());
    (shift * OF_AN_OCTAVE + (number >> shift)) as u16
}

/// The greatest number of a class.
fn greatest_of(class: u16) -> i64 {
    let class = u64::from(class);
    if class < 2 * OF_AN_OCTAVE {
        return class.cast_signed();
    }
    let shift = class / OF_AN_OCTAVE - 1;
    let leading = class % OF_AN_OCTAVE + OF_AN_OCTAVE;
    // Damaged bytes may tell of any class.
    (leading + 1).checked_shl(shift.min(58) as u32).map_or(i64::MAX, |it| (it - 1).cast_signed())
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Classes and counts of an encoded distribution.
struct Pairs<'a> {
    bytes: &'a [u8],
    class: u16,
}

impl Pairs<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

impl Iterator for Pairs<'_> {
    type Item = (u16, i64);

    fn next(&mut self) -> Option<(u16, i64)> {
        let steps = u16::try_from(self.number()?).ok()?;
        self.class = self.class.checked_add(steps)?;
        Some((self.class, self.number()?.cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[i64]) -> Distribution {
        let mut all = Distribution::default();
        numbers.iter().for_each(|number| all.count(*number, 1));
        all
    }

    #[test]
    fn classes_follow_each_other_and_are_narrow() {
        let mut next = 0;
        for class in 0..=class_of(MOST) {
            assert_eq!(class_of(next), class, "{next}");
            let greatest = greatest_of(class).cast_unsigned();
            assert!(greatest >= next && greatest - next <= next / 16, "{class}: {next} to {greatest}");
            next = greatest + 1;
        }
        assert_eq!(class_of(u64::MAX), class_of(MOST));
        assert!(greatest_of(u16::MAX) > 0);
    }

    #[test]
    fn a_per_mille_is_that_of_the_sorted_numbers() {
        assert_eq!(Distribution::default().per_mille(500), None);
        let all = of(&[5, 1, 4, 2, 3]);
        let found: Vec<Option<i64>> = [0, 200, 201, 500, 990, 1000].map(|it| all.per_mille(it)).into();
        assert_eq!(found, [1, 1, 2, 3, 5, 5].map(Some));
        assert_eq!(of(&[-7]).per_mille(500), Some(0));
        assert_eq!(of(&[1000]).per_mille(500), Some(1023));
    }

    proptest! {
        #[test]
        fn bytes_say_the_same_and_sums_are_exact(
            one in proptest::collection::vec(0..100_000i64, 0..200),
            other in proptest::collection::vec(prop_oneof![0..50i64, Just(i64::MAX), any::<i64>()], 0..50),
        ) {
            let (first, second) = (of(&one), of(&other));
            let mut sum = Distribution::default();
            sum.merge_encoded(&first.encode());
            prop_assert_eq!(&sum, &first);
            sum.merge_encoded(&second.encode());
            let mut merged = first.clone();
            merged.merge(&second);
            let both: Vec<i64> = one.iter().chain(&other).copied().collect();
            prop_assert_eq!(&sum, &of(&both));
            prop_assert_eq!(&merged, &sum);
            prop_assert_eq!(sum.total(), both.len() as i64);
            other.iter().for_each(|number| sum.count(*number, -1));
            prop_assert_eq!(sum.encode(), first.encode());
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut all = Distribution::default();
            all.merge_encoded(&bytes);
            let _ = all.per_mille(500);
        }
    }
}
