//! Starting the shell: clone3, straight into its cgroup.

use super::args::Args;
use super::lifeboat;
use super::signal::{self, Set};
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `libc::CLONE_INTO_CGROUP` is 0 in libc 0.2 (its type is too narrow): linux/sched.h has this.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child does between clone and exec.
pub struct Start<'a> {
    /// The program to become.
    pub program: &'a CStr,
    /// Our own arguments and environment, handed on.
    pub args: Args,
    /// The cgroup to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The caller's signal mask, to be put back.
    pub mask: Set,
    /// Signals to be ignored again, as the caller had them.
    pub ignored: &'a [i32],
    /// Sent to the child when we die; as PID 1 we take the whole namespace with us anyway.
    pub death_signal: i32,
    /// Written to /proc/self/oom_score_adj.
    pub oom_score_adj: Option<&'a str>,
}

/// Starts the child and gives its pid. It comes back when the child has become the program (or failed to):
/// CLONE_VFORK. No pidfd: as the parent of a child that only we reap, its pid can't come to mean another process.
///
/// clone3 only where a cgroup is to be entered: it is refused in most containers, and some seccomp filters kill for it.
pub fn spawn(start: &Start) -> io::Result<i32> {
    let Some(cgroup) = start.cgroup else { return spawn_then_join(start) };
    // SAFETY: an all-zero clone_args is valid.
    let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
    request.flags = (libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID) as u64 | CLONE_INTO_CGROUP;
    request.parent_tid = lifeboat::child() as u64;
    request.exit_signal = libc::SIGCHLD as u64;
    request.cgroup = cgroup.as_raw_fd() as u64;
    started(clone(
        How::Clone3(&mut request),
        &Child { start, parent: std::process::id() as i32, joins: None },
    ))
}

/// The same for kernels and seccomp filters that refuse that. The child moves into its cgroup by itself, which can take tens of
/// milliseconds; if it isn't let in it runs where it is.
pub fn spawn_then_join(start: &Start) -> io::Result<i32> {
    let child = Child { start, parent: std::process::id() as i32, joins: start.cgroup };
    let flags = libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
    started(match clone(How::Clone(flags), &child) {
        // Not with these flags; then as everybody does it.
        refused if [libc::ENOSYS, libc::EPERM, libc::EINVAL].map(|e| -i64::from(e)).contains(&refused) => {
            fork(&child, libc::CLONE_PARENT_SETTID | libc::SIGCHLD)
        }
        answer => answer,
    })
}

fn started(answer: i64) -> io::Result<i32> {
    let Ok(pid @ 1..) = i32::try_from(answer) else {
        return Err(io::Error::from_raw_os_error(i32::try_from(-answer).unwrap_or(libc::EINVAL)));
    };
    // An emulator writes it in the child's copy of our memory only.
    lifeboat::has_child(pid);
    Ok(pid)
}

/// What the child needs.
struct Child<'a> {
    start: &'a Start<'a>,
    parent: i32,
    /// The cgroup that it goes into by itself.
    joins: Option<BorrowedFd<'a>>,
}

extern "C" fn in_child(child: &Child) -> ! {
    lifeboat::in_child();
    if let Some(cgroup) = child.joins {
        join(cgroup);
    }
    become_program(child.start, child.parent)
}

/// By which system call.
enum How<'a> {
    Clone3(&'a mut libc::clone_args),
    Clone(i32),
}

/// With CLONE_VM: the child runs in our memory, on our stack below this function's frame, while CLONE_VFORK has us
/// stand still until it has become the program. Copying our memory for it instead takes longer than all of the rest.
/// Gives the pid or a negative error number.
#[cfg(target_arch = "x86_64")]
fn clone(how: How, child: &Child) -> i64 {
    let (call, first, second) = match how {
        How::Clone3(request) => {
            request.flags |= libc::CLONE_VM as u64;
            (libc::SYS_clone3, &raw const *request as usize, size_of::<libc::clone_args>())
        }
        // Its second argument is the child's stack: null, as it takes ours.
        How::Clone(flags) => (libc::SYS_clone, (flags | libc::CLONE_VM) as usize, 0),
    };
    let answer: i64;
    // SAFETY: the request is valid, and as large as said. Without `nostack` the compiler keeps nothing below the stack
    // pointer and has it aligned for a call, so the child's call harms no frame of ours; it never returns. What it changes
    // in memory the compiler expects of the block. Registers are the child's own copies. What is in rdx is where clone writes the
    // pid; clone3 has no third argument.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r12",
            "call {in_child}",
            "ud2",
            "2:",
            in_child = sym in_child,
            inlateout("rax") call => answer,
            in("rdi") first,
            in("rsi") second,
            in("rdx") lifeboat::child(),
            in("r10") 0_usize,
            in("r8") 0_usize,
            in("r12") child,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    answer
}

