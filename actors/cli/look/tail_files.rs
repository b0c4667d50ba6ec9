//! `tail` of a data dir: its files alone, whether a recorder runs or not.

use std::time::Duration;

use api_log::ids::Place;
use api_log::index::query::TraceRow;
use api_log::jsonl::follow::Follower;
use api_log::store::layout::Layout;

use super::error::LookError;
use super::source::{blocking, files};
use super::tail::Followed;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn follow(layout: Layout, mut followed: Followed) -> Result<(), LookError> {
    if followed.filter.session_root.is_some() {
        return Err(LookError::SessionOfFiles);
    }
    let theirs = layout.clone();
    let opened = blocking(move || Follower::at_end(theirs)).await?;
    let mut follower = opened.map_err(|source| files(&layout, source))?;
    let (most, filter, theirs) = (followed.lines, followed.filter.clone(), layout.clone());
    let (back, found) = blocking(move || {
        let keep =
            |place: Place, line: &[u8]| TraceRow::in_files(&theirs, place, line).ok().filter(|row| filter.passes(row));
        let found =
            if most == 0 { Ok(Vec::new()) } else { follower.last(most, filter.since.map(|it| it.date()), keep) };
        (follower, found)
    })
    .await?;
    follower = back;
    let mut rows = found.map_err(|source| files(&layout, source))?;
    // In the order in which they ended, which is that in which they were written; days hold several files.
    rows.sort_by(|one, other| (one.ts_end, &one.id).cmp(&(other.ts_end, &other.id)));
    let left_out = rows.len().saturating_sub(followed.lines);
    if left_out > 0 && followed.wants_all {
        crate::cli::complain(format_args!("{left_out} earlier traces are left out; -n takes more"));
    }
    for row in &rows[left_out..] {
        followed.show_earlier(row)?;
    }
    drop(rows);
    while followed.follows {
        tokio::time::sleep(LOOK_EVERY).await;
        let (theirs, filter) = (layout.clone(), followed.filter.clone());
        let (back, polled, came) = blocking(move || {
            let mut came = Vec::new();
            let polled = follower.poll(|place, line| {
                came.extend(TraceRow::in_files(&theirs, place, line).ok().filter(|row| filter.passes(row)));
            });
            (follower, polled, came)
        })
        .await?;
        follower = back;
        for row in &came {
            followed.show(row)?;
        }
        polled.map_err(|source| files(&layout, source))?;
    }
    Ok(())
}
