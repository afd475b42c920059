//! Finds a program's entry: a hash table that the compiler fills.

use super::entry::Entry;
use super::rules::TABLES;

/// Slots of the hash table: a power of two, at least twice the number of names.
const SLOTS: usize = 8192;

/// A slot: which table, which entry, which of its names; `u16::MAX` as table if it is empty.
#[derive(Clone, Copy)]
struct Slot {
    table: u16,
    entry: u16,
    name: u16,
}

static INDEX: [Slot; SLOTS] = fill();

const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ name[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Fills the table; a name that stands in two rules doesn't compile.
const fn fill() -> [Slot; SLOTS] {
    let mut slots = [Slot { table: u16::MAX, entry: 0, name: 0 }; SLOTS];
    let mut table = 0;
    while table < TABLES.len() {
        let mut entry = 0;
        while entry < TABLES[table].len() {
            let names = TABLES[table][entry].names;
            let mut name = 0;
            while name < names.len() {
                let mut slot = hash(names[name].as_bytes());
                while slots[slot].table != u16::MAX {
                    let other = &slots[slot];
                    let taken = TABLES[other.table as usize][other.entry as usize].names[other.name as usize];
                    assert!(!same(taken.as_bytes(), names[name].as_bytes()), "a program stands in two rules");
                    slot = (slot + 1) % SLOTS;
                }
                slots[slot] = Slot { table: table as u16, entry: entry as u16, name: name as u16 };
                name += 1;
            }
            entry += 1;
        }
        table += 1;
    }
    slots
}

/// The entry of a program, and the name that it stands under, by its name or by its name without a version
/// (`python3.12`, `gcc-14`, `vitest@1`).
pub(super) fn find(program: &[u8]) -> Option<(&'static str, &'static Entry)> {
    if program.len() > 64 {
        return None;
    }
    exactly(program).or_else(|| {
        // `python.exe`, `vitest@1`
        let program = program.strip_suffix(b".exe").unwrap_or(program);
        let program = program.iter().position(|&b| b == b'@').map_or(program, |at| &program[..at]);
        let version = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let length = program.len() - program.iter().rev().take_while(|b| version(b)).count();
        exactly(&program[..length])
    })
}

fn exactly(program: &[u8]) -> Option<(&'static str, &'static Entry)> {
    let mut slot = hash(program);
    while let Slot { table, entry, name } = INDEX[slot]
        && table != u16::MAX
    {
        let found = &TABLES[table as usize][entry as usize];
        let name = found.names[name as usize];
        if name.as_bytes() == program {
            return Some((name, found));
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}
