//! Recognising agentsh by a note in the ELF file: hard links, copies and overlays all have another inode, but the
//! same note.

use nix::sys::stat::{SFlag, fstat, stat};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const PT_NOTE: u64 = 4;

/// The note's owner, with its terminating NUL.
pub const OWNER: [u8; 8] = *b"agentsh\0";

/// An ELF note without a description (`Elf64_Nhdr` and the owner).
#[repr(C, align(4))]
pub struct Note {
    owner_len: u32,
    description_len: u32,
    kind: u32,
    owner: [u8; 8],
}

/// What `agentsh` carries in its section `.note.agentsh`.
pub const NOTE: Note = Note { owner_len: OWNER.len() as u32, description_len: 0, kind: 1, owner: OWNER };

/// What kind of program a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// agentsh itself.
    Ourselves,
    /// Another ELF program.
    Elf,
    /// An ELF program that is smaller than any shell: it may be a wrapper, which starts another one.
    Small,
    /// No ELF program: a script, a folder, nothing at all.
    Not,
    /// A file that can't be read now: its mode, a security module, or no descriptor left to open it.
    Unreadable,
}

/// Of the shells in common use dash is the smallest, with 90 kB at the least; the wrappers that Nix makes have up to 40.
const SMALLEST_SHELL: u64 = 64 << 10;

/// What a look at a file told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What kind of program it is.
    pub program: Program,
    /// May everybody execute it, by its mode? Else who we are matters.
    pub for_everybody: bool,
}

/// Looks at a file that somebody else named: not even opened if it is a FIFO, which would wait for a writer, or a device,
/// which may do anything.
pub fn inspect(path: &Path) -> Seen {
    match stat(path) {
        Ok(meta) if is_file(meta.st_mode) => inspect_usual(path),
        _ => Seen { program: Program::Not, for_everybody: false },
    }
}

/// Looks at a file in one of the places where shells are: opened at once, as every script's shell comes through here.
pub fn inspect_usual(path: &Path) -> Seen {
    match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path) {
        Ok(mut file) => inspect_open(&mut file),
        Err(error) => {
            let missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
            // A socket or a folder that can't be opened is no program either, but what can't be read may be one.
            let is_file = !missing && stat(path).is_ok_and(|meta| is_file(meta.st_mode));
            Seen { program: if is_file { Program::Unreadable } else { Program::Not }, for_everybody: false }
        }
    }
}

fn is_file(mode: libc::mode_t) -> bool {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

fn inspect_open(file: &mut File) -> Seen {
    let Some(meta) = fstat(&*file).ok().filter(|meta| is_file(meta.st_mode)) else {
        return Seen { program: Program::Not, for_everybody: false };
    };
    let program = match inspect_file(file).unwrap_or(Program::Not) {
        Program::Elf if u64::try_from(meta.st_size).unwrap_or(0) < SMALLEST_SHELL => Program::Small,
        program => program,
    };
    Seen { program, for_everybody: meta.st_mode & 0o111 == 0o111 }
}

fn inspect_file(file: &mut File) -> Option<Program> {
    // One read reaches the program headers and, in our own case, the notes behind them.
    let mut start = [0; 2048];
    let n = file.read(&mut start).ok()?;
    let start = &start[..n];
    if !start.starts_with(b"\x7fELF") {
        return Some(Program::Not);
    }
    if start.get(4) != Some(&2) {
        return Some(Program::Elf); // 32 bits: not us.
    }
    let table = usize::try_from(number(start, 32, 8)?).ok()?;
    let (size, count) = (number(start, 54, 2)? as usize, number(start, 56, 2)? as usize);
    for i in 0..count.min(64) {
        let header = table.checked_add(i * size)?;

        let Some(kind) = number(start, header, 4) else { break };
        if kind != PT_NOTE {
            continue;
        }
        let (offset, len) =
            (number(start, header + 8, 8)?, number(start, header + 32, 8)?.min(4096) as usize);
        let inside = usize::try_from(offset).ok().and_then(|o| start.get(o..o.checked_add(len)?));
        let mut elsewhere = Vec::new();
        let notes = match inside {
            Some(notes) => notes,
            None => {
                elsewhere.resize(len, 0);
                let n = file.read_at(&mut elsewhere, offset).unwrap_or(0);
                &elsewhere[..n]
            }
        };
        if has_owner(notes) {
            return Some(Program::Ourselves);
        }
    }
    Some(Program::Elf)
}

fn has_owner(mut notes: &[u8]) -> bool {
    while let (Some(owner), Some(description)) = (number(notes, 0, 4), number(notes, 4, 4)) {
        let owner_end = 12 + owner as usize;
        if notes.get(12..owner_end) == Some(&OWNER[..]) {
            return true;
        }
        let next = owner_end.next_multiple_of(4) + (description as usize).next_multiple_of(4);
        match notes.get(next..) {
            Some(rest) if !rest.is_empty() => notes = rest,
            _ => break,
        }
    }
    false
}

/// A little-endian number of `len` bytes at `at`. (Both our targets are little-endian.)
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_programs_scripts_and_nothing_are_told_apart() {
        for look in [inspect, inspect_usual] {
            let program = |path: &str| look(Path::new(path)).program;
            assert_eq!(look(Path::new("/bin/bash")), Seen { program: Program::Elf, for_everybody: true });
            assert!(!look(Path::new("/etc/passwd")).for_everybody);
            for no in ["/etc/passwd", "/nowhere", "/etc/passwd/nowhere", "/", "/dev/null"] {
                assert_eq!(program(no), Program::Not, "{no}");
            }
        }
    }

    #[test]
    fn damaged_files_are_no_danger() {
        let whole = std::fs::read("/bin/bash").expect("bash can be read")[..2048].to_vec();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("elf");
        for at in (0..whole.len()).step_by(7) {
            let mut bad = whole.clone();
            bad[at] ^= 0xff;
            std::fs::write(&path, &bad).expect("written");
            inspect(&path);
            std::fs::write(&path, &bad[..at]).expect("written");
            inspect(&path);
        }
    }
}
