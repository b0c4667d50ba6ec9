//! Attachments inside bodies, copied to files beside the line. The line keeps them as they were.
//!
//! A payload counts only in a place that its protocol gives it.
//!
//! # Places
//!
//! | Protocol | Request | Answer | Events |
//! |---|---|---|---|
//! | Chat | `messages[]` | `choices[].message` | `choices[].delta` |
//! | Messages | `system[]`, `messages[]` | `content[]` | `content_block` of `content_block_start` |
//! | Responses | `input[]` | `output[]` | `item` of `response.output_item.done`, else the final `response.output[]` |
//! | Gemini | `contents`, `systemInstruction` | `candidates[].content` | the same, per element |
//! | Images | – | `data[].b64_json` | `b64_json` of `image_generation.*` and `image_edit.*` |
//! | others | – | – | – |
//!
//! # Carriers in Chat, Messages and Responses
//!
//! Messages, items and blocks are objects with a `type` (one without is a message or a block of unsaid type), and
//! only these members of theirs are looked at:
//!
//! | `type` | Member | Holds |
//! |---|---|---|
//! | `image_url`, `input_image`, `computer_screenshot`, none | `image_url` | a payload, or an object with `url` |
//! | `input_audio`, none | `input_audio` | `data` of type `audio/<format>` |
//! | `file` | `file` | an object with `file_data` |
//! | `input_file` | `file_data` | a payload |
//! | `image`, `document`, none | `source` | if its `type` is `base64`: `data` of type `media_type` |
//! | `image` | `url` | a `data:` URL |
//! | `image_generation_call` | `result` | an image of type `output_format`, else PNG |
//! | `code_interpreter_call` | `outputs` | blocks |
//! | `function_call_output`, `custom_tool_call_output`, `computer_call_output` | `output` | blocks |
//! | `message`, `tool_result`, `web_fetch_tool_result`, `web_fetch_result`, none | `content` | blocks |
//! | none | `images` | blocks |
//! | none | `audio` | `data` of the request's `audio.format` |
//!
//! So nothing in a tool's input or a schema is taken for an attachment. The audio pieces of a Chat stream are one
//! attachment per choice, behind the others. A Responses stream also has
//! `response.image_generation_call.partial_image` with `partial_image_b64`.
//!
//! # Carriers in Gemini
//!
//! `parts[].inlineData` (`inline_data`), and the same in `parts[].functionResponse.parts[]`: `data` of type
//! `mimeType` (`mime_type`).

mod carriers;
mod folder;
mod mime;
mod payload;

pub use carriers::attachments;
pub(crate) use carriers::{Placed, placed};
pub use folder::{WriteError, Written, count, find, is_unfinished, write};
pub use mime::{extension_of, mime_of};

/// One decoded attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its media type.
    pub mime: String,
    /// The file name extension that stands for the type.
    pub extension: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[cfg(test)]
mod tests;
