//! `api-log show`: one trace, as a conversation or otherwise.

use api_log::config::Config;
use api_log::curl::{self, Credentials};
use api_log::diff::{self, Comparison};
use api_log::jsonl::line::{read_kept, read_row};
use api_log::transcript::layout::{self, Page};
use api_log::transcript::{Ink, Transcript};

use super::args::{Other, Show};
use super::error::LookError;
use super::paint::Out;
use super::source::{Found, Source};

pub(super) async fn run(asked: Show, config: &Config) -> Result<(), LookError> {
    let source = Source::of(&asked.from, config)?;
    let out = Out::new(asked.from.color);
    let found = source.find(&asked.id).await?;
    if asked.raw {
        return out.write(&[&found.line[..], b"\n"].concat());
    }
    if asked.curl {
        let credentials = if asked.with_credentials { Credentials::Kept } else { Credentials::Variables };
        return out.write(curl::command(&read_kept(&found.line)?, credentials).as_bytes());
    }
    if asked.events {
        let kept = read_kept(&found.line)?;
        let events = kept.response.body.events();
        if events.is_empty() {
            super::super::complain("the answer was not recorded as a stream of events");
        }
        return out.page(&layout::events(events));
    }
    if let Some(other) = &asked.diff {
        let other = match other {
            Other::Parent => source.parent(&found).await?,
            Other::Trace(id) => source.find(id).await?,
        };
        return out.page(&diff::layout::page(&Comparison::of(&other.line, &found.line)?));
    }
    conversation(&found).and_then(|pages| pages.iter().try_for_each(|page| out.page(page)))
}

/// The head, what was said, and how it came.
pub(super) fn conversation(found: &Found) -> Result<[Page; 4], LookError> {
    let row = read_row(&found.line)?;
    let kept = read_kept(&found.line)?;
    let transcript = Transcript::of(&found.line)?;
    let mut head = layout::head(&row);
    if let Some(place) = &found.attachments {
        head.line(Ink::Media, format!("attachments {place}"));
    }
    let duration_ms = row.ts_end.0.saturating_sub(row.ts_start.0).max(0).unsigned_abs();
    let stream = layout::stream(kept.response.body.events(), duration_ms);
    Ok([head, layout::unshown(&kept), layout::conversation(&transcript), stream])
}
