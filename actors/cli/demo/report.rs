//! The demonstration's text: plain lines of at most 80 columns, but for those that are to be pasted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use api_log::store::layout::Layout;

use super::recorded::{Recorded, Row};
use super::traffic::Sent;

/// Columns of the table.
const COLUMNS: usize = 10;
/// No line of it is wider. Paths are cut for it.
const MOST_COLUMNS: usize = 80;
/// The column of the path, and how much of it is shown in any case.
const PATH: usize = 1;
const FEWEST_PATH_COLUMNS: usize = 16;

/// Where everything is.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) gateway: SocketAddr,
    pub(super) proxy: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) layout: Layout,
}

/// Who stands where.
pub(super) fn opening(places: &Places) -> String {
    let Places { gateway, proxy, api, layout } = places;
    format!(
        "A recorder before a mock gateway; nothing leaves this machine.\n\n  \
         mock gateway  http://{gateway}\n  \
         recorder      http://{proxy}  (what clients talk to)\n  \
         read API      http://{api}\n  \
         data dir      {}\n\n",
        layout.root().display()
    )
}

/// `1 second`, `5 seconds`.
pub(super) fn seconds(time: Duration) -> String {
    counted(time.as_secs(), "second")
}

/// How much was sent.
pub(super) fn sent(sent: &Sent) -> String {
    format!("  {} sent in {}\n\n", counted(sent.exchanges(), "exchange"), counted(sent.rounds, "round"))
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The rows of the last round, the sums of all, and the ledger.
pub(super) fn recorded(recorded: &Recorded, sent: &Sent) -> String {
    let which = if sent.rounds > 1 { " (the last round)" } else { "" };
    let mut text = format!("As the read API lists it{which}:\n\n");
    text.push_str(&table(&recorded.last_round));
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in &recorded.kinds {
        *sums.entry(&kind.protocol).or_default() += count;
    }
    let sums: Vec<String> = sums.iter().map(|(protocol, count)| format!("{protocol} {count}")).collect();
    let ledger = &recorded.ledger;
    let _ = writeln!(text, "Traces: {}", sums.join(", "));
    let _ = writeln!(
        text,
        "Ledger: {} accepted = {} recorded + {} filtered + {} dropped + {} in flight{}\n",
        ledger.accepted,
        ledger.recorded,
        ledger.filtered,
        ledger.dropped.values().sum::<u64>(),
        ledger.in_flight,
        if ledger.balanced { "" } else { " DOES NOT BALANCE" },
    );
    text
}

/// The rows by key, each key under the file that holds its lines.
fn table(rows: &[Row]) -> String {
    let turns = turns(rows);
    let mut groups: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(file, _)| *file == row.jsonl_path) {
            Some((_, of_file)) => of_file.push(row),
            None => groups.push((&row.jsonl_path, vec![row])),
        }
    }
    groups.sort_by(|(_, a), (_, b)| a[0].protocol.cmp(&b[0].protocol));
    let mut cells: Vec<[String; COLUMNS]> = vec![TITLES.map(str::to_owned)];
    for row in groups.iter().flat_map(|(_, of_file)| of_file) {
        cells.push(row_cells(row, turns.get(row.id.as_str()).map_or("-", String::as_str)));
    }
    let others: usize = (0..COLUMNS).filter(|column| *column != PATH).map(|column| width(&cells, column) + 1).sum();
    let most = MOST_COLUMNS.saturating_sub(others).max(FEWEST_PATH_COLUMNS);
    for cells in &mut cells {
        cells[PATH] = end_of_path(&cells[PATH], most);
    }
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(&cells, column));
    let mut lines = cells.iter().map(|it| line(it, &widths));
    let mut text = lines.next().unwrap_or_default();
    for (file, of_file) in &groups {
        let key: String = of_file[0].key_hash.chars().take(8).collect();
        let _ = writeln!(text, "{}, key {key}, in {file}", of_file[0].protocol);
        text.extend(lines.by_ref().take(of_file.len()));
    }
    text.push_str("(1st: ms until the first event; in, out: tokens; turn: of a conversation)\n\n");
    text
}

/// The widest cell of a column, in characters.
fn width(cells: &[[String; COLUMNS]], column: usize) -> usize {
    cells.iter().map(|it| it[column].chars().count()).max().unwrap_or(0)
}

const TITLES: [&str; COLUMNS] = ["time UTC", "path", "model", "code", "ms", "1st", "in", "out", "end", "turn"];
/// Numbers stand to the right.
const TO_THE_RIGHT: [bool; COLUMNS] = [false, false, false, true, true, true, true, true, false, false];

fn row_cells(row: &Row, turn: &str) -> [String; COLUMNS] {
    let number = |it: Option<i64>| it.map_or_else(|| "-".to_owned(), |it| it.to_string());
    [
        row.ts_start.get(11..19).unwrap_or("-").to_owned(),
        row.path.clone(),
        row.model.clone().unwrap_or_else(|| "-".to_owned()),
        if row.status < 0 { "-".to_owned() } else { row.status.to_string() },
        row.duration_ms.to_string(),
        row.first_event_ms.map_or_else(|| "-".to_owned(), |it| it.to_string()),
        number(row.prompt_tokens),
        number(row.completion_tokens),
        row.end.clone(),
        turn.to_owned(),
    ]
}

fn line(cells: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        let width = widths[column];
        let _ = if TO_THE_RIGHT[column] { write!(line, "{cell:>width$} ") } else { write!(line, "{cell:<width$} ") };
    }
    format!("{}\n", line.trim_end())
}

