//! Two requests compared in the order in which a model reads them: what changed, and how far the beginnings agree.
//!
//! Providers cache prompts by their beginning: tools, the system's text, then turn by turn. So where two requests
//! part, and how many tokens stand before that place, tells what a cache could have held at most; beside it stands
//! what the provider says that it did. [`layout`] says both in words.

pub mod layout;
pub mod parent;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::ids::{TraceId, UnixMillis};
use crate::json::Json;
use crate::jsonl::line::{BadLine, KeptBody, read_kept, read_row};
use crate::protocol::Protocol;
use crate::session;
use crate::trace::Row;
use crate::trace::asked::Asked;

/// Why two traces cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum NotComparable {
    /// One is no trace's line.
    #[error(transparent)]
    Line(#[from] BadLine),
    /// One has no JSON request on its line.
    #[error("the request of {0} is not on its line as JSON: nothing can be compared")]
    NoRequest(TraceId),
    /// They do not speak the same.
    #[error("they speak different protocols: {} and {}", .0.name(), .1.name())]
    Protocols(Protocol, Protocol),
}

/// What became of a member of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Its JSON text before; `None` if it was not there.
    pub before: Option<String>,
    /// Its JSON text now; `None` if it is not there any more.
    pub now: Option<String>,
}

/// What a piece of a prompt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tool that is offered.
    Tool,
    /// The system's text.
    System,
    /// A message, or an item.
    Turn,
}

/// A piece of a prompt: a tool, the system's text, a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// `tool NAME`, `system`, or `message N (ROLE)`, counted from 1.
    pub label: String,
    /// Its JSON text.
    pub text: String,
    /// Where it begins in the request's body, in bytes.
    pub offset: usize,
}

/// Where two requests part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The piece before; `None` if it had ended.
    pub before: Option<Piece>,
    /// The piece now; `None` if there is none.
    pub now: Option<Piece>,
    /// So many bytes of the two pieces agree.
    pub common_bytes: usize,
}

/// What is known of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Its row.
    pub row: Row,
    /// Its prompt.
    pub pieces: Vec<Piece>,
    /// Blocks that are marked to be cached up to (Messages).
    pub cache_marks: usize,
}

/// Two requests, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The earlier one.
    pub before: Compared,
    /// The later one.
    pub now: Compared,
    /// Members that are neither said nor tools, and are not the same.
    pub settings: Vec<Changed>,
    /// So many pieces agree from the beginning.
    pub common_pieces: usize,
    /// Where they part; `None` if they are the same.
    pub parting: Option<Parting>,
    /// So many bytes of the later prompt agree with the earlier one's beginning.
    pub common_bytes: usize,
    /// So many bytes the later prompt has.
    pub prompt_bytes: usize,
}

impl Comparison {
    /// Compares the requests of two lines.
    ///
    /// # Errors
    /// [`NotComparable`].
    pub fn of(before: &[u8], now: &[u8]) -> Result<Comparison, NotComparable> {
        let (before_row, before_body) = request_of(before)?;
        let (now_row, now_body) = request_of(now)?;
        let protocol = now_row.protocol;
        if before_row.protocol != protocol {
            return Err(NotComparable::Protocols(before_row.protocol, protocol));
        }
        let before_pieces = pieces(protocol, &before_body);
        let now_pieces = pieces(protocol, &now_body);
        let is_same = |(one, other): &(&Piece, &Piece)| {
            let form = |piece: &Piece| session::canonical_turn(protocol, Json::new(&piece.text));
            let system = |piece: &Piece| session::system_hash(protocol, Json::new(&piece.text));
            let means_the_same =
                || if one.kind == Kind::System { system(one) == system(other) } else { form(one) == form(other) };
            one.kind == other.kind && (one.text == other.text || means_the_same())
        };
        let common_pieces = before_pieces.iter().zip(&now_pieces).take_while(is_same).count();
        let parts = |pieces: &[Piece]| pieces.get(common_pieces).cloned();
        let parting = match (parts(&before_pieces), parts(&now_pieces)) {
            (None, None) => None,
            (before, now) => {
                let common_bytes = before
                    .as_ref()
                    .zip(now.as_ref())
                    .map_or(0, |(one, other)| if one.kind == other.kind { common(&one.text, &other.text) } else { 0 });
                Some(Parting { before, now, common_bytes })
            }
        };
        let bytes = |pieces: &[Piece]| pieces.iter().map(|it| it.text.len()).sum::<usize>();
        let common_bytes = bytes(&now_pieces[..common_pieces]) + parting.as_ref().map_or(0, |it| it.common_bytes);
        Ok(Comparison {
            settings: settings(protocol, &before_body, &now_body),
            common_pieces,
            parting,
            common_bytes,
            prompt_bytes: bytes(&now_pieces),
            before: Compared { row: before_row, cache_marks: marks(&before_body), pieces: before_pieces },
            now: Compared { row: now_row, cache_marks: marks(&now_body), pieces: now_pieces },
        })
    }

    /// Whether the later request begins with all of the earlier one.
    pub fn continues(&self) -> bool {
        self.common_pieces == self.before.pieces.len()
    }

