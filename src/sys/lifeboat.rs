//! What is left when agentsh itself fails: an allocation that is refused, a bug, a fault. Before the shell has been
//! started we become it; afterwards we only wait for it and end as it ends. Nothing here allocates.

use super::args::Args;
use super::process::{self, Change};
use super::{exec, fault, signal};
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
    /// The child's pid as it sees it itself, written by it where its parent may see it too, in memory that both have.
    in_child: AtomicI32,
    /// How the shell ended: it can be waited for only once.
    end: UnsafeCell<Option<Change>>,
}

// SAFETY: the launcher has one thread; nothing else ever touches the boat.
unsafe impl Sync for Boat {}

static BOAT: Boat = Boat {
    shell: UnsafeCell::new(None),
    mask: UnsafeCell::new(None),
    child: AtomicI32::new(0),
    in_child: AtomicI32::new(0),
    end: UnsafeCell::new(None),
};

/// From now on a failure becomes this shell.
pub fn ready(args: Args, shell: &'static CStr) {
    // SAFETY: one thread, and no reference into the cell is kept anywhere.
    unsafe { *BOAT.shell.get() = Some((args, shell)) };
    fault::catch();
}

/// In a helper process of ours: its failures are its own, and the command must not be run again for them.
pub fn leave() {
    // SAFETY: as above.
    unsafe { *BOAT.shell.get() = None };
    BOAT.child.store(0, Ordering::Relaxed);
}

/// From now on signals are blocked, and this mask was the caller's.
pub fn signals_blocked(mask: signal::Set) {
    // SAFETY: as above.
    unsafe { *BOAT.mask.get() = Some(mask) };
}

/// Are they?
pub fn signals_are_blocked() -> bool {
    // SAFETY: as above.
    unsafe { (*BOAT.mask.get()).is_some() }
}

/// Where the kernel writes the shell's pid, before the shell runs: from then on a failure waits for it. There must be
/// no moment in which it runs and we don't know, or it would be started twice.
pub fn child() -> *mut i32 {
    BOAT.child.as_ptr()
}

/// The shell's pid, where the kernel has not written it.
pub fn has_child(pid: i32) {
    BOAT.child.store(pid, Ordering::Relaxed);
}

/// In the child, which may share its parent's memory: a failure becomes the shell, and waits for nobody.
pub fn in_child() {
    BOAT.in_child.store(std::process::id() as i32, Ordering::Relaxed);
}

/// Are we the child that is no program yet? No mere flag, as nobody could take it down in time once the child is one.
fn are_child() -> bool {
    let child = BOAT.in_child.load(Ordering::Relaxed);
    child > 0 && child == std::process::id() as i32
}

/// From now on a failure ends as the shell has ended.
pub fn ended(change: Change) {
    // SAFETY: as above.
    unsafe { *BOAT.end.get() = Some(change) };
}

/// Saves the command; returns only if there is nothing to be saved.
pub fn board() {
    // SAFETY: one thread, and no reference into the cell is kept anywhere.
    if let Some(change) = unsafe { *BOAT.end.get() } {
        end_as(change);
    }
    let child = BOAT.child.load(Ordering::Relaxed);
    if child != 0 && !are_child() {
        if let Some((change, _)) = process::wait_end(child) {
            end_as(change);
        }
        exec::exit_now(1);
    }
    // SAFETY: as above.
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
