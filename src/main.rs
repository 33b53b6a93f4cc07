//! The binary, whose work is in the library.
fn main() {}
