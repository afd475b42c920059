//! JavaScript's package managers: npm, yarn, pnpm, bun, deno.

use super::super::call::{Call, Found, is, one_of};
use super::super::entry::{Entry, all, by};
use super::super::index;
use super::tasks;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["npm", "cnpm"], npm),
    by(&["pnpm"], pnpm),
    by(&["yarn", "yarnpkg"], yarn),
    by(&["bun"], bun),
    by(&["deno"], deno),
    by(&["npx", "bunx", "pnpx", "dlx"], |call| execute(call, 1)),
    by(&["corepack"], |call| match call.word(1) {
        b"pnpm" | b"yarn" | b"npm" => Found::Through(1),
        b"" => is(Class::Explore),
        _ => is(Class::Install),
    }),
    all(
        Class::Install,
        &[
            "ncu",
            "npm-check-updates",
            "bower",
            "jspm",
            "create-react-app",
            "create-vite",
            "create-next-app",
            "degit",
        ],
    ),
];

const VALUES: &[&str] = &[
    "--prefix",
    "-C",
    "--cwd",
    "--dir",
    "-w",
    "--workspace",
    "--filter",
    "-F",
    "--loglevel",
    "--registry",
    "--userconfig",
    "--cache",
    "--mutex",
    "--network-timeout",
    "--config",
];

/// A script of package.json: its name tells; what it tells nothing of, runs.
fn script(call: &Call<'_>, index: usize) -> Found {
    match call.operand(index, VALUES) {
        Some(name) => is(tasks::class(call.word(name)).unwrap_or(Class::Run)),
        // `npm run` alone lists the scripts.
        None => is(Class::Explore),
    }
}

/// A package's program: as if it were called by its name. One that isn't known is fetched and run.
fn execute(call: &Call<'_>, from: usize) -> Found {
    if let Some(script) = call.value(&["-c", "--call"]) {
        return Found::Script(script);
    }
    match call.operand(from, &["-p", "--package", "-w", "--workspace", "--prefix"]) {
        Some(at) => match index::find(call.word(at)) {
            _ if call.word(at).starts_with(b"create-") => is(Class::Install),
            _ if call.word(at).starts_with(b"@") => scoped(call, at),
            Some(_) => Found::Through(at),
            None => is(Class::Run),
        },
        None => is(Class::Explore),
    }
}

/// `@scope/package`: what is known of some of them.
fn scoped(call: &Call<'_>, index: usize) -> Found {
    match call.word(index) {
        name if name.starts_with(b"@playwright/test") || name.starts_with(b"@playwright/cli") => {
            is(if one_of(call.word(index + 1), &["install"]) { Class::Install } else { Class::Test })
        }
        name if name.starts_with(b"@anthropic-ai/claude-code")
            || name.starts_with(b"@openai/codex")
            || name.starts_with(b"@google/gemini-cli") =>
        {
            super::super::call::unplaced(super::super::Kind::Agent)
        }
        name if name.starts_with(b"@angular/cli") && call.word(index + 1) == b"test" => is(Class::Test),
        name if name.starts_with(b"@angular/cli") && call.word(index + 1) == b"build" => is(Class::Build),
        name if name.starts_with(b"@vue/cli") || name.starts_with(b"@nestjs/cli") => is(Class::Install),
        _ => is(Class::Run),
    }
}

fn npm(call: &Call<'_>) -> Found {
    let Some(index) = call.operand(1, VALUES) else {
        return is(Class::Explore);
    };
    match call.word(index) {
        b"test" | b"t" | b"tst" | b"it" | b"install-test" | b"cit" | b"install-ci-test" => is(Class::Test),
        b"run" | b"run-script" | b"rum" | b"urn" => script(call, index + 1),
        b"exec" | b"x" => execute(call, index + 1),
        b"ls" | b"list" | b"ll" | b"la" | b"view" | b"info" | b"show" | b"v" | b"outdated" | b"root"
        | b"bin" | b"prefix" | b"search" | b"why" | b"explain" | b"whoami" | b"ping" | b"doctor"
        | b"help" | b"fund" | b"query" | b"sbom" | b"docs" | b"repo" | b"get" | b"find-dupes" => {
            is(Class::Explore)
        }
        b"audit" => is(if call.has(&["fix"]) { Class::Install } else { Class::Explore }),
        b"config" | b"c" => is(if one_of(call.word(index + 1), &["set", "delete", "edit"]) {
            Class::Edit
        } else {
            Class::Explore
        }),
        b"set" | b"pkg" | b"version" => is(Class::Edit),
        b"start" | b"stop" | b"restart" | b"publish" | b"login" | b"logout" | b"pack" | b"token"
        | b"cache" | b"deprecate" | b"unpublish" => is(Class::Run),
        // install, ci, add, update, uninstall, link, init, create, rebuild, prune, dedupe …
        _ => is(Class::Install),
    }
}

