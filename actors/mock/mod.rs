//! The mock gateway: answers like a real LLM gateway, costs nothing, and misbehaves on demand.
//!
//! `api-log demo`, the development stack and the SDK tests talk to it. Its answers depend on the
//! request alone (an echo of the last user text, word counts as token counts, ids and times from a
//! counter), so that two runs, or a run with and one without the recorder, can be compared.
//!
//! # What it speaks
//!
//! | Path ends in | Answer |
//! |---|---|
//! | `/chat/completions` | OpenAI Chat; also `/openai/deployments/{model}/chat/completions` |
//! | `/completions` | OpenAI legacy completions |
//! | `/responses` | OpenAI Responses; with `Upgrade: websocket`, one turn per `response.create` message |
//! | `/embeddings`, `/images/generations`, `/images/edits` | OpenAI embeddings (float, base64), images |
//! | `/audio/speech`, `/audio/transcriptions`, `/audio/translations` | OpenAI audio, bytes and multipart |
//! | `/messages`, `/messages/count_tokens` | Anthropic Messages |
//! | `:generateContent`, `:streamGenerateContent`, `:countTokens`, `:batchEmbedContents` | Gemini |
//! | `/models`, `/models/{id}` | the model list, in the asking vendor's form |
//! | `/`, `/health` | `{"status":"ok"}` |
//!
//! A tool is called when the request offers one and the last user message contains its name or the
//! word "tool", or when the request forces it. Requests may be compressed (`gzip`, `deflate`, `br`,
//! `zstd`); JSON answers are gzipped for clients that accept it.
//!
//! # From recordings
//!
//! With [`Recorded`] it makes nothing up: it answers with what was recorded, at the recorded pace, and with 404 where
//! nothing was ([`recordings`](api_log::recordings) tells which exchange answers).
//!
//! # How to make it misbehave
//!
//! Every wish can be a header (`x-mock-fault: stall`) or a query parameter (`?mock-fault=stall`);
//! a fault can also be the model's name (`"model": "stall"`).
//!
//! | Wish | Values |
//! |---|---|
//! | `mock-fault` | a [`Fault`](wish::Fault), below |
//! | `mock-delay-ms` | pause before each event of a stream, or before a whole answer |
//! | `mock-encoding` | `gzip`, `deflate`, `br`, `zstd`: encodes any answer, streams too (flushed per event) |
//! | `mock-size` | pads the answer's text to so many bytes, up to 64 MiB |
//!
//! | Fault | Effect |
//! |---|---|
//! | `error-400` … `error-599` | that status and the protocol's error body; `error-529` has an empty reason phrase |
//! | `error-mid-stream` | half the events, then the protocol's error event, then an orderly end |
//! | `cut-mid-stream` | half the answer, then a TCP reset |
//! | `close-mid-stream` | half the answer, then the connection is closed without an end |
//! | `stall` | half the answer, then silence until the client leaves |
//! | `slow` | 250 ms before each event |
//! | `no-terminator` | every event but the protocol's last word, then an orderly end |
//! | `early-answer` | 413 before the request's body was read (header or query only) |
//! | `one-chunk` | the whole stream in one piece |
//! | `bare-events` | an event stream without `event:` lines, closed by `[DONE]` |
//! | `json-for-stream` | a JSON answer although a stream was asked for |
//! | `stream-500` | the stream, but with status 500 |

mod wish;

mod answer;
mod question;

mod body;
mod call;
mod coding;
mod reply;

mod anthropic;
mod gemini;
mod openai_audio;
mod openai_chat;
mod openai_images;
mod openai_lists;
mod openai_responses;
mod openai_sockets;

mod recorded;
mod route;
mod server;

#[cfg(test)]
mod tests;

pub(crate) use recorded::Recorded;
pub(crate) use server::{Mock, Options, start};
