//! What is left when agentsh itself fails: an allocation that is refused, a bug. Before the shell has been
//! started we become it; afterwards we only wait for it and end as it ends. Nothing here allocates.

use super::args::Args;
use super::process::{self, Change};
use super::{exec, signal};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicI32, Ordering};

/// What the lifeboat needs to know, all of it set before it can be needed.
struct Boat {
    /// The real shell and what it is called with.
    shell: UnsafeCell<Option<(Args, &'static CStr)>>,
    /// The caller's signal mask, to be put back.
    mask: UnsafeCell<Option<signal::Set>>,
    /// The shell's pid once it runs.
    child: AtomicI32,
}

// SAFETY: the launcher has one thread; nothing else ever touches the boat.
unsafe impl Sync for Boat {}

static BOAT: Boat =
    Boat { shell: UnsafeCell::new(None), mask: UnsafeCell::new(None), child: AtomicI32::new(0) };

/// From now on a failure becomes this shell.
pub fn ready(args: Args, shell: &'static CStr) {
    // SAFETY: one thread, and no reference into the cell is kept anywhere.
    unsafe { *BOAT.shell.get() = Some((args, shell)) };
}

/// From now on signals are blocked, and this mask was the caller's.
pub fn signals_blocked(mask: signal::Set) {
    // SAFETY: as above.
    unsafe { *BOAT.mask.get() = Some(mask) };
}

/// From now on a failure waits for this child.
pub fn started(child: i32) {
    BOAT.child.store(child, Ordering::Relaxed);
}

/// Saves the command; returns only if there is nothing to be saved.
pub fn board() {
    let child = BOAT.child.load(Ordering::Relaxed);
    if child != 0 {
        if let Some((change, _)) = process::wait_end(child) {
            end_as(change);
        }
        exec::exit_now(1);
    }
    // SAFETY: one thread, and no reference into the cells is kept anywhere.
    let (shell, mask) = unsafe { (*BOAT.shell.get(), *BOAT.mask.get()) };
    if let Some((args, shell)) = shell {
        if let Some(mask) = mask {
            signal::set_mask(mask);
        }
        exec::exec(shell, &args);
    }
}

/// Ends as the child ended: with the same status, or by the same signal.
pub fn end_as(change: Change) -> ! {
    if let Change::Killed(number) = change {
        process::forbid_core();
        signal::raise_default(number);
        // As PID 1 of a namespace no signal of our own can end us.
        exec::exit_now(128 + number);
    }
    exec::exit_now(if let Change::Exited(status) = change { status } else { 1 })
}

/// The system's allocator, with the lifeboat where Rust would abort.
pub struct Allocator;

// SAFETY: everything is handed on to the system's allocator; `board` doesn't allocate.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() {
            board();
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        let grown = unsafe { System.realloc(memory, layout, size) };
        if grown.is_null() {
            board();
        }
        grown
    }
}