fn pnpm(call: &Call<'_>) -> Found {
    let Some(index) = call.operand(1, VALUES) else {
        return is(Class::Explore);
    };
    match call.word(index) {
        b"exec" | b"dlx" => execute(call, index + 1),
        b"install" | b"i" | b"add" | b"update" | b"up" | b"remove" | b"rm" | b"import" | b"fetch"
        | b"rebuild" | b"rb" | b"prune" | b"link" | b"ln" | b"dedupe" | b"init" | b"create" | b"setup"
        | b"env" | b"deploy" | b"patch" | b"uninstall" | b"un" | b"recursive" | b"ci" | b"approve-builds" => {
            is(Class::Install)
        }
        b"why" | b"store" | b"licenses" | b"cat-file" => is(Class::Explore),
        b"test" | b"t" | b"run" | b"ls" | b"list" | b"ll" | b"outdated" | b"audit" | b"root" | b"bin"
        | b"view" | b"info" | b"start" | b"publish" | b"pack" | b"config" | b"doctor" => npm(call),
        _ => bare_script(call, index),
    }
}

/// `yarn jest`, `pnpm build`: a script of package.json or a package's program.
fn bare_script(call: &Call<'_>, index: usize) -> Found {
    match tasks::of_script(call.word(index)) {
        Some(class) => is(class),
        None if index::find(call.word(index)).is_some() => Found::Through(index),
        None => is(Class::Run),
    }
}

fn yarn(call: &Call<'_>) -> Found {
    let Some(index) = call.operand(1, VALUES) else {
        return is(if call.has(&["-v"]) { Class::Explore } else { Class::Install });
    };
    match call.word(index) {
        b"install"
        | b"add"
        | b"remove"
        | b"upgrade"
        | b"up"
        | b"global"
        | b"link"
        | b"unlink"
        | b"dedupe"
        | b"import"
        | b"init"
        | b"create"
        | b"set"
        | b"plugin"
        | b"rebuild"
        | b"autoclean"
        | b"upgrade-interactive"
        | b"patch" => is(Class::Install),
        b"test" => is(Class::Test),
        b"run" => match call.operand(index + 1, VALUES) {
            Some(name) => bare_script(call, name),
            None => is(Class::Explore),
        },
        b"exec" | b"dlx" => execute(call, index + 1),
        b"node" => Found::Through(index),
        b"list" | b"info" | b"why" | b"outdated" | b"audit" | b"versions" | b"licenses" | b"bin"
        | b"help" | b"npm" => is(Class::Explore),
        b"config" | b"cache" | b"pack" | b"publish" | b"version" | b"start" => is(Class::Run),
        b"workspace" => match call.operand(index + 2, VALUES) {
            Some(name) => bare_script(call, name),
            None => is(Class::Explore),
        },
        b"workspaces" => match call.words[index..].iter().position(|word| *word.text == *b"run") {
            Some(run) => script(call, index + run + 1),
            None => is(Class::Run),
        },
        _ => bare_script(call, index),
    }
}

fn bun(call: &Call<'_>) -> Found {
    let Some(index) = call.operand(1, VALUES) else {
        return is(Class::Explore);
    };
    match call.word(index) {
        b"test" => is(Class::Test),
        b"build" => is(Class::Build),
        b"install" | b"i" | b"add" | b"a" | b"remove" | b"rm" | b"update" | b"link" | b"unlink"
        | b"create" | b"c" | b"init" | b"upgrade" | b"patch" => is(Class::Install),
        b"x" => execute(call, index + 1),
        b"pm" | b"outdated" | b"why" | b"info" | b"audit" => is(Class::Explore),
        b"run" => match call.operand(index + 1, VALUES) {
            Some(name) if is_file(call.word(name)) => super::node_tools::script_file(call.word(name)),
            Some(name) => bare_script(call, name),
            None => is(Class::Explore),
        },
        file if is_file(file) => super::node_tools::script_file(file),
        _ => bare_script(call, index),
    }
}

fn is_file(name: &[u8]) -> bool {
    name.contains(&b'.') || name.contains(&b'/')
}

fn deno(call: &Call<'_>) -> Found {
    match call.verb(&["-c", "--config"]) {
        b"test" | b"bench" => is(Class::Test),
        b"compile" | b"bundle" | b"check" => is(Class::Build),
        b"install" | b"i" | b"add" | b"cache" | b"upgrade" | b"remove" | b"uninstall" | b"outdated"
        | b"vendor" => is(Class::Install),
        b"info" | b"doc" | b"types" | b"help" | b"" => is(Class::Explore),
        b"init" | b"clean" => is(Class::Edit),
        b"task" => script(call, 2),
        _ => is(Class::Run),
    }
}
