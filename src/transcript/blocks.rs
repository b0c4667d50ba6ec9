//! Blocks, items and parts of all protocols, read into [`Part`]s. Their names do not contradict each other.

use std::collections::HashMap;

use super::{Media, Part};
use crate::json::Json;
use crate::media::Placed;

/// How deep blocks may stand in blocks.
const MAX_DEPTH: usize = 8;

/// The names of a trace's attachments, by where their payloads stand in memory.
pub(super) struct Names {
    placed: HashMap<*const u8, Media>,
    /// Those put together from pieces.
    pub(super) joined: Vec<Media>,
}

impl Names {
    pub(super) fn of(placed: Vec<Placed>) -> Names {
        let mut names = Names { placed: HashMap::new(), joined: Vec::new() };
        for (number, Placed { attachment, of }) in placed.into_iter().enumerate() {
            let name = format!("{number}.{}", attachment.extension);
            let media = Media { name, mime: attachment.mime, bytes: Some(attachment.bytes.len()) };
            match of {
                Some(at) => drop(names.placed.insert(at, media)),
                None => names.joined.push(media),
            }
        }
        names
    }

    /// The attachment made of this payload; else what it refers to.
    pub(super) fn media(&self, payload: Json<'_>, mime: Option<Json<'_>>) -> Part {
        if let Some(media) = self.placed.get(&payload.text().as_ptr()) {
            return Part::Media(media.clone());
        }
        let mime = string(mime);
        let text = string(Some(payload));
        let is_reference = text.len() < 2048 && !text.starts_with("data:");
        let name = if is_reference { text } else { format!("({} characters that cannot be decoded)", text.len()) };
        Part::Media(Media { name, mime, bytes: None })
    }
}

/// The string that a member is, `""` if it is none.
pub(super) fn string(member: Option<Json<'_>>) -> String {
    member.and_then(Json::string).unwrap_or_default().into_owned()
}

/// A string's text, any other value's JSON.
pub(super) fn text_of(value: Json<'_>) -> String {
    value.string().map_or_else(|| value.text().to_owned(), Into::into)
}

/// Adds a text unless it is empty.
pub(super) fn push_text(parts: &mut Vec<Part>, text: String, part: impl FnOnce(String) -> Part) {
    if !text.is_empty() {
        parts.push(part(text));
    }
}

/// A `content`: a string, a block, or a list of blocks.
pub(super) fn content(parts: &mut Vec<Part>, value: Json<'_>, names: &Names) {
    blocks(parts, value, names, 0);
}

fn blocks(parts: &mut Vec<Part>, value: Json<'_>, names: &Names, depth: usize) {
    if let Some(text) = value.string() {
        push_text(parts, text.into_owned(), Part::Text);
    } else if value.is_array() {
        value.elements().for_each(|element| blocks(parts, element, names, depth));
    } else if value.is_object() {
        block(parts, value, names, depth);
    }
}

/// One block of Chat, Messages or Responses.
fn block(parts: &mut Vec<Part>, block: Json<'_>, names: &Names, depth: usize) {
    let kind = string(block.get("type"));
    let get = |name: &str| block.get(name);
    let nested = |value: Option<Json<'_>>| {
        let mut parts = Vec::new();
        if depth < MAX_DEPTH {
            value.into_iter().for_each(|it| blocks(&mut parts, it, names, depth + 1));
        }
        parts
    };
    match kind.as_str() {
        "text" | "input_text" | "output_text" | "summary_text" => push_text(parts, string(get("text")), Part::Text),
        "thinking" => push_text(parts, string(get("thinking")), Part::Reasoning),
        "redacted_thinking" => parts.push(Part::Reasoning("(encrypted)".to_owned())),
        "reasoning_text" => push_text(parts, string(get("text")), Part::Reasoning),
        "reasoning" => reasoning(parts, block),
        "refusal" => push_text(parts, string(get("refusal")), |text| Part::Other { kind, text }),
        "image_url" | "input_image" | "computer_screenshot" if get("image_url").is_some() => {
            let url = get("image_url").map(|it| if it.is_object() { it.get("url").unwrap_or(it) } else { it });
            parts.extend(url.map(|url| names.media(url, None)));
        }
        "input_audio" => {
            let [data, format] = get("input_audio").map_or([None; 2], |it| it.pick(["data", "format"]));
            parts.extend(data.map(|data| names.media(data, format)));
        }
        "file" | "input_file" | "input_image" => {
            let file = get("file").unwrap_or(block);
            let [data, url, id, name] = file.pick(["file_data", "file_url", "file_id", "filename"]);
            parts.extend(data.or(url).or(id).or(name).map(|it| names.media(it, None)));
        }
        "image" | "document" => source(parts, block, names, &nested),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => parts.push(Part::Call {
            name: string(get("name")),
            id: string(get("id")),
            arguments: get("input").map_or_else(String::new, |it| it.text().to_owned()),
        }),
        "function_call" | "custom_tool_call" | "mcp_call" => parts.push(Part::Call {
            name: string(get("name")),
            id: string(get("call_id").or(get("id"))),
            arguments: get("arguments").or(get("input")).map_or_else(String::new, text_of),
        }),
        kind if kind.ends_with("_call_output") => {
            parts.push(Part::Result { of: string(get("call_id")), is_error: false, parts: nested(get("output")) })
        }
        kind if kind.ends_with("tool_result") => parts.push(Part::Result {
            of: string(get("tool_use_id")),
            is_error: get("is_error").is_some_and(|it| it.text() == "true"),
            parts: nested(get("content")),
        }),
        "image_generation_call" => {
            parts.extend(get("result").filter(|it| it.is_string()).map(|it| names.media(it, get("output_format"))));
        }
        kind if kind.ends_with("_call") => parts.push(Part::Call {
            name: kind.trim_end_matches("_call").to_owned(),
            id: string(get("call_id").or(get("id"))),
            arguments: get("action").or(get("code")).or(get("query")).map_or_else(String::new, text_of),
        }),
        "message" => parts.extend(nested(get("content"))),
        "" if get("text").is_some() => push_text(parts, string(get("text")), Part::Text),
        "" if get("content").is_some() => parts.extend(nested(get("content"))),
        kind => parts.push(Part::Other { kind: kind.to_owned(), text: block.text().to_owned() }),
    }
}

