//! Which policy is in force: caches, staleness, broken files, whose files are believed. With real files, and the real
//! `agentshctl` where the launcher would start it.

use agentsh::class::Class;
use agentsh::policy::binary;
use agentsh::policy::builtin;
use agentsh::policy::compile;
use agentsh::policy::knob::Knob;
use agentsh::policy::place::LoadEnv;
use agentsh::policy::store::{self, Loaded, State};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A machine of its own: /etc, /run, a home and a cache below one folder.
struct Machine {
    dir: TempDir,
    env: LoadEnv,
}

fn machine() -> Machine {
    let dir = tempfile::tempdir().unwrap();
    // As getcwd gives it.
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("home/work/deep")).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    let env = LoadEnv {
        cwd: Some(root.join("home/work/deep")),
        home: Some(root.join("home")),
        folder: root.join("policy.d"),
        run: root.join("run-policy"),
        root_caches: vec![root.join("var-cache"), root.join("run-cache")],
        xdg_cache: Some(root.join("var-cache")),
        ..LoadEnv::bare(uid)
    };
    Machine { dir, env }
}

impl Machine {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Writes a file with an mtime so old that its next change shows.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.age(&path);
        self.age(path.parent().unwrap());
        path
    }

    fn age(&self, path: &Path) {
        // Different for each call, so that a rewritten file has another mtime even if its size is the same.
        let before = Duration::from_millis(60_000 - u64::from(fastrand()) % 50_000);
        File::open(path).unwrap().set_modified(SystemTime::now() - before).unwrap();
    }

    fn load(&self) -> Loaded {
        store::load(&self.env)
    }

    /// What the launcher does: load; compile if that is due; load again.
    fn call(&self) -> Loaded {
        let loaded = self.load();
        if loaded.state != (State::Stale { compile: true }) {
            return loaded;
        }
        let (inputs, _) = store::inputs(&self.env, &mut Vec::new());
        compile::store(&self.env, &inputs, &compile::compile(&inputs)).unwrap();
        self.load()
    }
}

/// A number that differs from call to call.
fn fastrand() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(7, Ordering::Relaxed)
}

fn of(loaded: &Loaded, class: Class, knob: Knob) -> String {
    loaded.policy.class(class).get(knob).value.to_string()
}

fn pids(loaded: &Loaded) -> String {
    of(loaded, Class::Run, Knob::PidsMax)
}

fn with_pids(pids: u32) -> String {
    format!("version: 1\nclasses: {{run: {{pids.max: {pids}}}}}\n")
}

#[test]
fn without_any_file_the_built_in_policy_is_in_force_and_nothing_is_compiled() {
    let loaded = machine().load();
    assert_eq!((loaded.state, loaded.problem, &loaded.policy), (State::Builtin, None, &builtin::policy()));
}

#[test]
fn a_changed_file_is_in_force_one_call_later() {
    let m = machine();
    m.write("policy.d/10.yaml", &with_pids(100));
    assert_eq!(m.load().state, State::Stale { compile: true });
    assert_eq!((pids(&m.call()), m.load().state), ("100".into(), State::Fresh));
    m.write("policy.d/10.yaml", &with_pids(101));
    assert_eq!(m.load().state, State::Stale { compile: true }, "same size, other mtime");
    assert_eq!((pids(&m.call()), m.load().state), ("101".into(), State::Fresh));
    m.write("policy.d/20.yaml", &with_pids(102));
    assert_eq!(pids(&m.call()), "102", "a file more, later in order");
    fs::remove_file(m.path("policy.d/20.yaml")).unwrap();
    m.age(&m.path("policy.d"));
    assert_eq!(pids(&m.call()), "101", "a file less");
    fs::remove_dir_all(m.path("policy.d")).unwrap();
    assert_eq!(m.call().state, State::Builtin);
}

#[test]
fn a_file_that_was_compiled_right_after_a_change_is_compiled_again_later() {
    let m = machine();
    fs::create_dir(m.path("policy.d")).unwrap();
    m.age(&m.path("policy.d"));
    fs::write(m.path("policy.d/a.yaml"), with_pids(100)).unwrap();
    assert_eq!(pids(&m.call()), "100");
    assert_eq!(
        m.load().state,
        State::Stale { compile: true },
        "another change within the clock's tick would not show"
    );
    m.age(&m.path("policy.d/a.yaml"));
    m.age(&m.path("policy.d"));
    m.call();
    assert_eq!(m.load().state, State::Fresh);
}

