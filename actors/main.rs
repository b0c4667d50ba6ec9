//! The program: what runs, what it hears, who starts it again.

fn main() {}
