//! What stands on the wire: codings, event streams, JSON text and WebSocket frames.

pub mod websocket;
