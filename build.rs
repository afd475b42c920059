//! Compiles the built-in policy into the form that the binaries carry, by the very modules that `agentshctl` uses, and
//! the BPF programs with the Rust types of their maps.

use libbpf_cargo::SkeletonBuilder;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/class.rs"]
#[allow(dead_code)]
mod class;

/// Of src/policy, what reads YAML and writes the compiled form.
#[path = "src/policy"]
#[allow(dead_code)]
mod policy {
    pub mod compiled;
    pub mod document;
    pub mod knob;
    pub mod layers;
    pub mod problem;
    pub mod setting;
    pub mod units;
    pub mod unlimited;
    pub mod value;
    pub mod yaml;
    pub const BUILTIN_PATH: &str = "<built-in>/default.yaml";
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    order_of_start()?;
    builtin_policy()?;
    bpf_programs()
}

/// Tells the linker what every start runs, see there; and what needn't be run.
fn order_of_start() -> Result<(), Box<dyn std::error::Error>> {
    let order = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("src/launcher/start.ld");
    println!("cargo::rerun-if-changed={}", order.display());
    println!("cargo::rustc-link-arg-bin=agentsh=-Wl,-T,{}", order.display());
    // Without a part that is made read-only once it has started: that splits its data in three, which costs every start as
    // much as a system call and five page faults. What is left of relocations in a static program is a handful.
    println!("cargo::rustc-link-arg-bin=agentsh=-Wl,-z,norelro");
    for needless in ["__tunables_init", "_dl_non_dynamic_init"] {
        println!("cargo::rustc-link-arg-bin=agentsh=-Wl,--wrap={needless}");
    }
    Ok(())
}

/// bpf/NAME.bpf.c becomes NAME.skel.rs, which src/helper/bpf includes.
fn bpf_programs() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    static_libelf(&out)?;
    for name in ["agentsh_sched", "agentsh_monitor", "agentsh_memcg"] {
        SkeletonBuilder::new()
            .source(format!("bpf/{name}.bpf.c"))
            .obj(out.join(format!("{name}.bpf.o")))
            // v3: atomics that return what was there before.
            .clang_args(["-mcpu=v3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"])
            .build_and_generate(out.join(format!("{name}.skel.rs")))
            .map_err(|error| {
                let hint = "it needs clang, or what the environment variable CLANG names";
                format!("bpf/{name}.bpf.c: {error:#}\n({hint})")
            })?;
    }
    Ok(())
}

/// What this machine's libelf.a needs beside it, which libbpf-sys doesn't know: seen by linking against it.
fn static_libelf(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/helper/libeu.c");
    let listed = Command::new("pkg-config").args(["--static", "--libs", "libelf"]).output()?.stdout;
    let libraries = String::from_utf8(listed)?;
    // From 0.189 on. By the archive's own name: if the linker sees the shared library, the program gets dynamic sections
    // even though it needs nothing of it, and libc ends it at its start.
    if libraries.contains("-lzstd") {
        println!("cargo::rustc-link-arg=-l:libzstd.a");
    }
    let probe = out.join("libelf.c");
    std::fs::write(
        &probe,
        "void *elf_begin(int, int, void *);\nint main(void) { return !elf_begin(0, 0, 0); }\n",
    )?;
    let mut link = Command::new("cc");
    let linked =
        link.arg("-static").arg(&probe).arg("-o").arg(out.join("libelf")).args(libraries.split_whitespace());
    if String::from_utf8_lossy(&linked.output()?.stderr).contains("eu_search_tree") {
        let object = out.join("libeu.o");
        let built =
            Command::new("cc").args(["-O2", "-c", "src/helper/libeu.c", "-o"]).arg(&object).status()?;
        if !built.success() {
            return Err("src/helper/libeu.c can't be compiled".into());
        }
        println!("cargo::rustc-link-arg={}", object.display());
    }
    Ok(())
}

fn builtin_policy() -> Result<(), Box<dyn std::error::Error>> {
    use policy::{document, layers};
    println!("cargo::rerun-if-changed=policies/default.yaml");
    println!("cargo::rerun-if-changed=src/policy");
    println!("cargo::rerun-if-changed=src/class.rs");
    let (document, mut problems) = document::read(
        "policies/default.yaml",
        &std::fs::read("policies/default.yaml")?,
        document::Trust::Operator,
    );
    let policy =
        document.and_then(|document| layers::builtin(&document).map_err(|more| problems.extend(more)).ok());
    let Some(policy) = policy else {
        return Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into());
    };
    let policy::compiled::Policy { sources, classes, overrides, hints, log, session, holding } = policy;
    if !overrides.is_empty() || log.path.is_some() {
        return Err("policies/default.yaml: the built-in policy has no overrides and no path of a log".into());
    }
    // As constants: what every call needs shall not have to be decoded by every call.
    let constants = format!(
        "use crate::policy::compiled::{{Amount::*, Layer::*, Limits::*, Oom::*, OnExit::*, *}};\n\
         use crate::class::Classes;\n\
         pub const SOURCES: &[(&str, Layer)] = &{:?};\n\
         pub const CLASSES: [Knobs; {}] = {classes:?};\n\
         pub const HINTS: Hints = {hints:?};\n\
         pub const LOG: LogPolicy = {log:?};\n\
         pub const SESSION: SessionPolicy = {session:?};\n\
         pub const HOLDING: HoldingPolicy = {holding:?};\n",
        sources.iter().map(|source| (&source.path, source.layer)).collect::<Vec<_>>(),
        classes.len(),
    );
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("default.rs"), constants)?;
    Ok(())
}
