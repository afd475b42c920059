//! The mechanics of leaves and sessions on a real cgroup v2 tree: no controllers are needed, so any host has it.
//! What limits do is tested in the VM (tests/vm/cases).

mod tree;

use agentsh::cgroup::claim::Wish;
use agentsh::cgroup::leaf::POOL_SIZE;
use agentsh::cgroup::news::{self, Killed};
use agentsh::cgroup::session;
use agentsh::cgroup::{Env, Leaf, LeafLimits, Place, Released, locate, mount, sweep};
use agentsh::cgroup::{delegate, dir::Dir};
use agentsh::class::Class;
use agentsh::policy::compiled::OnExit;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tree::*;

#[test]
fn a_session_is_found_from_its_agent_and_from_cgroups_that_the_agent_made() {
    let tree = Tree::new();
    let session = tree.session("s1");
    assert_eq!(session.calls.path(), tree.path.join("s1/calls"));
    assert_eq!(session.name(), "s1");
    fs::create_dir(tree.path.join("s1/agent/claude-code-bash")).unwrap();
    let below = tree.locate(&format!("{}/s1/agent/claude-code-bash", tree.cgroup));
    assert!(matches!(below, Place::Session(s) if s.calls.path() == session.calls.path()));
    let nested = tree.locate(&format!("{}/s1/calls/test-3/x", tree.cgroup));
    assert!(matches!(nested, Place::InLeaf { class: Class::Test }));
}

#[test]
fn a_cgroup_that_is_neither_a_session_nor_delegated_is_left_as_it_is() {
    let tree = Tree::new();
    let scope = tree.path.join("session-3.scope");
    fs::create_dir(&scope).unwrap();
    let mut shell = Sleeper::in_cgroup(&scope);
    let place = tree.locate(&format!("{}/session-3.scope", tree.cgroup));
    assert!(matches!(&place, Place::None(why) if why.contains("agentshctl run")), "{place:?}");
    assert_eq!(fs::read_to_string(scope.join("cgroup.procs")).unwrap(), format!("{}\n", shell.0.id()));
    assert!(!scope.join("calls").exists() && !scope.join("agent").exists());
    assert!(shell.0.try_wait().unwrap().is_none());
}

#[test]
fn a_delegated_scope_becomes_a_session_with_all_its_processes_in_agent() {
    let tree = Tree::new();
    let scope = tree.path.join("run-7.scope");
    fs::create_dir(&scope).unwrap();
    Dir::open(&scope).unwrap().set_mark(c"user.delegate", b"1").unwrap();
    let sleepers: Vec<_> = (0..5).map(|_| Sleeper::in_cgroup(&scope)).collect();
    let own = format!("{}/run-7.scope", tree.cgroup);
    // Several launchers at once: one does it, all find it.
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| match tree.locate(&own) {
                Place::Session(s) => assert_eq!(s.calls.path(), scope.join("calls")),
                other => panic!("{other:?}"),
            });
        }
    });
    let agent = fs::read_to_string(scope.join("agent/cgroup.procs")).unwrap();
    for sleeper in &sleepers {
        assert!(agent.lines().any(|pid| pid == sleeper.0.id().to_string()));
    }
    assert_eq!(fs::read_to_string(scope.join("cgroup.procs")).unwrap(), "");
    let place = tree.locate(&format!("{own}/agent"));
    assert!(matches!(place, Place::Session(_)));
}

#[test]
fn units_below_a_delegated_user_manager_are_not_arranged() {
    let tree = Tree::new();
    let manager = tree.path.join("user@1000.service");
    let scope = manager.join("app.slice/terminal.scope");
    fs::create_dir_all(&scope).unwrap();
    Dir::open(&manager).unwrap().set_mark(c"user.delegate", b"1").unwrap();
    let place = tree.locate(&format!("{}/user@1000.service/app.slice/terminal.scope", tree.cgroup));
    assert!(matches!(place, Place::None(_)), "{place:?}");
    assert!(!manager.join("calls").exists());
}