    /// All tokens of the later prompt, as the provider counted them: Anthropic counts those of the cache apart.
    pub fn prompt_tokens(&self) -> Option<i64> {
        let usage = &self.now.row.usage;
        let apart = match self.now.row.protocol {
            Protocol::Messages => usage.cached.unwrap_or(0) + usage.cache_creation.unwrap_or(0),
            _ => 0,
        };
        Some(usage.prompt? + apart)
    }

    /// How many tokens the common beginning has, about: the provider's count if it told one, shared out by bytes; else
    /// a token for every four bytes.
    pub fn common_tokens(&self) -> i64 {
        let (common, all) = (self.common_bytes as i64, self.prompt_bytes.max(1) as i64);
        match self.prompt_tokens() {
            Some(tokens) => {
                i64::try_from(i128::from(tokens) * i128::from(common) / i128::from(all)).unwrap_or(i64::MAX)
            }
            None => common / 4,
        }
    }

    /// Where in the later request's body the common beginning ends, in bytes.
    pub fn body_offset(&self) -> usize {
        let end = |piece: &Piece| piece.offset + piece.text.len();
        match &self.parting {
            Some(Parting { now: Some(now), common_bytes, .. }) => now.offset + common_bytes,
            _ => self.now.pieces.last().map_or(0, end),
        }
    }

    /// Milliseconds between the end of the earlier and the start of the later; `None` if they overlap.
    pub fn pause_ms(&self) -> Option<u64> {
        let (UnixMillis(end), UnixMillis(start)) = (self.before.row.ts_end, self.now.row.ts_start);
        u64::try_from(start.saturating_sub(end)).ok()
    }
}

fn request_of(line: &[u8]) -> Result<(Row, String), NotComparable> {
    let row = read_row(line)?;
    match read_kept(line)?.request.body {
        KeptBody::Json(text) => Ok((row, text)),
        _ => Err(NotComparable::NoRequest(row.id)),
    }
}

/// The prompt in the order in which caches look at it.
fn pieces(protocol: Protocol, body: &str) -> Vec<Piece> {
    let request = session::unwrapped_request(protocol, Json::new(body));
    let asked = Asked::of(request);
    let mut pieces = Vec::new();
    let mut add = |kind: Kind, label: String, json: Json<'_>| {
        let offset = json.place_in(body).map_or(0, |place| place.start);
        pieces.push(Piece { kind, label, text: json.text().to_owned(), offset });
    };
    for tool in request.get("tools").into_iter().flat_map(Json::elements) {
        let named = tool.get("name").or_else(|| tool.get("function")?.get("name")).or_else(|| tool.get("type"));
        let name = named.and_then(Json::string).unwrap_or("(unnamed)".into());
        add(Kind::Tool, format!("tool {name}"), tool);
    }
    let system = asked.system.or(asked.instructions).or(asked.system_instruction);
    system.filter(|it| !it.is_null()).into_iter().for_each(|it| add(Kind::System, "system".to_owned(), it));
    let turns = match protocol {
        Protocol::Chat | Protocol::Messages => asked.messages,
        Protocol::Responses => asked.input,
        Protocol::Gemini => asked.contents,
        _ => ["prompt", "input"].into_iter().find_map(|name| request.get(name)),
    };
    let one = turns.filter(|it| !it.is_array() && !it.is_null());
    for (number, turn) in turns.into_iter().flat_map(Json::elements).chain(one).enumerate() {
        let role = turn.get("role").or_else(|| turn.get("type")).and_then(Json::string);
        let role = role.map_or_else(String::new, |role| format!(" ({role})"));
        add(Kind::Turn, format!("message {}{role}", number + 1), turn);
    }
    pieces
}

/// So many bytes agree, up to whole characters.
fn common(one: &str, other: &str) -> usize {
    let bytes = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    one.floor_char_boundary(bytes)
}

fn settings(protocol: Protocol, before: &str, now: &str) -> Vec<Changed> {
    const PROMPT: [&str; 9] = [
        "tools",
        "messages",
        "system",
        "instructions",
        "input",
        "contents",
        "systemInstruction",
        "system_instruction",
        "prompt",
    ];
    let members = |body: &str| -> BTreeMap<String, String> {
        let request = session::unwrapped_request(protocol, Json::new(body));
        let settings = request.members().filter(|(name, _)| !PROMPT.contains(&&**name));
        settings.map(|(name, value)| (name.into_owned(), value.text().to_owned())).collect()
    };
    let (mut before, now) = (members(before), members(now));
    let mut changed = Vec::new();
    for (name, text) in now {
        let earlier = before.remove(&name);
        let form = |text: &str| session::canonical(Json::new(text));
        if earlier.as_ref().is_none_or(|earlier| form(earlier) != form(&text)) {
            changed.push(Changed { name, before: earlier, now: Some(text) });
        }
    }
    changed.extend(before.into_iter().map(|(name, text)| Changed { name, before: Some(text), now: None }));
    changed
}

fn marks(body: &str) -> usize {
    memchr::memmem::find_iter(body.as_bytes(), b"\"cache_control\"").count()
}
