//! From files to the compiled form: `agentshctl`'s and the helper's side.

use super::binary::{self, Compiled, Failure, MOST_BYTES};
use super::builtin;
use super::compiled::{Layer, Policy, Source, Stamp};
use super::document::{self, Trust};
use super::layers;
use super::place::{self, Base, Believe, Inputs, LoadEnv};
use super::problem::{Mark, Problem, Severity, any_error};
use super::store::{self, Loaded, State};
use super::yaml;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What compiling gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was read, and how it looked.
    pub watched: Vec<Source>,
    /// Errors and warnings, file by file.
    pub problems: Vec<Problem>,
    /// The policy: with all errors left out, so only in force if there are none.
    pub policy: Box<Policy>,
}

impl Outcome {
    /// Is there an error, so that the last good policy stays in force?
    pub fn failed(&self) -> bool {
        any_error(&self.problems)
    }
}

/// A file that changed this recently may change again without its stamp telling: the clock that mtime is taken
/// from ticks every 1 to 10 ms.
const RACY: Duration = Duration::from_millis(40);

/// Compiles what these inputs name. Every file is read even if one before it is broken, so that all errors are told.
pub fn compile(inputs: &Inputs) -> Outcome {
    let mut outcome = Outcome { watched: Vec::new(), problems: Vec::new(), policy: builtin::policy() };
    match &inputs.base {
        Base::Builtin => {}
        Base::Folder(folder) => outcome.folder(folder),
        Base::Yaml(file) => outcome.file(file, Layer::System),
        Base::Compiled(file) => outcome.compiled(file),
    }
    if let Some(file) = &inputs.workspace {
        outcome.file(file, Layer::Workspace);
    }
    outcome
}

/// Lays these files upon the built-in policy, as `agentshctl policy check FILE…` does; files named `.agentsh.yaml` as
/// workspaces' files.
pub fn compile_files(files: &[PathBuf]) -> Outcome {
    let mut outcome = Outcome { watched: Vec::new(), problems: Vec::new(), policy: builtin::policy() };
    for file in files {
        let workspace = file.file_name().is_some_and(|name| name == place::WORKSPACE_FILE);
        outcome.file(file, if workspace { Layer::Workspace } else { Layer::System });
    }
    outcome
}

impl Outcome {
    fn folder(&mut self, folder: &Path) {
        // The stamp first: a file that comes in between makes the folder's stamp differ.
        self.watch(folder, Layer::System);
        let names = match fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.broken(folder, &error.to_string()),
        };
        let hidden = |path: &Path| path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        let mut files: Vec<PathBuf> =
            names.filter(|p| p.extension().is_some_and(|e| e == "yaml") && !hidden(p)).collect();
        files.sort();
        for file in files {
            self.file(&file, Layer::System);
        }
    }

    fn watch(&mut self, path: &Path, layer: Layer) -> Option<Stamp> {
        let meta = match layer {
            Layer::Workspace => fs::symlink_metadata(path),
            _ => fs::metadata(path),
        };
        let stamp = meta.ok().map(|meta| {
            let mut stamp = Stamp::of(&meta);
            let age = meta.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
            if age.is_none_or(|age| age < RACY) {
                // Compiled once more when the dust has settled.
                stamp.mtime_ns = place::UNSURE_MTIME;
            }
            stamp
        });
        self.watched.push(Source { path: path.to_string_lossy().into_owned(), layer, stamp });
        stamp
    }

    fn broken(&mut self, path: &Path, message: &str) {
        self.problems.push(Problem {
            file: path.to_string_lossy().into_owned(),
            mark: Mark { line: 1, column: 1 },
            severity: Severity::Error,
            message: message.into(),
        });
    }

    fn file(&mut self, path: &Path, layer: Layer) {
        let stamp = self.watch(path, layer);
        let Some(name) = path.to_str() else {
            return self.broken(path, "its path is not UTF-8");
        };
        if layer == Layer::Workspace && path.is_symlink() {
            return self.broken(path, "a symbolic link; a workspace's policy must be a file of its own");
        }
        let bytes = match place::read(path, Believe::Named, yaml::MOST_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return self.broken(path, &format!("{error}; a policy is a regular file of at most 1 MiB"));
            }
            Err(error) => return self.broken(path, &error.to_string()),
        };
        let trust = if layer == Layer::Workspace { Trust::Workspace } else { Trust::Operator };
        let (document, problems) = document::read(name, &bytes, trust);
        self.problems.extend(problems);
        if let Some(document) = document {
            let source = Source { path: name.to_string(), layer, stamp };
            self.problems.extend(layers::lay(&mut self.policy, &document, source));
        }
    }

    /// A compiled base: its own sources may be on another machine, so only the compiled file itself is watched.
    fn compiled(&mut self, path: &Path) {
        self.watch(path, Layer::System);
        let read = place::read(path, Believe::Named, MOST_BYTES as u64).map_err(|error| error.to_string());
        match read.and_then(|bytes| binary::decode(&bytes).map_err(|error| error.to_string())) {
            Ok(compiled) => self.policy = compiled.policy,
            Err(error) => self.broken(path, &error),
        }
    }

    /// The file that the launcher reads: the policy, or why there is none.
    pub fn to_bytes(&self, inputs: &Inputs) -> Vec<u8> {
        let (key, watched) = (inputs.key(), self.watched.clone());
        if self.failed() {
            let errors = self.problems.iter().filter(|p| p.severity == Severity::Error);
            // The first few tell it; `agentshctl policy check` tells all.
            let text = errors.take(3).map(Problem::to_string).collect::<Vec<_>>().join("; ");
            return binary::encode_failure(&Failure { key, watched, text });
        }
        binary::encode(&Compiled { key, watched, policy: self.policy.clone() })
    }
}

