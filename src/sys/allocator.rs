//! The launcher's allocator. A call needs some 20 kB in a few hundred pieces and is over in milliseconds: they are taken
//! one behind the other from memory of our own, which costs a tenth of what the C library's lists do. Beyond that, the
//! system's allocator. Where that has nothing left, the [lifeboat](super::lifeboat), as Rust would abort.

use super::lifeboat;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A launcher that lives long comes to the system's allocator, which takes back what is freed in any order. Not touched, it
/// takes no memory.
const ARENA: usize = 64 << 10;
/// A piece that is larger would leave too little for the others.
const LARGEST: usize = ARENA / 8;

struct Memory(UnsafeCell<MaybeUninit<[u8; ARENA]>>);

// SAFETY: each byte is handed out to one owner only, by an atomic exchange of the arena's `used`.
unsafe impl Sync for Memory {}

static ARENA_MEMORY: Memory = Memory(UnsafeCell::new(MaybeUninit::uninit()));
/// Not beside its memory's end, which is hardly ever touched.
static THE_ARENA: Arena = Arena { memory: &ARENA_MEMORY, used: AtomicUsize::new(0) };

struct Arena {
    memory: &'static Memory,
    used: AtomicUsize,
}

impl Arena {
    fn start(&self) -> usize {
        self.memory.0.get() as usize
    }

    /// Where a piece begins in the arena; none if it is of the system's.
    fn offset(&self, piece: *mut u8) -> Option<usize> {
        Some((piece as usize).wrapping_sub(self.start())).filter(|&offset| offset < ARENA)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.size() > LARGEST {
            return None;
        }
        let used = self.used.load(Ordering::Relaxed);
        let from = (self.start() + used).next_multiple_of(layout.align()) - self.start();
        let end = from + layout.size();
        // One that comes between us (no launcher has two threads) may have the arena: the system has more.
        let ours = end <= ARENA && self.move_end(used, end);
        // SAFETY: `from` lies within the arena.
        ours.then(|| unsafe { self.memory.0.get().cast::<u8>().add(from) })
    }

    /// The last piece can grow where it is, or go; the others stay as they are.
    fn resize(&self, offset: usize, from: usize, to: usize) -> bool {
        offset + to <= ARENA && self.move_end(offset + from, offset + to)
    }

    fn move_end(&self, from: usize, to: usize) -> bool {
        self.used.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// See the module.
pub struct Allocator;

// SAFETY: pieces of the arena are disjoint, aligned and of the size asked for; the rest is handed on to the system's
// allocator; `board` doesn't allocate.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(piece) = THE_ARENA.take(layout) {
            return piece;
        }
        // SAFETY: the caller keeps GlobalAlloc's contract.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() {
            lifeboat::board();
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match THE_ARENA.offset(memory) {
            Some(offset) => {
                THE_ARENA.resize(offset, layout.size(), 0);
            }
            // SAFETY: the caller keeps GlobalAlloc's contract, and it came from there.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = THE_ARENA.offset(memory) else {
            // SAFETY: the caller keeps GlobalAlloc's contract, and it came from there.
            let grown = unsafe { System.realloc(memory, layout, size) };
            if grown.is_null() {
                lifeboat::board();
            }
            return grown;
        };
        let fits = size <= LARGEST && THE_ARENA.resize(offset, layout.size(), size);
        if fits || size <= layout.size() {
            return memory;
        }
        // SAFETY: the caller keeps GlobalAlloc's contract: the size is valid with this alignment.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both are at least that long, and a new piece overlaps no other.
            unsafe { memory.copy_to_nonoverlapping(moved, layout.size().min(size)) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    fn arena() -> Arena {
        let memory = Box::leak(Box::new(Memory(UnsafeCell::new(MaybeUninit::uninit()))));
        Arena { memory, used: AtomicUsize::new(0) }
    }

    #[test]
    fn pieces_are_aligned_disjoint_and_end_with_the_arena() {
        let arena = arena();
        let mut end = arena.start();
        let mut pieces = 0;
        while let Some(piece) = arena.take(layout(100 + pieces % 7, 1 << (pieces % 5))) {
            assert_eq!(piece as usize % (1 << (pieces % 5)), 0);
            assert!(piece as usize >= end);
            end = piece as usize + 100 + pieces % 7;
            assert!(end <= arena.start() + ARENA);
            pieces += 1;
        }
        assert!(pieces > 500, "{pieces}");
        assert!(arena.take(layout(LARGEST + 1, 1)).is_none());
    }

    #[test]
    fn only_the_last_piece_grows_or_goes_and_none_beyond_the_end() {
        let arena = arena();
        let first = arena.take(layout(10, 1)).unwrap();
        let last = arena.take(layout(20, 1)).unwrap();
        let (first, last) = (arena.offset(first).unwrap(), arena.offset(last).unwrap());
        assert!(!arena.resize(first, 10, 11) && !arena.resize(first, 10, 0));
        assert!(arena.resize(last, 20, 4000) && !arena.resize(last, 4000, ARENA));
        assert!(arena.resize(last, 4000, 0));
        assert_eq!(arena.used.load(Ordering::Relaxed), 10);
        let outside = &mut 0u8;
        assert_eq!(arena.offset(outside), None);
    }
}
