//! Swift, Xcode, Dart, Flutter, Zig, and what else has one tool for everything.

use super::super::call::{Found, is};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["swift"], |call| match call.word(1) {
        b"test" => is(Class::Test),
        b"build" => is(Class::Build),
        b"package" => match call.word(2) {
            b"describe" | b"show-dependencies" | b"dump-package" => is(Class::Explore),
            b"init" | b"clean" | b"edit" => is(Class::Edit),
            _ => is(Class::Install),
        },
        _ => is(Class::Run),
    }),
    by(&["xcodebuild", "xctool", "fastlane", "tuist"], |call| {
        let has = |names: &[&str]| call.has(names);
        is(if has(&["test", "test-without-building", "scan"]) {
            Class::Test
        } else if has(&["-list", "-showsdks", "-showBuildSettings", "-showdestinations", "lanes"]) {
            Class::Explore
        } else if has(&["install", "fetch"]) && call.program() == b"tuist" {
            Class::Install
        } else {
            Class::Build
        })
    }),
    by(&["xcrun"], |call| match call.operand(1, &["--sdk", "--toolchain", "-sdk"]) {
        Some(index) => Found::Through(index),
        None => is(Class::Explore),
    }),
    all(Class::Build, &["swiftc", "actool", "ibtool", "lipo"]),
    all(
        Class::Run,
        &["swiftlint", "swiftformat", "swift-format", "simctl", "adb", "emulator", "maestro", "appium"],
    ),
    all(Class::Install, &["carthage", "mint", "xcodes", "fvm"]),
    verbs(
        &["flutter", "dart", "melos", "very_good"],
        Verbs {
            with_value: &["-d", "--device-id"],
            verbs: &[
                verb(Class::Test, &["test", "drive"]),
                verb(Class::Build, &["build", "compile", "assemble", "gen-l10n"]),
                verb(
                    Class::Install,
                    &["pub", "upgrade", "precache", "create", "bootstrap", "bs", "packages"],
                ),
                verb(Class::Explore, &["doctor", "devices", "info", "--version", "channel", "list"]),
                verb(Class::Edit, &["clean"]),
            ],
            bare: Class::Run,
            other: Class::Run,
        },
    ),
    by(&["zig"], |call| match (call.word(1), call.word(2)) {
        (b"test", _) | (b"build", b"test") => is(Class::Test),
        (b"run" | b"fmt", _) | (b"build", b"run") => is(Class::Run),
        (b"" | b"version" | b"env" | b"targets" | b"zen" | b"help" | b"libc" | b"std", _) => {
            is(Class::Explore)
        }
        (b"fetch", _) => is(Class::Install),
        (b"init" | b"init-exe" | b"init-lib", _) => is(Class::Edit),
        _ => is(Class::Build),
    }),
    verbs(
        &[
            "v", "odin", "vlang", "moonbit", "gdscript", "c3c", "dub", "fpm", "alr", "haxelib", "scarb",
            "nargo", "sui", "aptos", "near", "snforge", "aiken",
        ],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(Class::Test, &["test", "t"]),
                verb(Class::Run, &["run", "fmt"]),
                verb(Class::Install, &["install", "fetch", "add", "update", "upgrade"]),
                verb(Class::Explore, &["version", "help", "list", "search"]),
                verb(Class::Edit, &["init", "new", "clean"]),
            ],
            bare: Class::Build,
            other: Class::Build,
        },
    ),
];
