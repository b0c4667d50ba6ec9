//! The data dir: its paths, leases and limits.
