//! Making a session as a person asks for it: what `agentshctl run` and `agentsh-helper session` share.

use super::pool::Pool;
use super::session::{self, Priority, Spec};
use super::{dir::Dir, meminfo};
use crate::policy::compiled::{Amount, SessionPolicy};
use nix::unistd::{Gid, Uid};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The session's name.
    pub name: &'a str,
    /// The limit for the agent and all its calls; a percentage is of what is available.
    pub memory_max: Option<Amount>,
    /// Who gives way first.
    pub priority: Priority,
    /// Whose it becomes; none for the caller's own.
    pub user: Option<(Uid, Gid)>,
}

/// Makes the session, or renews the limits of the one of that name. Gives it, its limits, and what it lacks.
pub fn make(
    pool: &Pool,
    wish: &Wish,
    maker: &[u8],
    policy: &SessionPolicy,
) -> Result<(Dir, Spec, Vec<String>), String> {
    let available = meminfo::available();
    let above = pool.limit();
    let share = |permille: u16| above.or(available).map(|all| all / 1000 * u64::from(permille));
    let max = match wish.memory_max {
        None | Some(Amount::Max) => None,
        Some(Amount::Bytes(bytes)) => Some(bytes),
        Some(Amount::Permille(permille)) => share(permille),
    };
    let spec = Spec { priority: wish.priority, ..Spec::of(Some(policy), max, above, available) };
    let (base, lacks) = session::make(&pool.dir, wish.name, maker, &spec).map_err(|e| e.to_string())?;
    if let Some((uid, gid)) = wish.user {
        session::hand_over(&base, uid, gid).map_err(|e| e.to_string())?;
    }
    pool.protect();
    Ok((base, spec, lacks))
}
