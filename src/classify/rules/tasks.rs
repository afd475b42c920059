//! Names of tasks: of make's targets, npm's scripts, gradle's tasks, just's recipes …

use super::super::index;
use crate::class::Class;

/// The class that a task's name tells, by the first of its parts that tells one (`test:unit`, `build-docs`).
pub(super) fn class(task: &[u8]) -> Option<Class> {
    // Nobody calls a task by a longer name.
    let mut rest = &task[..task.len().min(128)];
    while !rest.is_empty() {
        let (part, after) = next_part(rest);
        if let Some(class) = of_part(part) {
            return Some(class);
        }
        rest = after;
    }
    None
}

/// The class that the name of a project's own script tells, if it is no program that a rule knows better.
pub(super) fn of_script(name: &[u8]) -> Option<Class> {
    let file = name.contains(&b'.') || name.contains(&b'/');
    let program = index::find(name).is_some() && !ALSO_SCRIPTS.iter().any(|script| script.as_bytes() == name);
    if file || program { None } else { class(name) }
}

/// Programs whose names are common for scripts, which is what they are there.
const ALSO_SCRIPTS: &[&str] =
    &["test", "watch", "install", "patch", "link", "sync", "batch", "open", "size", "replace"];

/// The first part of a task's name, split at punctuation and before capitals (`testUnit`), and what follows.
fn next_part(name: &[u8]) -> (&[u8], &[u8]) {
    let start = name.iter().position(u8::is_ascii_alphanumeric).unwrap_or(name.len());
    let name = &name[start..];
    let end = name.windows(2).position(|pair| {
        !pair[1].is_ascii_alphanumeric() || pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()
    });
    name.split_at(end.map_or(name.len(), |end| end + 1))
}

fn of_part(part: &[u8]) -> Option<Class> {
    let mut lower = [0; 16];
    let lower = lower.get_mut(..part.len())?;
    lower.copy_from_slice(part);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"test" | b"tests" | b"testing" | b"check" | b"e2e" | b"spec" | b"specs" | b"unittest"
        | b"unittests" | b"pytest" | b"jest" | b"vitest" | b"mocha" | b"cypress" | b"playwright"
        | b"coverage" | b"cov" | b"tox" | b"nox" | b"verify" | b"integration" | b"rspec" | b"phpunit"
        | b"ctest" => Class::Test,
        b"build" | b"compile" | b"dist" | b"bundle" | b"package" | b"all" | b"release" | b"assemble"
        | b"webpack" | b"tsc" | b"wheel" | b"rebuild" | b"transpile" | b"bin" | b"jar" | b"classes"
        | b"debug" | b"pack" => Class::Build,
        b"install" | b"deps" | b"setup" | b"bootstrap" | b"vendor" | b"dependencies" | b"requirements"
        | b"venv" | b"restore" | b"develop" | b"download" => Class::Install,
        b"lint" | b"format" | b"fmt" | b"typecheck" | b"start" | b"dev" | b"serve" | b"clean" | b"deploy"
        | b"run" | b"watch" | b"publish" | b"docs" | b"doc" | b"mypy" | b"flake8" | b"ruff" | b"eslint"
        | b"prettier" | b"black" | b"migrate" | b"preview" | b"generate" => Class::Run,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_first_telling_part_decides() {
        for (task, class_) in [
            ("test", Some(Class::Test)),
            ("test-code", Some(Class::Test)),
            ("unit-test", Some(Class::Test)),
            ("testDebugUnitTest", Some(Class::Test)),
            (":app:compileJava", Some(Class::Build)),
            ("build:test", Some(Class::Build)),
            ("lint:tests", Some(Class::Run)),
            ("install-dev", Some(Class::Install)),
            ("frobnicate", None),
            ("", None),
            (":::", None),
        ] {
            assert_eq!(class(task.as_bytes()), class_, "{task}");
        }
    }
}
