//! JavaScript's interpreters, test runners, bundlers and compilers.

use super::super::call::{Call, Found, is};
use super::super::entry::{Action, Entry, Verbs, all, by, verb, verbs, wrap};
use super::super::index;
use super::super::word::basename;
use super::script;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(
        &[
            "node",
            "nodejs",
            "ts-node",
            "tsx",
            "ts-node-esm",
            "babel-node",
            "electron",
            "nodemon",
            "qjs",
            "d8",
            "esno",
            "jiti",
        ],
        interpreter,
    ),
    all(
        Class::Test,
        &[
            "jest",
            "vitest",
            "mocha",
            "_mocha",
            "ava",
            "tap",
            "tape",
            "jasmine",
            "karma",
            "wtr",
            "web-test-runner",
            "testcafe",
            "nightwatch",
            "qunit",
            "uvu",
            "borp",
            "tsd",
            "wdio",
            "codeceptjs",
            "cucumber-js",
            "jest-cli",
            "backstop",
            "zora",
            "brittle",
            "newman",
            "k6",
            "artillery",
            "stryker",
            "size-limit",
        ],
    ),
    verbs(
        &["playwright", "cypress", "poku", "lab"],
        Verbs {
            with_value: &[],
            verbs: &[
                verb(Class::Install, &["install", "install-deps", "uninstall"]),
                verb(
                    Class::Run,
                    &["open", "codegen", "show-report", "show-trace", "screenshot", "pdf", "merge-reports"],
                ),
                verb(Class::Explore, &["info", "verify", "version", "cache"]),
            ],
            bare: Class::Test,
            other: Class::Test,
        },
    ),
    wrap(
        &["c8", "nyc"],
        0,
        &["-r", "--reporter", "-x", "--exclude", "-n", "--include", "-o", "--reports-dir", "--report-dir"],
    ),
    wrap(&["cross-env", "cross-env-shell", "env-cmd", "dotenv-cli"], 0, &["-f", "-e"]),
    by(&["tsc", "vue-tsc", "tsgo"], |call| {
        // Without output they only check, as linters do.
        let checks = call.has(&["--noEmit", "-noEmit"]);
        is(if checks { Class::Run } else { Class::Build })
    }),
    all(
        Class::Build,
        &[
            "webpack",
            "webpack-cli",
            "rollup",
            "esbuild",
            "parcel",
            "swc",
            "babel",
            "tsup",
            "tsdown",
            "rspack",
            "rolldown",
            "gulp",
            "grunt",
            "browserify",
            "microbundle",
            "unbuild",
            "ncc",
            "pkg",
            "sass",
            "lessc",
            "postcss",
            "tailwindcss",
            "node-gyp",
            "prebuild",
            "electron-builder",
            "api-extractor",
            "typedoc",
            "jsdoc",
            "coffee",
            "elm-make",
            "bsb",
            "rescript",
            "metro",
            "asc",
        ],
    ),
    verbs(
        &[
            "vite",
            "next",
            "nuxt",
            "nuxi",
            "astro",
            "gatsby",
            "remix",
            "svelte-kit",
            "vue-cli-service",
            "react-scripts",
            "ng",
            "ember",
            "nest",
            "expo",
            "eleventy",
            "docusaurus",
            "preact",
            "quasar",
            "craco",
            "wp-scripts",
            "storybook",
            "father",
            "umi",
            "hugo",
            "jekyll",
        ],
        Verbs {
            with_value: &["--filter", "-F", "--scope", "--project", "-p", "-t", "--target", "--projects"],
            verbs: &[
                verb(Class::Test, &["test", "e2e", "test-unit-js", "test:unit", "test:e2e"]),
                verb(
                    Class::Build,
                    &["build", "export", "generate", "compile", "optimize", "bundle", "package", "prepare"],
                ),
                verb(
                    Class::Install,
                    &["add", "install", "bootstrap", "update", "upgrade", "new", "create", "init"],
                ),
                verb(
                    Class::Explore,
                    &["info", "list", "ls", "graph", "show", "report", "version", "telemetry"],
                ),
                verb(Class::Edit, &["clean", "reset", "g"]),
            ],
            bare: Class::Run,
            other: Class::Run,
        },
    ),
    all(
        Class::Run,
        &[
            "http-server",
            "serve",
            "live-server",
            "json-server",
            "pm2",
            "forever",
            "concurrently",
            "wait-on",
            "husky",
            "lint-staged",
            "changeset",
            "semantic-release",
            "release-it",
            "depcheck",
            "knip",
            "madge",
            "prisma",
            "drizzle-kit",
            "knex",
            "typeorm",
            "sequelize",
            "wrangler",
            "vercel",
            "netlify",
            "firebase",
            "serverless",
            "sls",
            "cdk",
            "sst",
            "amplify",
            "supabase",
            "openapi-generator",
            "graphql-codegen",
        ],
    ),
    verbs(
        &["hardhat", "forge", "truffle", "anchor", "foundry"],
        Verbs {
            with_value: &["--network", "--root", "--config"],
            verbs: &[
                verb(Class::Test, &["test", "coverage", "snapshot"]),
                verb(Class::Build, &["compile", "build", "b"]),
                verb(Class::Install, &["install", "update", "i"]),
                verb(Class::Edit, &["clean", "init"]),
            ],
            bare: Class::Run,
            other: Class::Run,
        },
    ),
];

/// node's command line: its own test runner, a script, or code.
fn interpreter(call: &Call<'_>) -> Found {
    if call.words.len() == 2 && matches!(call.word(1), b"-v" | b"-h" | b"--help") {
        return is(Class::Explore);
    }
    if call.has(&["--test"]) {
        return is(Class::Test);
    }
    if call.has(&["-e", "--eval", "-p", "--print", "-pe", "-c", "--check"]) {
        return is(Class::Run);
    }
    let with_value = &[
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "-C",
        "--conditions",
        "-P",
        "--project",
        "--env-file",
        "-w",
        "--watch",
        "--exec",
        "-x",
        "-O",
    ];
    match call.operand(1, with_value) {
        // `node node_modules/.bin/jest`, `node ./node_modules/jest/bin/jest.js`: a package's program.
        Some(at) => match package_program(call.word(at)) {
            Some(found) => found,
            None => script_file(call.word(at)),
        },
        None => is(Class::Run),
    }
}

/// What a package's program is without a look at its arguments, by the path of its file.
fn package_program(path: &[u8]) -> Option<Found> {
    path.windows(13).find(|part| part == b"node_modules/")?;
    let name = basename(path);
    let name = [&b".js"[..], b".mjs", b".cjs"].iter().find_map(|ext| name.strip_suffix(*ext)).unwrap_or(name);
    match &index::find(name)?.1.action {
        Action::Is(class) => Some(is(*class)),
        Action::Verbs(verbs) => Some(is(verbs.bare)),
        Action::By(_) | Action::Wrap(_) => None,
    }
}

/// A script's file: a test by its name, or not.
pub(super) fn script_file(path: &[u8]) -> Found {
    is(match basename(path) {
        name if script::is_test_script(name) => Class::Test,
        b"build.js" | b"build.mjs" | b"build.cjs" | b"build.ts" | b"esbuild.config.mjs" | b"esbuild.js" => {
            Class::Build
        }
        b"npm-cli.js" | b"yarn.js" => Class::Install,
        _ => Class::Run,
    })
}