#[test]
fn the_variable_leads_only_to_sessions_that_agentsh_made() {
    let tree = Tree::new();
    tree.session("made");
    fs::create_dir_all(tree.path.join("foreign/calls")).unwrap();
    fs::create_dir_all(tree.path.join("elsewhere.scope")).unwrap();
    let own = format!("{}/elsewhere.scope", tree.cgroup);
    let ask = |value: &str| {
        let session = Some(std::ffi::OsStr::new(value));
        locate(&Env { own: Some(own.as_bytes()), session, uid: 0, policy: None })
    };
    let made = ask(&format!("{}/made", tree.cgroup));
    assert!(matches!(&made, Place::Session(s) if s.calls.path() == tree.path.join("made/calls")), "{made:?}");
    let by_directory = ask(tree.path.join("made").to_str().unwrap());
    assert!(matches!(by_directory, Place::Session(_)));
    for foreign in [
        format!("{}/foreign", tree.cgroup),
        format!("{}/x/../made", tree.cgroup),
        "/nowhere".into(),
        "no-such".into(),
    ] {
        let place = ask(&foreign);
        assert!(matches!(&place, Place::None(why) if why.contains("AGENTSH_SESSION")), "{place:?}");
    }
}

#[test]
fn leaves_are_used_again_and_two_calls_at_once_have_two() {
    let tree = Tree::new();
    let session = tree.session("s");
    let (first, second) = (claim(&session), claim(&session));
    assert_eq!((first.name(), second.name()), ("explore-0", "explore-1"));
    assert!(!first.reused && first.generation != second.generation && first.id != second.id);
    let (id, generation) = (first.id, first.generation);
    assert_eq!(first.release(&session, OnExit::Keep), Released::Pooled);
    assert_eq!(second.release(&session, OnExit::Keep), Released::Pooled);
    let again = claim(&session);
    assert!(again.reused && again.id == id && again.generation > generation);
    let test = session.claim(Class::Test, Wish::Limits(&limits())).unwrap();
    assert_eq!(test.name(), "test-0");
}

#[test]
fn what_the_tree_does_not_offer_is_named_and_the_leaf_works_without() {
    let tree = Tree::new();
    let session = tree.session("s");
    let mut leaf = claim(&session);
    let controllers = fs::read_to_string(tree.path.join("cgroup.controllers")).unwrap();
    assert_eq!(leaf.lacks.contains(&"memory.high"), !controllers.contains("memory"), "{:?}", leaf.lacks);
    assert_eq!(leaf.lacks.contains(&"pids.max"), !controllers.contains("pids"));
    let mut sleeper = Sleeper::in_cgroup(leaf.dir.path());
    let usage = leaf.finish(&session, limits().high, Duration::from_secs(1), None);
    assert!(usage.populated_after && usage.oom_owner.is_none());
    assert_eq!(leaf.release(&session, OnExit::Kill), Released::Killed);
    assert!(sleeper.ends());
}

#[test]
fn a_leaf_left_in_order_is_taken_as_it_is_and_made_sure_of_later() {
    let tree = Tree::new();
    let session = tree.session("s");
    let end = |mut leaf: Leaf, high| {
        leaf.finish(&session, high, Duration::from_secs(1), None);
        leaf.release(&session, OnExit::Keep)
    };
    let first = claim(&session);
    assert!(first.left.is_none(), "a fresh leaf has its knobs written at once");
    let lacks = first.lacks.clone();
    assert_eq!(end(first, limits().high), Released::Pooled);

    let mut second = claim(&session);
    assert!(second.reused && second.left.is_some() && second.lacks == lacks);
    second.settle(&limits());
    let controllers = fs::read_to_string(tree.path.join("cgroup.controllers")).unwrap();
    assert!(second.left.is_none());
    assert_eq!(second.lacks.contains(&"memory.high"), !controllers.contains("memory"), "{:?}", second.lacks);
    assert_eq!(end(second, limits().high), Released::Pooled);

    let other =
        session.claim(Class::Explore, Wish::Limits(&LeafLimits { cpu_weight: 7, ..limits() })).unwrap();
    assert!(other.reused && other.left.is_none(), "other knobs are written at once");
    drop(other);
    let after_kill = claim(&session);
    assert!(after_kill.reused && after_kill.left.is_none(), "its launcher was killed");
    assert_eq!(end(after_kill, None), Released::Pooled);
    assert!(claim(&session).left.is_none(), "memory.high was raised and never came down");
}

#[test]
fn a_leaf_with_survivors_is_not_left_in_order() {
    let tree = Tree::new();
    let session = tree.session("s");
    let mut leaf = claim(&session);
    let mut server = Sleeper::in_cgroup(leaf.dir.path());
    assert!(leaf.finish(&session, limits().high, Duration::from_secs(1), None).populated_after);
    assert_eq!(leaf.release(&session, OnExit::Keep), Released::Survivors);
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    let emptied = || {
        fs::read_to_string(session.calls.path().join("explore-0/cgroup.events"))
            .unwrap()
            .contains("populated 0")
    };
    assert!(wait_for(emptied));
    let again = claim(&session);
    assert!(again.name() == "explore-0" && again.left.is_none());
}

