//! Observers and mutators of traffic.
