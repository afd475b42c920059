//! Recognising agentsh by a note in the ELF file: hard links, copies and overlays all have another inode, but the
//! same note.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
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

/// Looks at a file.
pub fn inspect(path: &Path) -> Program {
    // Not even opened if it is a FIFO, which would wait for a writer, or a device, which may do anything.
    let Ok(meta) = fs::metadata(path) else { return Program::Not };
    if !meta.is_file() {
        return Program::Not;
    }
    let Ok(mut file) = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) else {
        return Program::Unreadable;
    };
    match inspect_file(&mut file).unwrap_or(Program::Not) {
        Program::Elf if meta.len() < SMALLEST_SHELL => Program::Small,
        program => program,
    }
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
        assert_eq!(inspect(Path::new("/bin/bash")), Program::Elf);
        assert_eq!(inspect(Path::new("/etc/passwd")), Program::Not);
        assert_eq!(inspect(Path::new("/nowhere")), Program::Not);
        assert_eq!(inspect(Path::new("/")), Program::Not);
        assert_eq!(inspect(Path::new("/dev/null")), Program::Not);
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
