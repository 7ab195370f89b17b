//! Repository lint.

fn main() {}
