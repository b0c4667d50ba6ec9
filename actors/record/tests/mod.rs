//! WebSockets through the whole recorder in this process.

mod peer;
mod rig;
mod sockets;