#[test]
fn only_files_that_end_in_yaml_and_do_not_begin_with_a_dot_are_read_in_the_order_of_their_names() {
    let m = machine();
    m.write("policy.d/b.yaml", &with_pids(2));
    m.write("policy.d/a.yaml", &with_pids(1));
    m.write("policy.d/c.yaml.bak", &with_pids(3));
    m.write("policy.d/.d.yaml", &with_pids(4));
    assert_eq!(pids(&m.call()), "2");
}

#[test]
fn a_broken_file_leaves_the_last_good_policy_in_force_is_named_and_is_compiled_once() {
    let m = machine();
    m.write("policy.d/10.yaml", &with_pids(100));
    m.call();
    let file = m.write("policy.d/10.yaml", "version: 1\nclasses: {run: {pids.max: 0}}\n");
    let broken = m.call();
    assert_eq!((pids(&broken).as_str(), broken.state), ("100", State::Stale { compile: false }));
    let expected = format!("{}:2:27: error: pids.max: `0` is out of range", file.display());
    assert!(broken.problem.as_ref().unwrap().starts_with(&expected), "{broken:?}");
    m.write("policy.d/10.yaml", &with_pids(103));
    let mended = m.call();
    assert_eq!((pids(&mended).as_str(), mended.problem), ("103", None));
}

#[test]
fn a_broken_first_file_leaves_the_built_in_policy_and_a_broken_workspace_leaves_the_operators() {
    let m = machine();
    m.write("home/work/.agentsh.yaml", "version: 1\nlog: {}\n");
    let loaded = m.call();
    assert_eq!(loaded.policy, builtin::policy());
    assert!(loaded.problem.unwrap().contains("`log` can't be set in a workspace's file"));
    m.write("policy.d/a.yaml", &with_pids(77));
    // The operator's alone is compiled for calls outside of the workspace.
    let outside = Machine { env: LoadEnv { cwd: Some("/".into()), ..m.env.clone() }, dir: m.dir };
    assert_eq!(pids(&outside.call()), "77");
    let inside = Machine { env: m.env, dir: outside.dir };
    let loaded = inside.call();
    assert_eq!((pids(&loaded).as_str(), loaded.state), ("77", State::Stale { compile: false }));
}

#[test]
fn the_nearest_workspace_counts_up_to_home_and_not_above() {
    let m = machine();
    fs::write(m.path(".agentsh.yaml"), with_pids(1)).unwrap();
    assert_eq!(m.env.workspace(), Ok(None), "above $HOME");
    let home = m.write("home/.agentsh.yaml", &with_pids(2));
    assert_eq!(m.env.workspace(), Ok(Some(home)));
    let work = m.write("home/work/.agentsh.yaml", &with_pids(3));
    assert_eq!(m.env.workspace(), Ok(Some(work)));
    assert_eq!(pids(&m.call()), "3");
    let deep = m.write("home/work/deep/.agentsh.yaml", &with_pids(4));
    assert_eq!(m.env.workspace(), Ok(Some(deep)));
    assert_eq!(pids(&m.call()), "4", "one that comes nearer is seen at once");
    fs::remove_file(m.path("home/work/deep/.agentsh.yaml")).unwrap();
    assert_eq!(pids(&m.call()), "3");
    let gone = LoadEnv { cwd: None, ..m.env.clone() };
    assert_eq!(gone.workspace(), Ok(None), "a deleted working directory");
}

#[test]
fn a_workspaces_file_that_is_no_regular_file_is_ignored_and_named() {
    let m = machine();
    m.write("elsewhere", &with_pids(1));
    let place = m.path("home/work/.agentsh.yaml");
    symlink(m.path("elsewhere"), &place).unwrap();
    let loaded = m.call();
    assert_eq!(loaded.state, State::Builtin);
    assert!(loaded.problem.unwrap().contains("not a regular file"));
    fs::remove_file(&place).unwrap();
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(m.call().problem.unwrap().contains("not a regular file"), "and nobody waits for a writer");
}

