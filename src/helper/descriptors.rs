//! How many files this process may have open at once. By default 1,024, for the sake of programs that use select(2): none of ours.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Raises that to so many, or as far as it goes. Gives how many they are now.
pub fn raise(wanted: rlim_t) -> rlim_t {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    // Beyond the hard limit only whoever has CAP_SYS_RESOURCE gets.
    let tries = [(wanted, hard.max(wanted)), (hard, hard)];
    let raised = tries
        .into_iter()
        .filter(|&(most, _)| most > soft)
        .find(|&(most, hard)| setrlimit(Resource::RLIMIT_NOFILE, most, hard).is_ok());
    raised.map_or(soft, |(most, _)| most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let limit = || getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let (soft, hard) = limit();
        assert_eq!((raise(1), limit()), (soft, (soft, hard)));
        let one_more = (soft + 1).min(hard);
        assert_eq!((raise(one_more), limit()), (one_more, (one_more, hard)));
    }
}
