//! What stands on the wire: codings, content types, event streams, JSON text and WebSocket frames.

pub mod array;
pub mod decode;
pub mod json;
pub mod media_type;
pub mod sse;
pub mod websocket;
