//! Rust.

use super::super::call::{Call, Found, is};
use super::super::entry::{Entry, all, by};
use super::tasks;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["cargo", "cross"], cargo),
    all(Class::Test, &["cargo-nextest", "trybuild"]),
    all(Class::Build, &["rustc", "rustdoc", "bindgen", "cbindgen", "trunk", "mdbook"]),
    all(
        Class::Run,
        &["rustfmt", "cargo-fmt", "cargo-clippy", "clippy-driver", "miri", "rust-analyzer", "evcxr"],
    ),
    by(&["rustup"], |call| {
        let asks = match (call.word(1), call.word(2)) {
            (b"show" | b"which" | b"check" | b"doc" | b"", _) => true,
            (b"toolchain" | b"target" | b"component", verb) => verb == b"list",
            (b"run", _) if call.words.len() > 3 => return Found::Through(3),
            _ => false,
        };
        is(if asks { Class::Explore } else { Class::Install })
    }),
    by(&["wasm-pack"], |call| match call.word(1) {
        b"test" => is(Class::Test),
        b"new" => is(Class::Edit),
        _ => is(Class::Build),
    }),
];

const VALUES: &[&str] = &["--manifest-path", "--config", "-Z", "-C", "--color", "--target-dir"];

fn cargo(call: &Call<'_>) -> Found {
    // `cargo +nightly test`
    let from = if call.word(1).starts_with(b"+") { 2 } else { 1 };
    let Some(index) = call.operand(from, VALUES) else {
        return is(Class::Explore);
    };
    match call.word(index) {
        b"test" | b"t" | b"nextest" | b"tarpaulin" | b"llvm-cov" | b"insta" | b"mutants" | b"careful"
        | b"hack" | b"fuzz" | b"kani" => is(Class::Test),
        b"miri" => is(if call.word(index + 1) == b"test" { Class::Test } else { Class::Run }),
        b"build" | b"b" | b"check" | b"c" | b"doc" | b"d" | b"rustc" | b"rustdoc" | b"zigbuild" | b"ndk"
        | b"xbuild" | b"package" | b"dist" | b"leptos" | b"tauri" | b"component" | b"bloat" | b"asm"
        | b"expand" => is(Class::Build),
        b"install" | b"binstall" | b"uninstall" | b"fetch" | b"update" | b"vendor" | b"generate-lockfile"
        | b"add" | b"remove" | b"rm" | b"upgrade" => is(Class::Install),
        b"new" | b"init" | b"clean" | b"sort" | b"generate" => is(Class::Edit),
        b"tree" | b"metadata" | b"search" | b"info" | b"pkgid" | b"locate-project" | b"read-manifest"
        | b"verify-project" | b"version" | b"help" | b"outdated" | b"config" | b"report" => {
            is(Class::Explore)
        }
        b"make" | b"xtask" => is(call.words[index + 1..]
            .iter()
            .filter_map(|word| tasks::class(&word.text))
            .min()
            .unwrap_or(Class::Run)),
        _ => is(Class::Run),
    }
}
