//! A comparison in words: what changed, where the prompts part, and what that says about the cache.

use super::{Comparison, Parting, Piece};
use crate::protocol::Protocol;
use crate::transcript::Ink;
use crate::transcript::layout::{Page, milliseconds, shortened};

/// How much of a text is shown around the place where two part, in characters.
const AROUND: usize = 80;
/// Caches of providers forget after some minutes of silence: five, by what they document.
const FORGOTTEN_AFTER_MS: u64 = 5 * 60 * 1000;
/// Shorter prompts than this, in tokens, no provider caches.
const LEAST_CACHED: i64 = 1024;

/// The whole comparison.
pub fn page(compared: &Comparison) -> Page {
    let mut page = Page::default();
    let (before, now) = (&compared.before, &compared.now);
    page.line(Ink::Title, format!("before  {}  {}", before.row.id, before.row.ts_start));
    page.line(Ink::Title, format!("now     {}  {}", now.row.id, now.row.ts_start));
    if let Some(pause_ms) = compared.pause_ms() {
        page.line(
            Ink::Dim,
            format!("{} between the end of the one and the start of the other", milliseconds(pause_ms)),
        );
    }
    settings(&mut page, compared);
    prompts(&mut page, compared);
    cache(&mut page, compared);
    page
}

fn settings(page: &mut Page, compared: &Comparison) {
    if compared.settings.is_empty() {
        return;
    }
    page.gap();
    page.line(Ink::Heading, "settings");
    for changed in &compared.settings {
        let text = |it: &Option<String>| it.as_deref().map_or_else(|| "(none)".to_owned(), |it| shortened(it, AROUND));
        page.line(Ink::Plain, format!("  {}: {} → {}", changed.name, text(&changed.before), text(&changed.now)));
    }
}

fn prompts(page: &mut Page, compared: &Comparison) {
    page.gap();
    page.line(Ink::Heading, "prompt");
    let (before, now) = (compared.before.pieces.len(), compared.now.pieces.len());
    page.line(Ink::Plain, format!("  {} of {before} pieces before and {now} now agree", compared.common_pieces));
    let Some(Parting { before, now, common_bytes }) = &compared.parting else {
        page.line(Ink::Good, "  the prompts are the same");
        return;
    };
    match (before, now) {
        (None, Some(first)) => {
            page.line(Ink::Good, format!("  now begins with all of before, and goes on with {}", first.label));
            for piece in &compared.now.pieces[compared.common_pieces..] {
                page.line(Ink::Good, format!("  + {}: {}", piece.label, shortened(&piece.text, AROUND)));
            }
        }
        (Some(first), None) => {
            page.line(Ink::Bad, format!("  now ends where before goes on with {}", first.label));
        }
        (Some(before), Some(now)) => {
            let named = if before.label == now.label {
                now.label.clone()
            } else {
                format!("{}, where {} stood before", now.label, before.label)
            };
            page.line(Ink::Bad, format!("  they part in {named}, after {common_bytes} equal bytes of it"));
            page.line(Ink::Bad, format!("  - {}", around(before, *common_bytes)));
            page.line(Ink::Good, format!("  + {}", around(now, *common_bytes)));
        }
        (None, None) => {}
    }
}

/// What stands around the place where two pieces part.
fn around(piece: &Piece, at: usize) -> String {
    let lead = piece.text[..piece.text.floor_char_boundary(at)].chars().rev().take(AROUND / 4).count();
    let from = piece.text[..at].char_indices().rev().take(lead).last().map_or(at, |(from, _)| from);
    let mark = if from > 0 { "…" } else { "" };
    format!("{mark}{}", shortened(&piece.text[from..], AROUND))
}

fn cache(page: &mut Page, compared: &Comparison) {
    page.gap();
    page.line(Ink::Heading, "cache");
    let usage = &compared.now.row.usage;
    let common = compared.common_tokens();
    let percent = 100 * compared.common_bytes / compared.prompt_bytes.max(1);
    let how = if compared.prompt_tokens().is_some() { "shared out by bytes" } else { "four bytes a token" };
    page.line(
        Ink::Plain,
        format!(
            "  the common beginning ends at byte {} of the request: {} of {} bytes of the prompt ({percent} %), \
             about {common} tokens ({how})",
            compared.body_offset(),
            compared.common_bytes,
            compared.prompt_bytes
        ),
    );
    let Some(cached) = usage.cached else {
        page.line(Ink::Dim, "  the provider does not say how many tokens it had cached");
        return;
    };
    let written = usage.cache_creation.map_or_else(String::new, |written| format!(", {written} written"));
    page.line(Ink::Plain, format!("  the provider reports {cached} tokens from its cache{written}"));
    let (ink, verdict) = verdict(compared, cached, common);
    page.line(ink, format!("  {verdict}"));
    if ink == Ink::Bad {
        reasons(compared).into_iter().for_each(|reason| page.line(Ink::Plain, format!("  - {reason}")));
    }
}

/// What the two numbers say. The estimate is taken for right within a fifth.
fn verdict(compared: &Comparison, cached: i64, common: i64) -> (Ink, String) {
    let all = compared.prompt_tokens().unwrap_or(0);
    if cached * 5 >= common * 4 && cached > 0 {
        (Ink::Good, "the cache held what the two have in common".to_owned())
    } else if common < LEAST_CACHED {
        (Ink::Dim, format!("nothing was to be had: prompts of less than {LEAST_CACHED} tokens are not cached"))
    } else if cached > 0 {
        (
            Ink::Bad,
            format!("the cache held less than the two have in common: some {} tokens were missed", common - cached),
        )
    } else {
        (Ink::Bad, format!("the cache was missed: some {common} of {all} tokens could have come from it"))
    }
}

/// What is known to keep a provider from finding a prompt in its cache, and is so here.
fn reasons(compared: &Comparison) -> Vec<String> {
    let (before, now) = (&compared.before.row, &compared.now.row);
    let mut reasons = Vec::new();
    if before.model != now.model {
        let name = |model: &Option<String>| model.clone().unwrap_or_else(|| "none".to_owned());
        reasons.push(format!("another model: {} → {}", name(&before.model), name(&now.model)));
    }
    if before.key != now.key {
        reasons.push("another key: caches are kept apart by account".to_owned());
    }
    if before.upstream != now.upstream {
        reasons.push(format!("another upstream: {} → {}", before.upstream, now.upstream));
    }
    match compared.pause_ms() {
        Some(pause_ms) if pause_ms >= FORGOTTEN_AFTER_MS => {
            reasons.push(format!("{} passed: caches forget after five minutes or so", milliseconds(pause_ms)));
        }
        None => reasons.push("the earlier one had not ended when the later began".to_owned()),
        Some(_) => {}
    }
    if now.protocol == Protocol::Messages && compared.now.cache_marks == 0 {
        reasons.push("no block of it has a cache_control mark: Anthropic caches nothing then".to_owned());
    }
    if now.protocol == Protocol::Messages && compared.before.cache_marks == 0 {
        reasons.push("no block before had a cache_control mark: nothing was written to the cache".to_owned());
    }
    if !(200..300).contains(&before.status) {
        reasons.push(format!("the earlier one ended with status {}", before.status));
    }
    if reasons.is_empty() {
        reasons.push(
            "nothing in the two requests explains it: a gateway between may spread them over accounts".to_owned(),
        );
    }
    reasons
}
