//! What is true about exchanges, traces, buckets and sessions.
//!
//! This half of api-log starts nothing and awaits nothing: no runtime, no actor, no socket.
//! Blocking file and SQLite calls are allowed. The program in `actors/` decides when they run.
//!
//! # The vocabulary
//!
//! | Word | Meaning |
//! |---|---|
//! | exchange | one request and its answer, as they passed on the wire |
//! | recording | one direction's body bytes with the moments of their arrival |
//! | capture | a recording that is still under way |
//! | log | a capture as bytes: its records in order of arrival |
//! | chunk | a stretch of a log in memory |
//! | arena | the memory of all logs, which survives the process |
//! | spool | a prefix of a log on disk |
//! | trace | an exchange as recorded: one JSON line and one row |
//! | bucket | one UTC day of one key: `(date, first 8 hex digits of the key hash)` |
//! | segment | one file of a bucket; a busy bucket has several, numbered from 0 |
//! | sealed | of a segment: finished, and compressed in blocks that are read one by one |
//! | block | whole lines of a sealed segment, compressed by themselves: a zstd frame, a gzip member |
//! | place | where a line stands: segment, offset and length |
//! | lease | the right to use a bucket's files; shared by users, exclusive to delete |
//! | frame | one WebSocket frame; an SSE stream has *events* |
//! | socket | an upgraded connection; it is recorded by turns or in parts |
//! | turn | one request and its answer on a socket that carries many |
//! | part | a stretch of a socket without turns |
//! | script | a trace's events, ready to be sent again; one being sent is a *playback* |
//! | instance | a plugin as an operator configured it: type, id, switch, configuration |
//! | set | the instances that act, unchangeable; an exchange keeps the one that it began under |
//! | note | what an instance did to an exchange |
//! | placeholder | what stands in place of a redacted value |
//! | transcript | what was said in a trace, read for people: messages of parts |
//! | scope | what a token of the read API is good for: *viewer* reads, *admin* changes too |
//! | keyring | the tokens that the read API accepts |
//! | site | the files of the web viewer that are served; a *release* of it is fetched and unpacked into one |
//! | work | a long task that tells how far it is, and can be called off |
//! | ledger | the accounting `accepted = recorded + filtered + dropped + in flight` |

pub mod described;
pub mod ids;

pub mod exchange;
pub mod headers;
pub mod recording;
pub mod work;

mod json;
pub mod wire;

pub mod client;
pub mod project;
pub mod protocol;
pub mod session;

pub mod socket;

pub mod trace;

pub mod media;

pub mod transcript;

pub mod diff;

pub mod jsonl;
pub mod store;

pub mod recordings;
pub mod replay;

pub mod capture;

pub mod index;

pub mod curl;
pub mod export;
pub mod otlp;
pub mod verify;

pub mod redact;

pub mod plugin;

pub mod access;

pub mod config;
pub mod counters;

pub mod viewer;
