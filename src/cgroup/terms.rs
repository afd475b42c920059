//! On what terms calls give way to others for their memory: what of the policy's section `holding` a launcher goes by. The
//! scheduler has the same ones (bpf/agentsh.h, `struct hold_params`).

use crate::policy::compiled::HoldingPolicy;

/// Amounts in bytes, shares in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What a call that gives way may take until it stands still.
    pub creep: u64,
    /// A call that comes first may soon have so much more of what it has …
    pub growth: u16,
    /// … or at least so much.
    pub least: u64,
    /// Of two of a kind the younger leaves the older so much of what that has.
    pub equals: u16,
    /// What a call hasn't had for so long, nor for a quarter of its life, it needs no more.
    pub recent_ns: u64,
    /// What hasn't run for so long takes nothing.
    pub awake_ns: u64,
    /// Where the scheduler holds calls it has so long for itself: what is over by then was neither throttled nor frozen.
    pub hand_over_ns: u64,
    /// Critical for so long, frozen meanwhile: then the call is killed.
    pub critical_ns: u64,
}

impl Terms {
    /// Those of a policy.
    pub fn of(policy: &HoldingPolicy) -> Terms {
        let nanos = |ms: u32| u64::from(ms) * 1_000_000;
        Terms {
            creep: policy.creep.value,
            growth: policy.growth.value,
            least: policy.least.value,
            equals: policy.equals.value,
            recent_ns: nanos(policy.recent_ms.value),
            awake_ns: nanos(policy.awake_ms.value),
            hand_over_ns: nanos(policy.hand_over_ms.value),
            critical_ns: nanos(policy.critical_ms.value),
        }
    }
}

/// So many thousandths of so many bytes.
pub fn share(bytes: u64, permille: u16) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(permille) / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::builtin;

    pub(crate) fn built_in() -> Terms {
        Terms::of(&builtin::policy().holding)
    }

    #[test]
    fn the_built_in_terms_are_those_that_the_law_was_tried_with() {
        let terms = built_in();
        assert_eq!((terms.creep, terms.least), (24 << 20, 16 << 20));
        assert_eq!((terms.growth, terms.equals), (500, 125));
        assert_eq!((terms.recent_ns, terms.awake_ns), (2_000_000_000, 500_000_000));
        assert_eq!((terms.hand_over_ns, terms.critical_ns), (200_000_000, 300_000_000));
        assert_eq!(share(400, terms.equals), 50);
        assert_eq!(share(u64::MAX, 1000), u64::MAX);
    }
}
