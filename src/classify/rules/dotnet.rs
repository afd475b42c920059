//! .NET.

use super::super::call::is;
use super::super::entry::{Entry, all, by};
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["dotnet"], |call| match (call.word(1), call.word(2)) {
        (b"test" | b"vstest", _) => is(Class::Test),
        (b"build" | b"publish" | b"msbuild" | b"pack", _) => is(Class::Build),
        (b"tool" | b"workload" | b"nuget" | b"sdk", b"list" | b"search" | b"check") => is(Class::Explore),
        (b"list" | b"--info" | b"--list-sdks" | b"--list-runtimes" | b"", _) => is(Class::Explore),
        (b"restore" | b"add" | b"remove" | b"workload" | b"package", _) => is(Class::Install),
        (b"tool", b"run") => is(Class::Run),
        (b"tool", _) => is(Class::Install),
        (b"new" | b"sln" | b"clean", _) => is(Class::Edit),
        _ => is(Class::Run),
    }),
    all(Class::Test, &["vstest.console", "xunit.console", "nunit3-console", "mstest"]),
    all(Class::Build, &["msbuild", "xbuild", "csc", "mcs", "vbc", "fsc", "fsharpc", "nuke", "cake", "fake"]),
    all(Class::Install, &["nuget", "paket"]),
    all(Class::Run, &["mono", "csi", "fsi", "csharp", "dotnet-script", "csharpier"]),
];
