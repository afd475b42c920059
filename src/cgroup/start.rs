//! Making a session as a person asks for it: what `agentshctl run` and `agentsh-helper session` share.

use super::admission::{Refusal, Room};
use super::pool::Pool;
use super::session::{self, Priority, Spec};
use super::{Error, dir::Dir, meminfo};
use crate::policy::compiled::{Amount, SessionPolicy};
use nix::unistd::{Gid, Uid};
use std::fmt;

/// What a session is guaranteed, whatever others take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// The agent's reserve, as far as it is there: nobody counts.
    Uncounted,
    /// The agent's reserve, for which there must be a place in the pool.
    Reserve,
    /// So many bytes for the agent and its calls together, for which there must be a place.
    Bytes(u64),
}

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
    /// What it is guaranteed.
    pub guarantee: Guarantee,
}

/// Why a session isn't made.
#[derive(Debug)]
pub enum Refused {
    /// There is no place for it.
    Full(Refusal),
    /// Something else, in words.
    Because(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Full(refusal) => refusal.fmt(f),
            Refused::Because(why) => f.write_str(why),
        }
    }
}

/// Is there a place in the pool for so many such sessions?
pub fn admit(pool: &Pool, wish: &Wish, count: u32, policy: &SessionPolicy) -> Result<(), Refused> {
    let Some(bytes) = guaranteed(wish, spec(pool, wish, policy).reserve) else { return Ok(()) };
    let Some(limit) = pool.limit() else {
        return Err(Refused::Because(format!(
            "nothing limits the pool {}, so that nothing in it can be guaranteed: give it a limit by --pool",
            pool.dir.path().display()
        )));
    };
    Room { limit, promised: pool.promised(wish.name) }.admit(count, bytes).map_err(Refused::Full)
}

/// Makes the session, or renews the limits of the one of that name. Gives it, its limits, and what it lacks.
pub fn make(
    pool: &Pool,
    wish: &Wish,
    maker: &[u8],
    policy: &SessionPolicy,
) -> Result<(Dir, Spec, Vec<String>), Refused> {
    admit(pool, wish, 1, policy)?;
    let spec = spec(pool, wish, policy);
    let because = |error: Error| Refused::Because(error.to_string());
    let (base, mut lacks) = session::make(&pool.dir, wish.name, maker, &spec).map_err(because)?;
    if let Some(bytes) = guaranteed(wish, spec.reserve) {
        lacks.extend(session::guarantee(&base, bytes, &spec).map_err(because)?);
    }
    if let Some((uid, gid)) = wish.user {
        session::hand_over(&base, uid, gid).map_err(because)?;
    }
    pool.protect();
    Ok((base, spec, lacks))
}

/// Its limits. The agent's reserve is part of what is guaranteed, and no more than that.
fn spec(pool: &Pool, wish: &Wish, policy: &SessionPolicy) -> Spec {
    let (above, available) = (pool.limit(), meminfo::available());
    let share = |permille: u16| above.or(available).map(|all| all / 1000 * u64::from(permille));
    let max = match wish.memory_max {
        None | Some(Amount::Max) => None,
        Some(Amount::Bytes(bytes)) => Some(bytes),
        Some(Amount::Permille(permille)) => share(permille),
    };
    let of = |policy: &SessionPolicy| Spec {
        priority: wish.priority,
        ..Spec::of(Some(policy), max, above, available)
    };
    match (of(policy), wish.guarantee) {
        (spec, Guarantee::Bytes(bytes)) if spec.reserve > bytes => {
            let mut policy = policy.clone();
            policy.reserve.value = Amount::Bytes(bytes);
            of(&policy)
        }
        (spec, _) => spec,
    }
}

fn guaranteed(wish: &Wish, reserve: u64) -> Option<u64> {
    match wish.guarantee {
        Guarantee::Uncounted => None,
        Guarantee::Reserve => Some(reserve),
        Guarantee::Bytes(bytes) => Some(bytes),
    }
}