/// A path without its query; of a long one the last words, which say more.
fn end_of_path(target: &str, most: usize) -> String {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let length = path.chars().count();
    if length <= most {
        return path.to_owned();
    }
    let end: String = path.chars().skip(length + 1 - most).collect();
    format!("…{}", &end[end.find(['/', ':']).unwrap_or(0)..])
}

/// The place of each row in its conversation: `A1`, `A2`, `B1` …; rows that stand alone have none. `rows` are in order.
fn turns(rows: &[Row]) -> BTreeMap<&str, String> {
    let mut sessions: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        match sessions.iter_mut().find(|(root, _)| *root == row.session_root_id) {
            Some((_, ids)) => ids.push(&row.id),
            None => sessions.push((&row.session_root_id, vec![&row.id])),
        }
    }
    sessions.retain(|(_, ids)| ids.len() > 1);
    let mut turns = BTreeMap::new();
    for ((_, ids), letter) in sessions.iter().zip('A'..='Z') {
        turns.extend(ids.iter().zip(1..).map(|(id, number)| (*id, format!("{letter}{number}"))));
    }
    turns
}

/// Lines to paste, so as to look further.
pub(super) fn further(places: &Places, is_kept: bool) -> String {
    let Places { proxy, api, layout, .. } = places;
    let below = |path: &Path| path.strip_prefix(layout.root()).unwrap_or(path).display().to_string();
    let (index, token) = (below(&layout.index()), below(&layout.token()));
    let note = if is_kept { "" } else { " (only with --keep: this run's recorder has ended)" };
    let mut text = format!(
        r#"To look further, paste; the first line first:

  D={folder}

Each exchange is one JSON line:

  jq -r '[.ts_start, .protocol, .status, .end] | @tsv' "$D"/*/*.jsonl
  jq -c 'select(.end == "upstream_gone") | .resp.events[]' "$D"/*/*.jsonl

Each has a row in the index:

  sqlite3 -box "$D"/{index} "SELECT protocol, count(*) AS traces,
    sum(total_tokens) AS tokens FROM traces GROUP BY protocol"
  sqlite3 -box "$D"/{index} "SELECT session_root_id, count(*) AS turns
    FROM traces GROUP BY session_root_id HAVING turns > 1"

The read API{note}:

  T="Authorization: Bearer $(cat "$D"/{token})"
  curl -s -H "$T" 'http://{api}/api/traces?status=4xx&limit=1' | jq .
  curl -s http://{api}/healthz | jq .ledger
"#,
        folder = quoted(&layout.root().display().to_string()),
    );
    if is_kept {
        let _ = write!(
            text,
            r#"
Traffic of your own:

  curl -s http://{proxy}/v1/chat/completions -H 'Authorization: Bearer me' \
    -d '{{"model": "gpt-5", "messages": [{{"role": "user", "content": "hi"}}]}}'

Recorder and mock gateway keep running until Ctrl-C.
"#
        );
    }
    text
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-+".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, root: &str, path: &str, end: &str) -> Row {
        Row {
            id: id.into(),
            ts_start: "2026-05-27T10:23:45.810Z".into(),
            path: path.into(),
            status: 200,
            model: Some("claude-4".into()),
            prompt_tokens: Some(120),
            completion_tokens: None,
            key_hash: "a1b2c3d4e5f60718".into(),
            session_root_id: root.into(),
            jsonl_path: "2026-05-27/a1b2c3d4.jsonl".into(),
            end: end.into(),
            protocol: "messages".into(),
            duration_ms: 1234,
            first_event_ms: Some(1000),
        }
    }

    #[test]
    fn the_table_fits_80_columns() {
        let gemini = "/v1beta/models/gemini-2:generateContent?alt=sse";
        let rows = [row("1", "1", gemini, "upstream_gone"), row("2", "1", "/v1/chat/completions", "complete")];
        let text = table(&rows);
        assert_eq!(
            text,
            "time UTC path                 model    code   ms  1st  in out end           turn\n\
             messages, key a1b2c3d4, in 2026-05-27/a1b2c3d4.jsonl\n\
             10:23:45 …:generateContent    claude-4  200 1234 1000 120   - upstream_gone A1\n\
             10:23:45 /v1/chat/completions claude-4  200 1234 1000 120   - complete      A2\n\
             (1st: ms until the first event; in, out: tokens; turn: of a conversation)\n\n"
        );
        assert!(text.lines().all(|line| line.chars().count() <= MOST_COLUMNS), "{text}");
    }

    #[test]
    fn the_end_of_a_long_path_is_shown() {
        assert_eq!(end_of_path("/v1/chat/completions?x=1", 20), "/v1/chat/completions");
        assert_eq!(end_of_path("/v1beta/models/gemini-2:generateContent", 22), "…:generateContent");
        assert_eq!(end_of_path("/a-word-without-end", 12), "…without-end");
    }

    #[test]
    fn only_conversations_have_turns() {
        let rows = [row("1", "1", "/", ""), row("2", "2", "/", ""), row("3", "1", "/", ""), row("4", "4", "/", "")];
        let turns = turns(&rows);
        assert_eq!(turns, [("1", "A1".to_owned()), ("3", "A2".to_owned())].into());
    }

    #[test]
    fn a_folder_is_one_word_to_the_shell() {
        assert_eq!(quoted("/tmp/api-log-demo-1"), "/tmp/api-log-demo-1");
        assert_eq!(quoted("/it's $HOME"), r"'/it'\''s $HOME'");
    }
}