#[test]
fn survivors_keep_their_leaf_and_it_is_not_claimed() {
    let tree = Tree::new();
    let session = tree.session("s");
    let leaf = claim(&session);
    let mut server = Sleeper::in_cgroup(leaf.dir.path());
    assert_eq!(leaf.release(&session, OnExit::Keep), Released::Survivors);
    assert_eq!(claim(&session).name(), "explore-1");
    assert!(server.0.try_wait().unwrap().is_none());
    drop(server);
    assert!(wait_for(|| session.calls.child("explore-0").unwrap().populated() == Ok(false)));
    assert_eq!(claim(&session).name(), "explore-0");
}

#[test]
fn a_frozen_leaf_of_a_killed_launcher_is_thawed_by_the_next_call() {
    let tree = Tree::new();
    let session = tree.session("s");
    let leaf = claim(&session);
    let path = leaf.dir.path().to_owned();
    let sleeper = Sleeper::in_cgroup(&path);
    leaf.dir.write("cgroup.freeze", b"1").unwrap();
    drop(leaf);
    let frozen = || fs::read_to_string(path.join("cgroup.events")).unwrap().contains("frozen 1");
    assert!(wait_for(frozen));
    assert_eq!(claim(&session).name(), "explore-1");
    assert!(wait_for(|| !frozen()), "its survivor runs again");
    drop(sleeper);
    fs::write(path.join("cgroup.freeze"), "1").unwrap();
    assert!(wait_for(|| session.calls.child("explore-0").unwrap().populated() == Ok(false)));
    assert_eq!(claim(&session).name(), "explore-0");
    assert!(!frozen(), "an idle leaf is not left frozen either");
}

#[test]
fn a_leaf_with_cgroups_left_in_it_is_made_anew() {
    let tree = Tree::new();
    let session = tree.session("s");
    let leaf = claim(&session);
    fs::create_dir(leaf.dir.path().join("below")).unwrap();
    let id = leaf.id;
    drop(leaf);
    let next = claim(&session);
    assert!(
        next.id != id && next.name() == "explore-1",
        "the kernel refuses to remove a cgroup with children"
    );
    fs::remove_dir(tree.path.join("s/calls/explore-0/below")).unwrap();
    assert_eq!(claim(&session).id, id);
}

#[test]
fn a_leaf_that_was_killed_is_made_anew() {
    let tree = Tree::new();
    let session = tree.session("s");
    let leaf = claim(&session);
    let id = leaf.id;
    let _sleeper = Sleeper::in_cgroup(leaf.dir.path());
    assert_eq!(leaf.release(&session, OnExit::Kill), Released::Killed);
    assert!(wait_for(|| session.calls.child("explore-0").unwrap().populated() == Ok(false)));
    // Kernels from 6.14 on kill what is cloned into it.
    let next = claim(&session);
    assert!(next.id != id && next.name() == "explore-0" && !next.reused);
    next.dir.kill().unwrap();
    assert_eq!(next.release(&session, OnExit::Keep), Released::Removed);
}

#[test]
fn sixty_four_calls_at_once_get_leaves_of_their_own_and_none_is_left_over() {
    let tree = Tree::new();
    let session = tree.session("s");
    for _ in 0..3 {
        let held: Vec<Leaf> = std::thread::scope(|threads| {
            let claims: Vec<_> = (0..64)
                .map(|_| threads.spawn(|| session.claim(Class::Run, Wish::Limits(&limits()))))
                .collect();
            claims.into_iter().filter_map(|c| c.join().unwrap().ok()).collect()
        });
        // Beyond the pool a process has four names, and these are 64 threads of one.
        assert!(held.len() as u64 > POOL_SIZE);
        let names: HashSet<_> = held.iter().map(|leaf| leaf.name().to_owned()).collect();
        assert_eq!(names.len(), held.len());
        for leaf in held {
            leaf.release(&session, OnExit::Keep);
        }
        assert!(leaves(&session).len() as u64 <= POOL_SIZE, "{:?}", leaves(&session));
    }
}

