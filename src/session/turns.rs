//! The turns of a request, hashed as they come.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::canonical::{Blocks, Canonical};
use super::form::Form;
use super::{HASH_VERSION, reply};
use crate::json::{Cursor, Json};
use crate::protocol::Protocol;
use crate::trace::asked::Asked;

/// The role of the virtual turn that the system text makes.
const SYSTEM_ROLE: &str = "__apilog_system__";

/// How the system block begins that Claude Code signs anew for every request.
const SIGNED_BLOCK: &str = "x-anthropic-billing-header:";

/// The hash of every prefix, and the fingerprint of every assistant turn.
pub(super) type Hashes = (Vec<[u8; 8]>, Vec<Option<[u8; 8]>>);

/// Hashes the turns of a request in one pass. `continues` is the hash of the answer that they follow.
pub(super) fn hashed(protocol: Protocol, asked: &Asked<'_>, continues: Option<[u8; 8]>) -> Hashes {
    let mut rolling = match protocol {
        Protocol::Chat => Rolling::new("chat", Blocks::WithShorthand, continues),
        Protocol::Messages => Rolling::new("messages", Blocks::WithShorthand, continues),
        Protocol::Responses => Rolling::new("responses", Blocks::Yes, continues),
        Protocol::Gemini => Rolling::new("gemini", Blocks::Yes, continues),
        _ => return Hashes::default(),
    };
    let Asked { messages, system, instructions, input, contents, system_instruction, .. } = *asked;
    match protocol {
        Protocol::Chat => {
            messages.filter(|it| it.is_array()).into_iter().for_each(|it| rolling.turns(it, reply::of_chat_turn));
        }
        Protocol::Messages => {
            let messages = messages.filter(|it| it.elements().next().is_some());
            if let Some(system) = system.filter(|it| !it.is_null() && messages.is_some()) {
                rolling.system_turn(system);
            }
            messages.into_iter().for_each(|it| rolling.turns(it, reply::of_messages_turn));
        }
        Protocol::Responses => {
            if let Some(instructions) = instructions.filter(|it| !it.is_null()) {
                rolling.system_turn(instructions);
            }
            match input.filter(|it| !it.is_null()) {
                Some(input) if input.is_array() => rolling.items(input),
                Some(input) if input.is_string() => rolling.user_turn("content", input),
                Some(input) => rolling.user_turn("input", input),
                None => {}
            }
        }
        _ => {
            let contents = contents.filter(|it| it.is_object() || it.elements().next().is_some());
            let system = system_instruction.filter(|it| !it.is_null() && contents.is_some());
            system.into_iter().for_each(|system| rolling.system_turn(system));
            contents.into_iter().for_each(|it| rolling.turns(it, reply::of_gemini_turn));
        }
    }
    (rolling.prefixes, rolling.replies)
}

/// The hash of the system's text alone.
pub(super) fn of_system(protocol: Protocol, system: Json<'_>) -> Option<[u8; 8]> {
    let blocks = match protocol {
        Protocol::Chat | Protocol::Messages => Blocks::WithShorthand,
        _ => Blocks::Yes,
    };
    let mut rolling = Rolling::new("system", blocks, None);
    rolling.system_turn(system);
    rolling.prefixes.pop()
}

/// A chain of hashes: each turn's is seeded with that of the turns before it. So the hash of every prefix falls out
/// on the way, and each byte is hashed once.
struct Rolling {
    hash: u64,
    canonical: Canonical,
    blocks: Blocks,
    prefixes: Vec<[u8; 8]>,
    replies: Vec<Option<[u8; 8]>>,
}

impl Rolling {
    fn new(family: &str, blocks: Blocks, continues: Option<[u8; 8]>) -> Rolling {
        let mut hash = xxh3_64_with_seed(family.as_bytes(), HASH_VERSION.into());
        if let Some(answer) = continues {
            hash = xxh3_64_with_seed(&answer, hash);
        }
        Rolling { hash, canonical: Canonical::default(), blocks, prefixes: Vec::new(), replies: Vec::new() }
    }

    /// The elements of a list, or the object that stands in its stead.
    fn turns(&mut self, list: Json<'_>, reply: fn(Form<'_>) -> Option<[u8; 8]>) {
        let mut cursor = Cursor::new(list);
        if list.is_array() {
            cursor.advance();
        } else if !list.is_object() {
            return;
        }
        while self.canonical.next(&mut cursor, self.blocks).is_some() {
            let reply = reply(Form::new(self.canonical.bytes()));
            self.end_turn(reply);
        }
    }

    /// The items of a Responses request. Those between two that the model did not make are one reply.
    fn items(&mut self, items: Json<'_>) {
        let mut run: Option<(usize, reply::Spoken)> = None;
        let mut cursor = Cursor::new(items);
        cursor.advance();
        while self.canonical.next(&mut cursor, self.blocks).is_some() {
            let item = Form::new(self.canonical.bytes());
            let index = self.replies.len();
            if !reply::is_made_by_model(item) {
                self.end_run(run.take());
            } else {
                let (_, spoken) = run.get_or_insert_with(|| (index, reply::Spoken::default()));
                spoken.add_responses_item(item);
            }
            self.end_turn(None);
        }
        self.end_run(run);
    }

    fn end_run(&mut self, run: Option<(usize, reply::Spoken)>) {
        let Some((start, spoken)) = run else { return };
        if let Some(reply) = self.replies.get_mut(start) {
            *reply = spoken.fingerprint();
        }
    }

    /// `{"content": …, "role": "__apilog_system__"}`.
    fn system_turn(&mut self, content: Json<'_>) {
        self.canonical.open_object();
        self.canonical.string("content");
        if content.is_array() {
            self.canonical.open_array();
            for block in content.elements().filter(|block| !is_signed_anew(*block)) {
                self.canonical.value(block, self.blocks);
            }
            self.canonical.close_array();
        } else if content.is_string() && self.blocks == Blocks::WithShorthand {
            self.canonical.text_block(&mut Cursor::new(content));
        } else {
            self.canonical.value(content, self.blocks);
        }
        self.canonical.string("role");
        self.canonical.string(SYSTEM_ROLE);
        self.canonical.close_object();
        self.end_turn(None);
    }

    /// `{"<member>": …, "role": "user"}`; `member` sorts before `role`.
    fn user_turn(&mut self, member: &str, value: Json<'_>) {
        self.canonical.open_object();
        self.canonical.string(member);
        self.canonical.value(value, Blocks::No);
        self.canonical.string("role");
        self.canonical.string("user");
        self.canonical.close_object();
        self.end_turn(None);
    }

    fn end_turn(&mut self, reply: Option<[u8; 8]>) {
        self.hash = xxh3_64_with_seed(self.canonical.bytes(), self.hash);
        self.canonical.clear();
        self.prefixes.push(self.hash.to_be_bytes());
        self.replies.push(reply);
    }
}

fn is_signed_anew(block: Json<'_>) -> bool {
    block.get("text").and_then(Json::string).is_some_and(|text| text.starts_with(SIGNED_BLOCK))
}
