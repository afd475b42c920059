//! What the kernel put on our stack: argv, the environment and the auxiliary vector.

use std::ffi::{CStr, c_char, c_int, c_ulong};

/// The arguments and the environment exactly as the kernel handed them over: the very pointers, so that they
/// can be handed on without a copy, whatever bytes they hold.
#[derive(Clone, Copy)]
pub struct Args {
    argc: usize,
    argv: *const *const c_char,
    envp: *const *const c_char,
    /// The arguments as the kernel laid them out, whatever `argv` is by now.
    line: (usize, *const *const c_char),
}

impl Args {
    /// Wraps what `main` was given.
    ///
    /// # Safety
    /// `argv` must be the argument vector that the kernel made for this process: `argc` pointers and a null,
    /// followed by the environment's pointers and a null, all valid and unchanged for the whole run.
    pub unsafe fn new(argc: c_int, argv: *const *const c_char) -> Args {
        let argc = usize::try_from(argc).unwrap_or(0);
        // SAFETY: the kernel lays the environment right behind argv's terminating null.
        let envp = unsafe { argv.add(argc + 1) };
        Args { argc, argv, envp, line: (argc, argv) }
    }

    /// The same arguments, but for argv[0], behind others: what a program gets that is not started as we were.
    pub fn behind(&self, front: &[&'static CStr]) -> Args {
        let own = (1..self.argc).filter_map(|i| self.get(i));
        let mut argv: Vec<*const c_char> = front.iter().copied().chain(own).map(CStr::as_ptr).collect();
        let argc = argv.len();
        argv.push(std::ptr::null());
        // Kept for the whole run: it is needed until exec.
        Args { argc, argv: argv.leak().as_ptr(), ..*self }
    }

    /// How many arguments, argv[0] counted.
    pub fn len(&self) -> usize {
        self.argc
    }

    /// An execve caller may hand over no argument at all, not even argv[0].
    pub fn is_empty(&self) -> bool {
        self.argc == 0
    }

    /// One argument.
    pub fn get(&self, i: usize) -> Option<&'static CStr> {
        if i >= self.argc {
            return None;
        }
        // SAFETY: i < argc, so argv[i] is a pointer to a NUL-terminated string that lives as long as we do.
        Some(unsafe { CStr::from_ptr(*self.argv.add(i)) })
    }

    /// All arguments as bytes.
    pub fn bytes(&self) -> Vec<&'static [u8]> {
        (0..self.argc).filter_map(|i| self.get(i)).map(CStr::to_bytes).collect()
    }

    /// The environment's entries, `NAME=value` for the most part.
    pub fn environment(&self) -> impl Iterator<Item = &'static [u8]> + Clone + use<> {
        let mut at = self.envp;
        std::iter::from_fn(move || {
            // SAFETY: `at` walks the environment's pointers and never passes their terminating null.
            let entry = unsafe { *at };
            if entry.is_null() {
                return None;
            }
            // SAFETY: there is a further pointer (at the least the null) behind a non-null one.
            at = unsafe { at.add(1) };
            // SAFETY: the entry is a NUL-terminated string that lives as long as we do.
            Some(unsafe { CStr::from_ptr(entry) }.to_bytes())
        })
    }

    /// Gives the process another command line, as far as it fits: what /proc/PID/cmdline shows. The arguments are lost, so
    /// nothing that came from them may be used any more.
    pub fn overwrite(&self, name: &CStr) {
        let given = Args { argc: self.line.0, argv: self.line.1, ..*self };
        let Some(last) = given.get(given.argc.wrapping_sub(1)) else { return };
        // SAFETY: there is a last argument, and so there is a first.
        let begin = unsafe { *given.argv }.cast_mut().cast::<u8>();
        let length = (last.as_ptr() as usize + last.count_bytes()).saturating_sub(begin as usize);
        let name = name.to_bytes();
        let taken = name.len().min(length);
        // SAFETY: the kernel lays the arguments one behind the other into our writable stack; `length` is that of all of
        // them but for the last NUL, and `name` lies elsewhere.
        unsafe {
            std::ptr::copy_nonoverlapping(name.as_ptr(), begin, taken);
            std::ptr::write_bytes(begin.add(taken), 0, length - taken);
        }
    }

    /// argv for execve.
    pub fn argv(&self) -> *const *const c_char {
        self.argv
    }

    /// The environment for execve.
    pub fn envp(&self) -> *const *const c_char {
        self.envp
    }
}

fn auxv(kind: c_ulong) -> c_ulong {
    // SAFETY: getauxval reads the vector that the C library saved at start-up; unknown kinds give 0.
    unsafe { libc::getauxval(kind) }
}

/// Were we started by a program that gained privileges (setuid, setgid, file capabilities)?
pub fn at_secure() -> bool {
    auxv(libc::AT_SECURE) != 0
}

/// The path that execve was called with. For a script with `#!` it is the script's.
pub fn exec_path() -> Option<&'static CStr> {
    let at = auxv(libc::AT_EXECFN) as *const c_char;
    // SAFETY: a non-null AT_EXECFN points to a NUL-terminated string on the initial stack.
    (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) })
}

/// Defines the C `main` of a `no_main` program. Rust's own start-up would open /dev/null on a closed fd 0, 1 or 2
/// and ignore SIGPIPE, and both would be handed on to the shell.
#[macro_export]
macro_rules! c_main {
    ($run:path) => {
        /// By this note agentsh recognises its own file under any name.
        #[used]
        #[unsafe(link_section = ".note.agentsh")]
        static NOTE: $crate::launcher::note::Note = $crate::launcher::note::NOTE;

        /// In the place of the C library's `__tunables_init` (build.rs tells the linker), which compares each variable of the
        /// environment with each of its tunables: a fifth of all that a start runs. What GLIBC_TUNABLES says is meant for the
        /// command, whose own C library reads it.
        #[unsafe(no_mangle)]
        pub extern "C" fn __wrap___tunables_init(_environment: *const *const std::ffi::c_char) {}

        /// In the place of what the C library prepares in a static program for loading others into it: it asks for our own
        /// path, splits LD_LIBRARY_PATH, looks names up in the vDSO. Nothing is ever loaded into us.
        #[unsafe(no_mangle)]
        pub extern "C" fn __wrap__dl_non_dynamic_init() {}

        /// # Safety
        /// Called by the C library, with what the kernel handed over.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(
            argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: the C library calls main with the kernel's own argument vector.
            let args = unsafe { $crate::sys::args::Args::new(argc, argv) };
            $run(args)
        }
    };
}
