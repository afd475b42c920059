//! Java, Kotlin, Scala, Clojure, Groovy.

use super::super::call::{Call, Found, is, one_of};
use super::super::entry::{Entry, Verbs, all, by, verb, verbs};
use super::tasks;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    by(&["gradle", "gradlew"], gradle),
    by(&["mvn", "mvnw", "mvnd"], maven),
    by(&["sbt", "mill", "amm", "bleep"], |call| {
        // `sbt "testOnly a.B" compile`: each word is a command with its arguments.
        if call.has(&["about", "tasks", "plugins", "projects"]) {
            return is(Class::Explore);
        }
        is(call.operands(1, &["-D", "-J"]).filter_map(tasks::class).min().unwrap_or(Class::Build))
    }),
    by(&["ant", "leiningen", "lein", "boot", "clj", "clojure"], |call| {
        let test = call.args().any(|arg| arg.starts_with(b"-") && arg.ends_with(b":test"));
        let named = call.operands(1, &["-f", "-buildfile", "-file"]).filter_map(tasks::class).min();
        let class = match call.program() {
            b"ant" => Class::Build,
            _ if call.word(1) == b"deps" => Class::Install,
            _ => Class::Run,
        };
        is(if test { Class::Test } else { named.unwrap_or(class) })
    }),
    by(&["java"], |call| {
        let junit = call.args().any(|arg| {
            arg.windows(5).any(|part| part == b"JUnit" || part == b"junit") && !arg.contains(&b':')
                || arg.ends_with(b"TestNG")
        });
        match call.word(1) {
            b"-help" | b"--help" | b"-XshowSettings" if call.words.len() == 2 => is(Class::Explore),
            _ => is(if junit { Class::Test } else { Class::Run }),
        }
    }),
    all(
        Class::Build,
        &[
            "javac",
            "kotlinc",
            "kotlinc-native",
            "kotlinc-jvm",
            "scalac",
            "groovyc",
            "jar",
            "jlink",
            "jpackage",
            "native-image",
            "javadoc",
            "dx",
            "aapt",
            "aapt2",
        ],
    ),
    all(Class::Explore, &["javap", "jps", "jdeps", "jinfo"]),
    all(
        Class::Run,
        &[
            "kotlin", "scala", "groovy", "jshell", "jstack", "jmap", "jcmd", "keytool", "jbang", "bb",
            "ktlint", "detekt",
        ],
    ),
    verbs(
        &["scala-cli"],
        Verbs {
            with_value: &[],
            verbs: &[verb(Class::Test, &["test"]), verb(Class::Build, &["compile", "package"])],
            bare: Class::Run,
            other: Class::Run,
        },
    ),
    all(Class::Install, &["coursier", "cs", "sdkmanager"]),
];

fn gradle(call: &Call<'_>) -> Found {
    let with_value = &[
        "-p",
        "-b",
        "-c",
        "-g",
        "-I",
        "-x",
        "--project-dir",
        "--tests",
        "--init-script",
        "--exclude-task",
        "--console",
        "--max-workers",
        // The tasks' own.
        "--configuration",
        "--dependency",
        "--task",
    ];
    let mut heaviest: Option<Class> = None;
    for task in call.operands(1, with_value) {
        let last = task.rsplit(|&b| b == b':').next().unwrap_or(task);
        let class = match last {
            b"tasks" | b"dependencies" | b"projects" | b"properties" | b"help" | b"dependencyInsight"
            | b"buildEnvironment" | b"javaToolchains" => Class::Explore,
            b"wrapper" | b"init" | b"clean" => Class::Edit,
            // `testClasses` compiles; any name that ends in Test runs tests (`connectedAndroidTest`).
            _ if last.ends_with(b"Classes") => Class::Build,
            _ if last.ends_with(b"Test") || last.ends_with(b"Tests") => Class::Test,
            b"bootRun" | b"run" => Class::Run,
            _ => tasks::class(last).unwrap_or(Class::Build),
        };
        heaviest = Some(heaviest.map_or(class, |other| other.heavier(class)));
    }
    if call.has(&["--stop", "--status", "-v"]) {
        return is(Class::Explore);
    }
    is(heaviest.unwrap_or(Class::Build))
}

fn maven(call: &Call<'_>) -> Found {
    let skips = call.args().any(|arg| {
        one_of(arg, &["-DskipTests", "-DskipTests=true", "-Dmaven.test.skip=true", "-Dmaven.test.skip"])
    });
    let with_value = &[
        "-f",
        "-pl",
        "-P",
        "-s",
        "-t",
        "-T",
        "-l",
        "--file",
        "--projects",
        "--settings",
        "-rf",
        "--threads",
    ];
    let mut heaviest: Option<Class> = None;
    for goal in call.operands(1, with_value) {
        let class = match goal {
            b"test" | b"verify" | b"integration-test" if !skips => Class::Test,
            b"clean" | b"archetype:generate" => Class::Edit,
            b"dependency:tree"
            | b"dependency:list"
            | b"help:effective-pom"
            | b"help:evaluate"
            | b"help:describe"
            | b"dependency:analyze" => Class::Explore,
            goal if goal.starts_with(b"surefire:")
                || goal.starts_with(b"failsafe:")
                || goal.starts_with(b"jacoco:") =>
            {
                Class::Test
            }
            goal if goal.starts_with(b"dependency:")
                || goal.starts_with(b"wrapper:")
                || goal.starts_with(b"versions:") =>
            {
                Class::Install
            }
            goal if goal.starts_with(b"exec:")
                || goal.ends_with(b":run")
                || goal.starts_with(b"checkstyle:")
                || goal.starts_with(b"spotless:") =>
            {
                Class::Run
            }
            _ => Class::Build,
        };
        heaviest = Some(heaviest.map_or(class, |other| other.heavier(class)));
    }
    is(heaviest.unwrap_or(if call.has(&["-v"]) { Class::Explore } else { Class::Build }))
}