/// The policy in force, compiled first if that is due: what the next call gets.
pub fn in_force(env: &LoadEnv) -> Loaded {
    let loaded = store::load(env);
    if loaded.state != (State::Stale { compile: true }) {
        return loaded;
    }
    let mut problems = Vec::new();
    let (inputs, _) = store::inputs(env, &mut problems);
    let outcome = compile(&inputs);
    if let Err(error) = store(env, &inputs, &outcome) {
        // What was good before isn't known then; the launcher has the same difficulty.
        problems
            .push(format!("the compiled policy can't be kept, so calls have what lies below it: {error}"));
        let errors = outcome.problems.iter().filter(|p| p.severity == Severity::Error);
        problems.extend(errors.map(Problem::to_string));
        return Loaded { problem: Some(problems.join("; ")), ..loaded };
    }
    if outcome.failed() {
        return store::load(env);
    }
    let problem = (!problems.is_empty()).then(|| problems.join("; "));
    Loaded { policy: outcome.policy, state: State::Fresh, problem }
}

/// Puts the outcome where the launcher looks for it: the first cache that can be written.
///
/// # Errors
/// If no cache can be written; the error names the last one.
pub fn store(env: &LoadEnv, inputs: &Inputs, outcome: &Outcome) -> io::Result<PathBuf> {
    let name = if outcome.failed() { inputs.failure_name() } else { inputs.file_name() };
    let mut last =
        io::Error::new(io::ErrorKind::NotFound, "no cache: neither XDG_CACHE_HOME nor HOME is set");
    for cache in env.caches() {
        let file = cache.join(&name);
        let written = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&cache)
            .and_then(|()| write_whole(&file, &outcome.to_bytes(inputs), 0o600));
        match written {
            Ok(()) => return Ok(file),
            Err(error) => last = io::Error::new(error.kind(), format!("{}: {error}", cache.display())),
        }
    }
    Err(last)
}

/// Writes a file that is never seen half: beside it, and then renamed.
///
/// # Errors
/// What the kernel said.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The pid alone may be that of another one in another pid namespace, or of one that was killed here.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let beside = path.with_file_name(format!(".{name}.{}-{now}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .mode(mode)
            .open(&beside)?;
        file.write_all(bytes)?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // Nothing else can be done about a leftover that can't be removed either.
        let _ = fs::remove_file(&beside);
    }
    written
}
