//! The program: what runs, what it hears, who starts it again.

#[expect(unused_imports, reason = "the system that uses it is not composed yet")]
#[cfg_attr(not(test), expect(dead_code, reason = "the system that uses it is not composed yet"))]
mod kit;

fn main() {}