#[test]
fn a_sweep_removes_what_killed_launchers_left_and_nothing_that_is_in_use() {
    let tree = Tree::new();
    let session = tree.session("s");
    let used = claim(&session);
    for name in ["explore-900", "test-77", "foreign", "test-3"] {
        fs::create_dir(session.calls.path().join(name)).unwrap();
    }
    let _survivor = {
        fs::create_dir(session.calls.path().join("run-500")).unwrap();
        Sleeper::in_cgroup(&session.calls.path().join("run-500"))
    };
    let swept = sweep::sweep_now(&session.calls);
    assert_eq!((swept.removed, swept.survivors, swept.suspects.len()), (2, 1, 0));
    let mut left = leaves(&session);
    left.sort();
    assert_eq!(left, ["explore-0", "foreign", "run-500", "test-3"]);
    assert_eq!(used.release(&session, OnExit::Keep), Released::Pooled);
    assert_eq!(sweep::sweep(&session).survivors, 1);
    assert_eq!(sweep::sweep(&session).survivors, 0, "not twice within a second");
    let killed = Killed { class: Class::Run, limit: 150 };
    news::leave(&session.calls, killed);
    let told = sweep::sweep(&session);
    assert_eq!((told.survivors, told.news), (1, vec![killed]), "but at once if there are news");
    assert_eq!(sweep::sweep(&session).survivors, 0);
}

#[test]
fn launchers_sweep_behind_any_number_of_leaves_in_use() {
    let tree = Tree::new();
    let session = tree.session("s");
    fs::write(tree.path.join("s/cgroup.max.descendants"), "max").unwrap();
    let make = |n: u32| session.calls.make_child(&format!("explore-{n}")).unwrap();
    let used: Vec<Dir> = (1000..1300).map(make).collect();
    for leaf in &used {
        leaf.try_lock().unwrap();
    }
    for n in 2000..2050 {
        make(n);
    }
    let mut removed = 0;
    for _ in 0..200 {
        // As if the last one were long ago.
        news::set_swept(&session.calls, 0);
        removed += sweep::sweep(&session).removed;
    }
    assert_eq!((removed, leaves(&session).len()), (50, used.len()));
}

#[test]
fn a_leaf_removed_underneath_is_no_trouble() {
    let tree = Tree::new();
    let session = tree.session("s");
    let mut leaf = claim(&session);
    fs::remove_dir(leaf.dir.path()).unwrap();
    assert!(!leaf.finish(&session, limits().high, Duration::from_secs(1), None).populated_after);
    leaf.release(&session, OnExit::Keep);
    assert_eq!(claim(&session).name(), "explore-0");
    fs::remove_dir(session.calls.path().join("explore-0")).unwrap();
    fs::remove_dir(session.calls.path()).unwrap();
    let refused = session.claim(Class::Explore, Wish::Limits(&limits())).unwrap_err();
    assert!(refused.to_string().starts_with("no leaf in "), "{refused}");
}

#[test]
fn a_full_session_says_so() {
    let tree = Tree::new();
    let session = tree.session("s");
    fs::write(tree.path.join("s/cgroup.max.descendants"), "3").unwrap();
    let _only = claim(&session);
    let refused = session.claim(Class::Explore, Wish::Limits(&limits())).unwrap_err();
    assert!(refused.to_string().contains("cgroup.max.descendants"), "{refused}");
}

#[test]
fn a_session_is_removed_when_nothing_lives_in_it() {
    let tree = Tree::new();
    let session = tree.session("s");
    let leaf = claim(&session);
    let sleeper = Sleeper::in_cgroup(leaf.dir.path());
    assert!(session::remove(&tree.dir(), "s").is_err());
    drop((sleeper, leaf));
    assert!(wait_for(|| session.calls.child("explore-0").unwrap().populated() == Ok(false)));
    session::remove(&tree.dir(), "s").unwrap();
    assert!(!tree.path.join("s").exists());
}

#[test]
fn a_leaf_is_known_as_one_even_where_its_name_is_hidden() {
    let tree = Tree::new();
    let session = tree.session("s");
    let leaf = session.claim(Class::Build, Wish::Limits(&limits())).unwrap();
    // What a process sees after `unshare --cgroup` and a new mount: its leaf is the root.
    let mounts = [mount::Mount { root: "/".into(), point: leaf.dir.path().into() }];
    let found = delegate::candidate(Path::new("/"), &mounts).unwrap();
    assert!(matches!(found, Some(delegate::Candidate::Leaf(Class::Build))), "{found:?}");
}
