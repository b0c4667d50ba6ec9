//! Where attachments stand: a payload counts only in a place that its protocol gives it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memmem;

use super::Attachment;
use super::payload::{attachment, bytes_of, decoded, sniffed};
use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::view::{Answer, TraceView};

/// How deep blocks may stand in blocks.
const MAX_DEPTH: usize = 8;

/// The attachments of a trace: the request's, then the answer's, each in document order.
///
/// [`crate::media`] lists where they are looked for. Payloads that are empty, refer to something
/// elsewhere or cannot be decoded give none.
pub fn attachments(protocol: Protocol, trace: &TraceView<'_>) -> Vec<Attachment> {
    placed(protocol, trace).into_iter().map(|it| it.attachment).collect()
}

/// An attachment, and which text it was made of.
pub(crate) struct Placed {
    pub(crate) attachment: Attachment,
    /// Where the payload's text begins in memory; `None` if it was put together from pieces.
    pub(crate) of: Option<*const u8>,
}

/// As [`attachments`], each with its origin: for whoever shows the text with names in the place of payloads.
pub(crate) fn placed(protocol: Protocol, trace: &TraceView<'_>) -> Vec<Placed> {
    let needles = needles(protocol);
    if needles.is_empty() {
        return Vec::new();
    }
    // A stream has many texts: what is looked for is prepared once.
    let finders: Vec<memmem::Finder<'_>> = needles.iter().map(memmem::Finder::new).collect();
    let may_hold = |text: &str| finders.iter().any(|it| it.find(text.as_bytes()).is_some());
    let request = trace.request_json.unwrap_or("null");
    let mut found = Found { placed: Vec::new(), request: Json::new(request), voices: BTreeMap::new() };
    if may_hold(request) {
        found.in_request(protocol, Json::new(request));
    }
    match trace.answer {
        Answer::None => {}
        Answer::Json(text) => {
            if may_hold(text) {
                found.in_answer(protocol, Json::new(text));
            }
        }
        Answer::Events(events) => {
            let payloads = events.iter().filter_map(|event| event.data.json().map(|data| (event.name, data)));
            let payloads: Vec<_> = payloads.filter(|(_, data)| may_hold(data)).collect();
            let kind_of = |name: &'_ str, data: Json<'_>| -> String {
                data.get("type").and_then(Json::string).map_or_else(|| name.to_owned(), Cow::into_owned)
            };
            let has_items = protocol == Protocol::Responses
                && payloads.iter().any(|(name, data)| kind_of(name, Json::new(data)) == ITEM_DONE);
            for (name, data) in payloads {
                let data = Json::new(data);
                found.in_event(protocol, &kind_of(name, data), data, has_items);
            }
            found.end_voices();
        }
    }
    found.placed
}

/// Texts of which one stands in every body that holds an attachment.
fn needles(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Chat => &["image_url", "\"data\"", "file_data"],
        Protocol::Messages => &["base64"],
        Protocol::Responses => &["image_url", "\"data\"", "file_data", "image_generation_call", "data:"],
        Protocol::Gemini => &["inlineData", "inline_data"],
        Protocol::Images => &["b64_json"],
        _ => &[],
    }
}

/// The event that brings a finished item of a Responses answer.
const ITEM_DONE: &str = "response.output_item.done";

/// What has been found so far.
struct Found<'a> {
    placed: Vec<Placed>,
    request: Json<'a>,
    /// The audio of a Chat stream by choice.
    voices: BTreeMap<u64, Vec<u8>>,
}

