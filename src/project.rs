//! For what project a request was sent.