#[test]
fn a_strangers_file_in_a_shared_folder_is_ignored_and_one_of_the_folders_owner_is_not() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can make files of others; .ci/run runs as root.
        return;
    }
    let m = machine();
    let file = m.write("home/work/.agentsh.yaml", &with_pids(5));
    chown(&file, Some(12345), None).unwrap();
    let loaded = m.call();
    assert!(loaded.problem.unwrap().contains("belongs to uid 12345"));
    assert_eq!(pids(&m.call()), "4096");
    chown(m.path("home/work"), Some(12345), None).unwrap();
    assert_eq!(pids(&m.call()), "5", "root in a container, the checkout is its owner's");
}

/// The compiled file in the cache.
fn cached_file(m: &Machine) -> PathBuf {
    let dir = fs::read_dir(m.path("var-cache")).unwrap();
    let mut files: Vec<PathBuf> =
        dir.map(|e| e.unwrap().path()).filter(|p| p.extension().is_none()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn the_cache_is_the_callers_alone_and_nothing_is_left_beside_it() {
    let m = machine();
    if m.env.uid != 0 {
        return;
    }
    m.write("policy.d/a.yaml", &with_pids(5));
    m.call();
    let file = cached_file(&m);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(m.path("var-cache")).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn a_compiled_file_of_somebody_else_or_writable_for_others_or_a_symlink_is_not_believed() {
    let m = machine();
    m.write("policy.d/a.yaml", &with_pids(5));
    m.call();
    let file = cached_file(&m);
    for mode in [0o620, 0o602] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        assert_eq!(m.load().policy, builtin::policy(), "{mode:o}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(m.load().state, State::Fresh);
    let aside = m.path("aside");
    fs::rename(&file, &aside).unwrap();
    symlink(&aside, &file).unwrap();
    assert_eq!(m.load().policy, builtin::policy(), "symlink");
    fs::rename(&aside, &file).unwrap();
    if m.env.uid == 0 {
        chown(&file, Some(12345), None).unwrap();
        assert_eq!(m.load().policy, builtin::policy(), "owner");
    }
}

#[test]
fn a_damaged_foreign_or_old_compiled_file_is_as_none_and_is_replaced() {
    let m = machine();
    m.write("policy.d/a.yaml", &with_pids(5));
    m.call();
    let file = cached_file(&m);
    let good = fs::read(&file).unwrap();
    let mut old = good.clone();
    old[8] = binary::VERSION as u8 - 1;
    let mut huge = good.clone();
    huge.resize(3 << 20, 0);
    for bad in [&good[..good.len() / 2], b"", b"garbage", &old, &huge] {
        fs::write(&file, bad).unwrap();
        assert_eq!((m.load().state, m.load().policy), (State::Stale { compile: true }, builtin::policy()));
        assert_eq!((pids(&m.call()).as_str(), m.load().state), ("5", State::Fresh));
    }
}

#[test]
fn a_compiled_file_of_other_inputs_under_the_same_name_is_not_taken() {
    let m = machine();
    m.write("policy.d/a.yaml", &with_pids(5));
    m.call();
    let file = cached_file(&m);
    let mut other = binary::decode(&fs::read(&file).unwrap()).unwrap();
    other.key = "folder /elsewhere\n".into();
    fs::write(&file, binary::encode(&other)).unwrap();
    assert_eq!(m.load().policy, builtin::policy());
}

#[test]
fn without_a_cache_that_can_be_written_the_next_one_is_taken_and_without_any_the_error_says_so() {
    let mut m = machine();
    if m.env.uid != 0 {
        return;
    }
    m.write("policy.d/a.yaml", &with_pids(5));
    m.write("not-a-folder", "");
    m.env.root_caches[0] = m.path("not-a-folder/x");
    assert_eq!((pids(&m.call()).as_str(), m.load().state), ("5", State::Fresh));
    m.env.root_caches = vec![m.path("not-a-folder/x")];
    assert_eq!(m.load().policy, builtin::policy());
    let shown = compile::in_force(&m.env);
    assert!(shown.problem.as_ref().unwrap().contains("the compiled policy can't be kept"), "{shown:?}");
}

#[test]
fn what_agentsh_policy_names_replaces_the_folder_as_yaml_and_compiled() {
    let mut m = machine();
    m.write("policy.d/a.yaml", &with_pids(5));
    m.write("home/work/.agentsh.yaml", "version: 1\nclasses: {run: {cpu.weight: 7}}");
    let yaml = m.write("own.yaml", &with_pids(6));
    m.env.policy = Some(yaml);
    let by_yaml = m.call();
    assert_eq!((pids(&by_yaml).as_str(), of(&by_yaml, Class::Run, Knob::CpuWeight).as_str()), ("6", "7"));
    m.env.policy = Some("../../../own.yaml".into());
    assert_eq!(pids(&m.call()), "6", "relative to the working directory");

    let outside = LoadEnv { cwd: None, policy: Some(m.path("own.yaml")), ..m.env.clone() };
    let (inputs, _) = store::inputs(&outside, &mut Vec::new());
    let compiled = m.path("own.policy");
    compile::write_whole(&compiled, &compile::compile(&inputs).to_bytes(&inputs), 0o644).unwrap();
    m.env.policy = Some(compiled.clone());
    let by_compiled = m.call();
    assert_eq!(
        (pids(&by_compiled).as_str(), of(&by_compiled, Class::Run, Knob::CpuWeight).as_str()),
        ("6", "7")
    );

    fs::write(&compiled, &fs::read(&compiled).unwrap()[..50]).unwrap();
    let broken = m.call();
    assert_eq!(pids(&broken), "5", "the folder's instead");
    assert!(broken.problem.unwrap().contains("cut short"));
    m.env.policy = Some("/nowhere/x.yaml".into());
    assert!(m.call().problem.unwrap().contains("AGENTSH_POLICY /nowhere/x.yaml: No such file"));
}

#[test]
fn the_hosts_compiled_policy_holds_in_a_container_and_gives_way_to_changed_files_on_the_host() {
    let m = machine();
    let file = m.write("policy.d/a.yaml", &with_pids(5));
    let (inputs, _) = store::inputs(&LoadEnv { cwd: None, ..m.env.clone() }, &mut Vec::new());
    compile::write_whole(&m.env.run, &compile::compile(&inputs).to_bytes(&inputs), 0o644).unwrap();
    m.age(&m.env.run);
    let host = m.load();
    assert_eq!((pids(&host).as_str(), host.state), ("5", State::Fresh), "no cache is needed");
    m.write("policy.d/a.yaml", &with_pids(6));
    assert_eq!(pids(&m.call()), "6", "a change on the host counts at once");
    fs::remove_dir_all(m.path("policy.d")).unwrap();
    assert!(!file.exists());
    let container = m.load();
    assert_eq!((pids(&container).as_str(), container.state), ("5", State::Fresh));
    m.write("home/work/.agentsh.yaml", "version: 1\nclasses: {all: {pids.max: 3}}");
    assert_eq!((pids(&m.call()).as_str(), m.load().state), ("3", State::Fresh), "the workspace's upon it");
}

#[test]
fn the_command_that_the_launcher_starts_compiles_what_it_loads() {
    let mut m = machine();
    m.write("home/work/.agentsh.yaml", &with_pids(9));
    // The build's own folder may not be reachable for others.
    fs::copy(env!("CARGO_BIN_EXE_agentshctl"), m.path("agentshctl")).unwrap();
    m.env.exe_dir = Some(m.path(""));
    let cwd = m.env.cwd.clone().unwrap();
    let argv = store::compile_command(&m.env).expect("agentshctl is there");
    assert_eq!(argv[1..], ["policy".into(), "compile".into(), "--workspace".into(), OsString::from(&cwd)]);
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(cwd).env_clear();
    command.env("HOME", m.env.home.as_ref().unwrap()).env("XDG_CACHE_HOME", m.path("xdg"));
    let mut uid = m.env.uid;
    if uid == 0 {
        // Root's caches are fixed places, which a test leaves alone: as somebody else.
        uid = 12345;
        for path in ["", "home", "home/work", "home/work/.agentsh.yaml", "home/work/deep"] {
            chown(m.path(path), Some(uid), Some(uid)).unwrap();
        }
        command.uid(uid).gid(uid);
    }
    assert!(command.status().unwrap().success());
    let bare = LoadEnv::bare(uid);
    let env =
        LoadEnv { xdg_cache: Some(m.path("xdg")), cwd: m.env.cwd.clone(), home: m.env.home.clone(), ..bare };
    let loaded = store::load(&env);
    assert_eq!((pids(&loaded).as_str(), loaded.state), ("9", State::Fresh));
}
