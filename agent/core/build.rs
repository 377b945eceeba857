//! Has the crate built anew when a profile comes or goes: the compiler only sees those that are there.

fn main() {
    println!("cargo::rerun-if-changed=../profiles");
}