/// With a copy of our memory for the child. Gives the pid or a negative error number.
#[cfg(not(target_arch = "x86_64"))]
fn clone(how: How, child: &Child) -> i64 {
    let request = match how {
        How::Clone3(request) => request,
        How::Clone(flags) => return fork(child, flags),
    };
    // SAFETY: no CLONE_VM, so the child has its own copy of our memory and stack, and as a single-threaded
    // process we hold no lock that the copy could be missing the owner of.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const *request, size_of::<libc::clone_args>()) } {
        -1 => -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
        0 => in_child(child),
        pid => pid,
    }
}

/// The same as everybody does it. Gives the pid or a negative error number.
fn fork(child: &Child, flags: i32) -> i64 {
    let none = std::ptr::null_mut::<i32>();
    // SAFETY: the child has its own copy of our memory and stack, and as a single-threaded process we hold no lock that the
    // copy could be missing the owner of. (The order of the last two differs between processors, and both are null.)
    match unsafe { libc::syscall(libc::SYS_clone, flags, none, lifeboat::child(), none, none) } {
        -1 => -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
        0 => in_child(child),
        pid => pid,
    }
}

/// Starts a process in our process group that holds no file, blocks every signal as we do but for those in `deadly`, of which it
/// dies, and ends with us: see `launcher::sentinel`. None if that isn't possible.
pub fn sleeper(deadly: Set) -> Option<i32> {
    let parent = std::process::id() as i32;
    // SAFETY: a single-threaded process may do anything in the child of a fork.
    match unsafe { libc::fork() } {
        -1 => None,
        0 => {
            lifeboat::leave();
            // SAFETY: prctl and getppid take numbers only.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if deadly != Set::none() {
                    // It leaves no core behind.
                    libc::prctl(libc::PR_SET_DUMPABLE, 0);
                }
                if ![0, parent].contains(&libc::getppid()) {
                    super::exec::exit_now(0);
                }
            }
            super::fd::close_all_but(&mut []);
            signal::unblock(deadly);
            loop {
                // SAFETY: no signal has a handler, so this never returns.
                unsafe { libc::pause() };
            }
        }
        pid => Some(pid),
    }
}

fn join(cgroup: BorrowedFd) {
    // SAFETY: a constant path below a valid directory; the buffer is as long as said.
    unsafe {
        let procs =
            libc::openat(cgroup.as_raw_fd(), c"cgroup.procs".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if procs >= 0 {
            libc::write(procs, c"0".as_ptr().cast(), 1);
            libc::close(procs);
        }
    }
}

/// The child's way to the program. It may be running in its parent's memory: nothing here allocates.
fn become_program(start: &Start, parent: i32) -> ! {
    if start.death_signal != 0 {
        // SAFETY: prctl with integer arguments.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, start.death_signal) };
        // SAFETY: getppid has no preconditions. (Where a sandbox refuses it or getpid, they are negative; of a parent in another
        // pid namespace, as behind `unshare -p`, it is 0.)
        let seen = unsafe { libc::getppid() };
        if seen > 0 && parent > 0 && seen != parent {
            super::exec::exit_now(128 + libc::SIGKILL);
        }
    }
    if let Some(adj) = start.oom_score_adj {
        set_oom_score_adj(adj);
    }
    for &ignored in start.ignored {
        signal::set_ignored(ignored);
    }
    signal::set_mask(start.mask);
    let error = super::exec::exec(start.program, &start.args);
    super::exec::refuse(start.program, &error)
}

/// A score that can't be set is no reason not to run.
fn set_oom_score_adj(adj: &str) {
    // SAFETY: a constant path; the buffer is as long as said.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, adj.as_ptr().cast(), adj.len());
            libc::close(file);
        }
    }
}
