//! The variables that the launcher reads. It never sets one.

use crate::sys::args::{self, Args};

/// What the environment says to us, as it was handed over.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // the variables of the contract's table C, by their names
pub struct Env {
    pub real_shell: Option<&'static [u8]>,
    pub policy: Option<&'static [u8]>,
    pub log: Option<&'static [u8]>,
    pub session: Option<&'static [u8]>,
    pub off: bool,
    pub hint: Option<&'static [u8]>,
    pub home: Option<&'static [u8]>,
    pub path: Option<&'static [u8]>,
    pub state_home: Option<&'static [u8]>,
    pub cache_home: Option<&'static [u8]>,
    pub pwd: Option<&'static [u8]>,
    /// ccache is told which compiler to take, or where to look for it.
    pub ccache_told: Option<&'static [u8]>,
    pub listen_pid: Option<&'static [u8]>,
    pub watchdog_pid: Option<&'static [u8]>,
    pub notify_socket: Option<&'static [u8]>,
    pub systemd_exec_pid: Option<&'static [u8]>,
    /// Started by a setuid program: nothing above was read.
    pub secure: bool,
}

impl Env {
    /// Reads it; nothing at all where privileges were gained (AT_SECURE), as then the environment is an attacker's.
    pub fn read(args: &Args) -> Env {
        let mut env = Env { secure: args::at_secure(), ..Env::default() };
        if env.secure {
            return env;
        }
        for entry in args.environment() {
            // Most variables are told apart from ours by their first letter.
            let place = match entry.first() {
                Some(b'A' | b'C' | b'H' | b'L' | b'N' | b'P' | b'S' | b'W' | b'X') => {
                    entry.iter().position(|&b| b == b'=')
                }
                _ => None,
            };
            let Some(place) = place else { continue };
            let value = &entry[place + 1..];
            let slot = match &entry[..place] {
                b"AGENTSH_REAL_SHELL" => &mut env.real_shell,
                b"AGENTSH_POLICY" => &mut env.policy,
                b"AGENTSH_LOG" => &mut env.log,
                b"AGENTSH_SESSION" => &mut env.session,
                b"AGENT_RESOURCE_HINT" => &mut env.hint,
                b"HOME" => &mut env.home,
                b"PATH" => &mut env.path,
                b"PWD" => &mut env.pwd,
                b"CCACHE_PATH" | b"CCACHE_COMPILER" | b"CCACHE_CC" => &mut env.ccache_told,
                b"LISTEN_PID" => &mut env.listen_pid,
                b"WATCHDOG_PID" => &mut env.watchdog_pid,
                b"NOTIFY_SOCKET" => &mut env.notify_socket,
                b"SYSTEMD_EXEC_PID" => &mut env.systemd_exec_pid,
                b"XDG_STATE_HOME" => &mut env.state_home,
                b"XDG_CACHE_HOME" => &mut env.cache_home,
                b"AGENTSH_OFF" => {
                    env.off = value == b"1";
                    continue;
                }
                _ => continue,
            };
            // The first one counts, as in getenv.
            if slot.is_none() && !value.is_empty() {
                *slot = Some(value);
            }
        }
        env
    }
}
