//! The launcher: runs in the shell's place.
fn main() {}
