//! The program: what runs, what it hears, who starts it again.

#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the system that uses it is not composed yet"))]
mod kit;

fn main() {}
