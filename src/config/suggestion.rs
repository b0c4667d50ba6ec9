//! "Did you mean": the known name that is nearest to a mistyped one.

/// The candidate that `typed` most likely stands for, if one is near enough.
pub(super) fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    // Longer text is no slip of the finger, and the comparison costs the product of both lengths.
    if typed.len() > 64 {
        return None;
    }
    let allowed = (typed.len() / 4).clamp(1, 3);
    let close = candidates
        .clone()
        .map(|candidate| (distance(typed, candidate), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate);
    close.or_else(|| only_one_of_that_last_name(typed, candidates))
}

/// `proxy.data_dir` → `storage.data_dir`: right name, wrong section.
fn only_one_of_that_last_name<'a>(typed: &str, mut candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last_name = |path: &str| path.rsplit('.').next().map(str::to_owned);
    let wanted = last_name(typed);
    let found = candidates.find(|candidate| last_name(candidate) == wanted)?;
    candidates.all(|candidate| last_name(candidate) != wanted).then_some(found)
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["proxy.listen", "proxy.upstream", "api.listen", "storage.data_dir"];

    fn suggest(typed: &str) -> Option<&'static str> {
        nearest(typed, NAMES.into_iter())
    }

    #[test]
    fn a_slip_finds_its_name() {
        assert_eq!(suggest("proxy.listn"), Some("proxy.listen"));
        assert_eq!(suggest("proxy.upsteram"), Some("proxy.upstream"));
    }

    #[test]
    fn the_right_name_in_the_wrong_section_is_found_if_it_is_the_only_one() {
        assert_eq!(suggest("proxy.data_dir"), Some("storage.data_dir"));
        assert_eq!(suggest("whatever.listen"), None);
    }

    #[test]
    fn what_is_far_from_everything_gets_no_suggestion() {
        assert_eq!(suggest("telemetry.endpoint"), None);
        assert_eq!(suggest(&"x".repeat(100_000)), None);
    }
}
