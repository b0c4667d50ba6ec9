//! What stands on the wire: codings, event streams, JSON text and WebSocket frames.

pub mod array;
pub mod decode;
pub mod json;
pub mod sse;
pub mod websocket;
