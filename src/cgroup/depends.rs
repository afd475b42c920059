//! Calls that need other calls of their session (`depends` in the policy): a test, and the server that it asks. What is needed
//! gives way to others no sooner than the call that needs it, and not to that call.
//!
//! The leaf's number says what its call needs, so that every launcher and the scheduler (bpf/calls.h) can read it: a number of 13
//! digits, or of the 15 of a call that is never held, has the classes' bits before its last nine digits. Such leaves are not used
//! again.

use super::leaf::POOL_SIZE;
use super::peers::Peer;
use crate::class::Classes;

/// Numbers of leaves whose calls are never frozen: the scheduler doesn't hold them either.
const NEVER_HELD: u64 = 100_000_000_000_000;
/// Numbers of leaves whose calls need others.
const DEPENDS: u64 = 1_000_000_000_000;
/// So much stands for one bit of the classes.
const BITS: u64 = 1_000_000_000;

/// The first number for a leaf that isn't one of the pool's.
pub fn first_number(may_be_held: bool, depends: Classes) -> u64 {
    let base = match (may_be_held, depends.is_empty()) {
        (true, true) => return POOL_SIZE,
        (true, false) => DEPENDS,
        (false, _) => NEVER_HELD,
    };
    base + u64::from(depends.0) * BITS
}

/// What the call in a leaf of this name needs.
pub fn of_leaf(name: &str) -> Classes {
    let number = name.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
    let bits = number.filter(|&number| number >= DEPENDS).map_or(0, |number| number / BITS % 1000);
    Classes(u8::try_from(bits).unwrap_or(0))
}

/// Among a session's calls, gives each the standing of the best of those that need it, and puts it before them. What needs its own
/// class goes by itself; of what needs each other, somebody comes first.
pub fn lift(calls: &mut [Peer]) {
    if calls.iter().all(|call| call.depends.is_empty()) {
        return;
    }
    // As many times as a chain of classes can be long.
    for _ in 0..crate::class::Class::LEAVES.len() {
        for needed in 0..calls.len() {
            for by in 0..calls.len() {
                let (it, whose) = (calls[needed], calls[by]);
                if whose.depends.has(it.class) && whose.class != it.class && !it.outranks(&whose) {
                    calls[needed].rank = whose.rank;
                    calls[needed].generation = whose.generation.saturating_sub(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    fn call(id: u64, class: Class, depends: &[Class]) -> Peer {
        let depends = depends.iter().fold(Classes::default(), |all, &class| all.with(class));
        Peer { id, class, rank: class.rank(), generation: id * 1000, depends, ..Peer::default() }
    }

    #[test]
    fn a_leaf_s_number_says_what_its_call_needs() {
        let needs = Classes::default().with(Class::Run).with(Class::Other);
        for may_be_held in [true, false] {
            let number = first_number(may_be_held, needs) + 16_777_219;
            assert_eq!(of_leaf(&format!("test-{number}")), needs, "{number}");
            assert_eq!(number.to_string().len(), if may_be_held { 13 } else { 15 });
        }
        assert_eq!(first_number(true, Classes::default()), POOL_SIZE);
        let plain = [16_777_235, first_number(false, Classes::default()) + 16_777_219];
        assert!(plain.iter().all(|number| of_leaf(&format!("test-{number}")).is_empty()));
        assert!(of_leaf("test-").is_empty() && of_leaf("agent").is_empty());
    }

    #[test]
    fn what_a_call_needs_comes_before_it_and_before_all_that_it_comes_before() {
        let mut calls = [
            call(1, Class::Run, &[]),
            call(2, Class::Test, &[Class::Install]),
            call(3, Class::Install, &[]),
            call(4, Class::Explore, &[]),
        ];
        assert!(!calls[2].outranks(&calls[1]) && !calls[2].outranks(&calls[0]), "by itself it comes last");
        lift(&mut calls);
        assert!(calls[2].outranks(&calls[1]));
        assert!(
            !calls[2].outranks(&calls[0]),
            "the test doesn't come before what is older, so neither does this"
        );
        assert!(!calls[2].outranks(&calls[3]));
        assert!(calls[0].outranks(&calls[1]), "all others stand as they stood");
    }

    #[test]
    fn what_is_needed_by_what_is_needed_is_needed_too() {
        let mut calls = [
            call(3, Class::Install, &[]),
            call(2, Class::Build, &[Class::Install]),
            call(1, Class::Explore, &[Class::Build]),
        ];
        lift(&mut calls);
        assert!(calls[0].outranks(&calls[1]) && calls[1].outranks(&calls[2]));
    }

    #[test]
    fn what_needs_each_other_or_its_own_class_comes_to_some_order() {
        let mut calls = [call(1, Class::Test, &[Class::Run]), call(2, Class::Run, &[Class::Test])];
        lift(&mut calls);
        assert_ne!(calls[0].outranks(&calls[1]), calls[1].outranks(&calls[0]));
        let mut same = [call(1, Class::Test, &[Class::Test]), call(2, Class::Test, &[Class::Test])];
        let before = same;
        lift(&mut same);
        assert_eq!(same, before);
    }
}