/// An item of Responses' thoughts: its summary, else its text, else only that it is there.
fn reasoning(parts: &mut Vec<Part>, item: Json<'_>) {
    let before = parts.len();
    let [summary, content, encrypted] = item.pick(["summary", "content", "encrypted_content"]);
    for piece in summary.into_iter().chain(content).flat_map(Json::elements) {
        push_text(parts, string(piece.get("text")), Part::Reasoning);
    }
    if parts.len() == before && encrypted.is_some_and(Json::is_string) {
        parts.push(Part::Reasoning("(encrypted)".to_owned()));
    }
}

/// A block of Messages that is a file: what its `source` says.
fn source(parts: &mut Vec<Part>, block: Json<'_>, names: &Names, nested: &dyn Fn(Option<Json<'_>>) -> Vec<Part>) {
    let [source, url] = block.pick(["source", "url"]);
    let source = source.unwrap_or(block);
    let [data, of_url, file, mime, content] = source.pick(["data", "url", "file_id", "media_type", "content"]);
    match (data.or(of_url).or(file).or(url), content) {
        (Some(payload), _) if !mime.is_some_and(|it| it.is("text/plain")) => parts.push(names.media(payload, mime)),
        (Some(text), _) => parts.push(Part::Text(string(Some(text)))),
        (None, content) => parts.extend(nested(content)),
    }
}

/// The parts of a Gemini content.
pub(super) fn gemini_parts(parts: &mut Vec<Part>, content: Json<'_>, names: &Names, depth: usize) {
    let list = content.get("parts").unwrap_or(content);
    let one = Some(list).filter(|it| it.is_object());
    for part in list.elements().chain(one) {
        let is_thought = part.get("thought").is_some_and(|it| it.text() == "true");
        for (name, value) in part.members() {
            match &*name {
                "text" => {
                    let kind = if is_thought { Part::Reasoning } else { Part::Text };
                    push_text(parts, string(Some(value)), kind);
                }
                "functionCall" | "function_call" => parts.push(Part::Call {
                    name: string(value.get("name")),
                    id: string(value.get("id")),
                    arguments: value.get("args").map_or_else(String::new, |it| it.text().to_owned()),
                }),
                "functionResponse" | "function_response" => {
                    let [id, name, response] = value.pick(["id", "name", "response"]);
                    let mut given = Vec::new();
                    given.extend(response.map(|it| Part::Text(text_of(it))));
                    if value.get("parts").is_some() && depth == 0 {
                        gemini_parts(&mut given, value, names, 1);
                    }
                    parts.push(Part::Result { of: string(id.or(name)), is_error: false, parts: given });
                }
                "inlineData" | "inline_data" => {
                    let [data, mime, snake] = value.pick(["data", "mimeType", "mime_type"]);
                    parts.extend(data.map(|data| names.media(data, mime.or(snake))));
                }
                "fileData" | "file_data" => {
                    let [uri, snake, mime] = value.pick(["fileUri", "file_uri", "mimeType"]);
                    parts.extend(uri.or(snake).map(|uri| names.media(uri, mime)));
                }
                "executableCode" | "executable_code" => {
                    parts.push(Part::Other { kind: "code".to_owned(), text: string(value.get("code")) });
                }
                "codeExecutionResult" | "code_execution_result" => {
                    parts.push(Part::Other { kind: "code result".to_owned(), text: string(value.get("output")) });
                }
                _ => {}
            }
        }
    }
}