impl Found<'_> {
    fn in_request(&mut self, protocol: Protocol, request: Json<'_>) {
        for (key, value) in request.members() {
            match (protocol, &*key) {
                (Protocol::Chat | Protocol::Messages, "messages")
                | (Protocol::Messages, "system")
                | (Protocol::Responses, "input") => self.blocks(value, 0),
                // A WebSocket message may wrap the request.
                (Protocol::Responses, "response") => self.blocks(value.get("input").unwrap_or(value), 0),
                (Protocol::Gemini, "contents" | "systemInstruction" | "system_instruction") => {
                    one_or_many(value).for_each(|content| self.gemini_parts(content, 0));
                }
                _ => {}
            }
        }
    }

    fn in_answer(&mut self, protocol: Protocol, answer: Json<'_>) {
        let get = |name: &str| answer.get(name).unwrap_or(Json::new("null"));
        match protocol {
            Protocol::Chat => {
                for choice in get("choices").elements() {
                    choice.get("message").into_iter().for_each(|message| self.block(message, 0));
                }
            }
            Protocol::Messages => self.blocks(get("content"), 0),
            Protocol::Responses => self.blocks(get("output"), 0),
            Protocol::Gemini => one_or_many(answer).for_each(|element| self.gemini_element(element)),
            Protocol::Images => {
                let format = answer.get("output_format").or_else(|| self.request.get("output_format"));
                for image in get("data").elements() {
                    self.image(image.get("b64_json"), format);
                }
            }
            _ => {}
        }
    }

    /// `has_items` tells that the items of a Responses stream come by themselves: then the final response, which
    /// holds them once more, is not looked at.
    fn in_event(&mut self, protocol: Protocol, kind: &str, data: Json<'_>, has_items: bool) {
        match (protocol, kind) {
            (Protocol::Chat, _) => {
                for choice in data.get("choices").iter().flat_map(|it| it.elements()) {
                    self.chat_delta(choice);
                }
            }
            (Protocol::Messages, "content_block_start") => {
                data.get("content_block").into_iter().for_each(|block| self.block(block, 0));
            }
            (Protocol::Responses, ITEM_DONE) => {
                data.get("item").into_iter().for_each(|item| self.block(item, 0));
            }
            (Protocol::Responses, "response.image_generation_call.partial_image") => {
                let [image, format] = data.pick(["partial_image_b64", "output_format"]);
                self.image(image, format);
            }
            (Protocol::Responses, "response.completed" | "response.incomplete" | "response.failed") if !has_items => {
                let output = data.get("response").and_then(|response| response.get("output"));
                output.into_iter().for_each(|output| self.blocks(output, 0));
            }
            (Protocol::Gemini, _) => self.gemini_element(data),
            (Protocol::Images, _) if kind.starts_with("image_generation.") || kind.starts_with("image_edit.") => {
                let [image, format] = data.pick(["b64_json", "output_format"]);
                self.image(image, format.or_else(|| self.request.get("output_format")));
            }
            _ => {}
        }
    }

    /// One block, or a list of them.
    fn blocks(&mut self, blocks: Json<'_>, depth: usize) {
        one_or_many(blocks).for_each(|block| self.block(block, depth));
    }

    /// A message, item or block: the table in [`crate::media`].
    fn block(&mut self, block: Json<'_>, depth: usize) {
        if depth == MAX_DEPTH {
            return;
        }
        let kind = block.get("type").and_then(Json::string).unwrap_or_default();
        for (key, value) in block.members() {
            match (&*kind, &*key) {
                ("image_url" | "input_image" | "computer_screenshot" | "", "image_url") => {
                    let url = if value.is_object() { value.get("url") } else { Some(value) };
                    self.payload(url, None);
                }
                ("input_audio" | "", "input_audio") => {
                    let [data, format] = value.pick(["data", "format"]);
                    self.payload(data, Some(&typed("audio", format, "")));
                }
                ("file", "file") => self.file(value.get("file_data")),
                ("input_file", "file_data") => self.file(Some(value)),
                ("image" | "document" | "", "source") => {
                    let [kind, data, mime] = value.pick(["type", "data", "media_type"]);
                    if kind.is_some_and(|it| it.is("base64")) {
                        self.payload(data, mime.and_then(Json::string).as_deref());
                    }
                }
                ("image", "url") => {
                    let url = Some(value).filter(|it| it.string().is_some_and(|url| url.starts_with("data:")));
                    self.payload(url, None);
                }
                ("image_generation_call", "result") => self.image(Some(value), block.get("output_format")),
                ("code_interpreter_call", "outputs")
                | ("function_call_output" | "custom_tool_call_output" | "computer_call_output", "output")
                | ("message" | "tool_result" | "web_fetch_tool_result" | "web_fetch_result" | "", "content")
                | ("", "images") => self.blocks(value, depth + 1),
                ("", "audio") => {
                    let mime = self.voice_type();
                    self.payload(value.get("data"), Some(&mime));
                }
                _ => {}
            }
        }
    }

    fn chat_delta(&mut self, choice: Json<'_>) {
        let [index, delta] = choice.pick(["index", "delta"]);
        let Some(delta) = delta else { return };
        for (key, value) in delta.members() {
            match &*key {
                "content" | "images" => self.blocks(value, 1),
                "audio" => {
                    let piece = value.get("data").and_then(Json::string).and_then(|data| bytes_of(&data));
                    let index = index.and_then(|it| it.text().parse().ok()).unwrap_or(0);
                    self.voices.entry(index).or_default().extend(piece.unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    fn end_voices(&mut self) {
        let mime = self.voice_type();
        let voices = std::mem::take(&mut self.voices).into_values().filter(|bytes| !bytes.is_empty());
        self.placed.extend(voices.map(|bytes| Placed { attachment: attachment(&mime, bytes), of: None }));
    }

    /// The type of the audio that a Chat request asks for.
    fn voice_type(&self) -> String {
        typed("audio", self.request.get("audio").and_then(|audio| audio.get("format")), "")
    }

    fn gemini_element(&mut self, element: Json<'_>) {
        for candidate in element.get("candidates").iter().flat_map(|it| it.elements()) {
            candidate.get("content").into_iter().for_each(|content| self.gemini_parts(content, 0));
        }
    }

    fn gemini_parts(&mut self, content: Json<'_>, depth: usize) {
        for part in content.get("parts").into_iter().flat_map(one_or_many) {
            for (key, value) in part.members() {
                match &*key {
                    "inlineData" | "inline_data" => {
                        let [data, mime, mime_snake] = value.pick(["data", "mimeType", "mime_type"]);
                        self.payload(data, mime.or(mime_snake).and_then(Json::string).as_deref());
                    }
                    "functionResponse" | "function_response" if depth == 0 => self.gemini_parts(value, 1),
                    _ => {}
                }
            }
        }
    }

    /// A base64 image of `format`, PNG if that is unknown.
    fn image(&mut self, image: Option<Json<'_>>, format: Option<Json<'_>>) {
        self.payload(image, Some(&typed("image", format, "png")));
    }

    fn payload(&mut self, payload: Option<Json<'_>>, declared: Option<&str>) {
        let found = payload.and_then(|it| Some(placed_at(it, decoded(&it.string()?, declared)?)));
        self.placed.extend(found);
    }

    /// A payload that says its type, if at all, only as a `data:` URL.
    fn file(&mut self, payload: Option<Json<'_>>) {
        let Some((payload, text)) = payload.and_then(|it| Some((it, it.string()?))) else { return };
        let Some(found) = decoded(&text, None) else { return };
        let is_typed = text.trim_start().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"));
        let mime = if is_typed { found.mime } else { sniffed(&found.bytes).to_owned() };
        self.placed.push(placed_at(payload, attachment(&mime, found.bytes)));
    }
}

fn placed_at(payload: Json<'_>, attachment: Attachment) -> Placed {
    Placed { attachment, of: Some(payload.text().as_ptr()) }
}

/// The elements of a list, or the object that stands in its stead.
fn one_or_many(json: Json<'_>) -> impl Iterator<Item = Json<'_>> {
    json.elements().chain(Some(json).filter(|it| it.is_object()))
}

/// `<family>/<format>`; an unknown format is `default`, and the type unknown if that is empty.
fn typed(family: &str, format: Option<Json<'_>>, default: &str) -> String {
    let format = format.and_then(Json::string).filter(|it| !it.is_empty()).unwrap_or(default.into());
    if format.is_empty() { String::new() } else { format!("{family}/{format}") }
}
