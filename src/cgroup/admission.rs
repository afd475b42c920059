//! Is there a place in a pool for one more agent? What each is guaranteed must fit into the pool's limit together; whatever is
//! left, and whatever of its own an agent doesn't use, is for whoever bursts. Pure: [`super::start`] asks, under the pool's lock.

use crate::policy::units::show_bytes;
use std::fmt;

/// What a pool has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Its limit.
    pub limit: u64,
    /// What those in it are guaranteed, together.
    pub promised: u64,
}

/// So many agents with such a guarantee don't fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    room: Room,
    guarantee: u64,
    count: u32,
}

impl Room {
    /// How many agents with this guarantee fit beside those that there are.
    pub fn places(self, guarantee: u64) -> u64 {
        // One that is guaranteed nothing takes no place; a pool has a limit of cgroups, too.
        self.limit.saturating_sub(self.promised).checked_div(guarantee).unwrap_or(u64::MAX)
    }

    /// Do so many fit?
    pub fn admit(self, count: u32, guarantee: u64) -> Result<(), Refusal> {
        match self.places(guarantee) >= u64::from(count) {
            true => Ok(()),
            false => Err(Refusal { room: self, guarantee, count }),
        }
    }
}

impl Refusal {
    /// Would it be of any use to wait until others have ended?
    pub fn may_pass(&self) -> bool {
        Room { promised: 0, ..self.room }.places(self.guarantee) > 0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { room, guarantee, count } = *self;
        let agents = |n: u64| if n == 1 { "1 agent".to_string() } else { format!("{n} agents") };
        write!(
            f,
            "no place in the pool: of its {} {} are guaranteed to others, so that {} of {} would fit, not {count}. ",
            show_bytes(room.limit),
            show_bytes(room.promised),
            agents(room.places(guarantee)),
            show_bytes(guarantee)
        )?;
        f.write_str(match self.may_pass() {
            true => "Give a larger --pool or a smaller --guarantee, start fewer, or let them --wait until others have ended",
            false => "Give a larger --pool or a smaller --guarantee: even an empty pool has no place for one",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(limit: u64, promised: u64) -> Room {
        Room { limit: limit * GIB, promised: promised * GIB }
    }

    #[test]
    fn as_many_fit_as_their_guarantees_do() {
        assert_eq!(room(16, 0).places(2 * GIB), 8);
        assert_eq!(room(16, 0).admit(8, 2 * GIB), Ok(()));
        assert!(room(16, 0).admit(9, 2 * GIB).is_err());
        assert_eq!(room(16, 15).places(2 * GIB), 0);
        assert_eq!(room(16, 20).places(2 * GIB), 0, "a pool that was made smaller than its promises");
    }

    #[test]
    fn an_agent_that_ends_leaves_its_place() {
        assert!(room(4, 4).admit(1, GIB).is_err_and(|refusal| refusal.may_pass()));
        assert_eq!(room(4, 3).admit(1, GIB), Ok(()));
    }

    #[test]
    fn who_would_never_fit_need_not_wait() {
        assert!(room(4, 0).admit(1, 5 * GIB).is_err_and(|refusal| !refusal.may_pass()));
    }

    #[test]
    fn without_a_guarantee_everybody_fits() {
        assert_eq!(room(4, 4).admit(1000, 0), Ok(()));
    }

    #[test]
    fn a_refusal_names_the_numbers_and_what_to_do() {
        let text = room(16, 4).admit(8, 2 * GIB).unwrap_err().to_string();
        for part in [
            "its 16G 4G are guaranteed",
            "6 agents of 2G would fit, not 8",
            "--pool",
            "--guarantee",
            "--wait",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
