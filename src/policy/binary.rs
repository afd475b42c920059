//! The compiled form on disk: a header that tells a foreign, old, cut or damaged file before anything of it is
//! believed, and postcard behind it.
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `AGSHPOL` and a newline (which a text-mode copy would damage) |
//! | 8–9 | version of the form, little-endian |
//! | 10–11 | kind: 1 a policy, 2 the note of a failed compilation |
//! | 12–15 | length of what follows the header |
//! | 16–23 | checksum of kind, length and what follows |
//!
//! The checksum finds accidents; against malice there are the file's owner and mode ([`super::place`]).

use super::compiled::{Amount, Layer, Origin, Policy, Source};
use serde::{Deserialize, Serialize};

/// What a compiled file begins with.
pub const MAGIC: [u8; 8] = *b"AGSHPOL\n";
/// Counted up at every change of the types in [`super::compiled`].
pub const VERSION: u16 = 2;
/// No compiled file is larger: some 5,000 overrides.
pub const MOST_BYTES: usize = 1 << 20;
const HEADER: usize = 24;

/// Why a file isn't a compiled policy that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum BinaryError {
    #[error("not a compiled policy")]
    Foreign,
    #[error("compiled for another version of agentsh (form {0}, here {VERSION})")]
    Version(u16),
    #[error("a compiled file of another kind")]
    Kind,
    #[error("cut short, or too long")]
    Length,
    #[error("damaged: its checksum is wrong")]
    Checksum,
    #[error("damaged: its content can't be read")]
    Content,
    #[error("damaged: a value is out of its range")]
    Range,
}

/// A compiled file: a policy, for whom it was compiled and what from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compiled {
    /// Which base and which workspace it is of ([`super::place::Inputs::key`]); two may share a file's name.
    pub key: String,
    /// What was read, and how it looked: while all of it looks so, the policy is fresh.
    pub watched: Vec<Source>,
    /// The policy.
    pub policy: Box<Policy>,
}

/// What is kept of a compilation that failed: the next launcher shall not try again before a source changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// As in [`Compiled`].
    pub key: String,
    /// As in [`Compiled`].
    pub watched: Vec<Source>,
    /// The errors, a line each.
    pub text: String,
}

/// What a compiled file can hold.
trait Content: Serialize + for<'de> Deserialize<'de> {
    const KIND: u16;
    fn in_range(&self) -> bool;
}

impl Content for Compiled {
    const KIND: u16 = 1;
    fn in_range(&self) -> bool {
        self.policy.in_range()
    }
}

impl Policy {
    /// Can the launcher believe every value?
    fn in_range(&self) -> bool {
        let known = |o: Origin| usize::from(o.source) < self.sources.len();
        let amount = |a: Amount| !matches!(a, Amount::Permille(p) if p > 1000);
        let weight = |w: u16| (1..=10_000).contains(&w);
        let hints = &self.hints;
        self.classes.iter().all(|knobs| {
            weight(knobs.cpu_weight.value)
                && [knobs.memory_high, knobs.memory_max, knobs.swap_max].iter().all(|a| amount(a.value))
                && knobs.pids_max.value != Some(0)
                && knobs.origins().all(known)
        }) && self.overrides.iter().all(|o| {
            let sets = [o.knobs.memory_high, o.knobs.memory_max, o.knobs.swap_max];
            known(o.origin)
                && !o.pattern.is_empty()
                && o.knobs.cpu_weight.is_none_or(|w| weight(w.value))
                && sets.iter().flatten().all(|a| amount(a.value))
                && o.knobs.pids_max.is_none_or(|p| p.value != Some(0))
                && o.knobs.origins().all(known)
        }) && weight(hints.cpu_low.value)
            && weight(hints.cpu_high.value)
            && [hints.memory_low, hints.memory_medium, hints.memory_high].iter().all(|a| amount(a.value))
            && amount(self.session.reserve.value)
            && amount(self.session.budget.value)
            && amount(self.session.swap_max.value)
            && self.holding.fault().is_none()
            && self.holding.tick_ms.value > 0
            && [self.holding.growth, self.holding.equals].iter().all(|share| share.value <= 1000)
            && self.overrides.len() <= usize::from(u16::MAX)
            && self.sources.iter().all(|s| s.layer != Layer::Hint)
            && self.sources.len() < usize::from(u16::MAX)
    }
}

impl Content for Failure {
    const KIND: u16 = 2;
    fn in_range(&self) -> bool {
        true
    }
}

/// A policy in its compiled form.
pub fn encode(compiled: &Compiled) -> Vec<u8> {
    wrap(compiled)
}

/// The note of a failed compilation.
pub fn encode_failure(failure: &Failure) -> Vec<u8> {
    wrap(failure)
}

/// Reads a compiled policy.
///
/// # Errors
/// If the bytes are anything else than a whole, undamaged policy of this version with every value in its range.
/// Never panics, and allocates no more than a small multiple of what it is given.
pub fn decode(bytes: &[u8]) -> Result<Compiled, BinaryError> {
    unwrap(bytes)
}

/// Reads the note of a failed compilation.
///
/// # Errors
/// As [`decode`].
pub fn decode_failure(bytes: &[u8]) -> Result<Failure, BinaryError> {
    unwrap(bytes)
}

fn wrap<T: Content>(content: &T) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    // Writing to memory can't fail and these types have no length that isn't known; if it did, the file would
    // be refused when it is read.
    bytes.extend(postcard::to_allocvec(content).unwrap_or_default());
    let length = u32::try_from(bytes.len() - HEADER).unwrap_or(u32::MAX);
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[10..12].copy_from_slice(&T::KIND.to_le_bytes());
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(&bytes);
    bytes[16..24].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn unwrap<T: Content>(bytes: &[u8]) -> Result<T, BinaryError> {
    if bytes.get(..8) != Some(&MAGIC[..]) {
        return Err(BinaryError::Foreign);
    }
    let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(BinaryError::Length);
    };
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return Err(BinaryError::Version(version));
    }
    if u16::from_le_bytes([header[10], header[11]]) != T::KIND {
        return Err(BinaryError::Kind);
    }
    let length = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    if usize::try_from(length) != Ok(body.len()) || bytes.len() > MOST_BYTES {
        return Err(BinaryError::Length);
    }
    if header[16..24] != checksum(bytes).to_le_bytes() {
        return Err(BinaryError::Checksum);
    }
    let (content, rest) = postcard::take_from_bytes::<T>(body).map_err(|_| BinaryError::Content)?;
    if !rest.is_empty() {
        return Err(BinaryError::Content);
    }
    if content.in_range() { Ok(content) } else { Err(BinaryError::Range) }
}

/// Of everything but the checksum itself; eight bytes a step, as a policy of 200 overrides is read at each call.
/// Every step can be undone for a given state and for a given word, so no change within one word goes unseen.
fn checksum(file: &[u8]) -> u64 {
    const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    let head = file.get(8..16).unwrap_or_default();
    let body = file.get(HEADER..).unwrap_or_default();
    head.chunks(8).chain(body.chunks(8)).fold(FNV_OFFSET, |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let state = (state ^ u64::from_le_bytes(word)).wrapping_mul(FNV_PRIME);
        state ^ (state >> 32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::builtin;
    use proptest::prelude::*;

    fn of(policy: Box<Policy>) -> Compiled {
        let watched = vec![Source { path: "/etc/x".into(), layer: Layer::System, stamp: None }];
        Compiled { key: "folder /etc".into(), watched, policy }
    }

    fn good() -> Vec<u8> {
        encode(&of(builtin::policy()))
    }

    #[test]
    fn a_policy_is_read_back_as_it_was_written() {
        assert_eq!(decode(&good()), Ok(of(builtin::policy())));
        let failure = Failure { key: "k".into(), watched: vec![], text: "x.yaml:1:1: no".into() };
        assert_eq!(decode_failure(&encode_failure(&failure)), Ok(failure));
    }

    #[test]
    fn other_versions_kinds_and_files_are_refused_by_name() {
        let mut old = good();
        old[8..10].copy_from_slice(&0u16.to_le_bytes());
        assert_eq!(decode(&old), Err(BinaryError::Version(0)));
        let mut new = good();
        new[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
        assert_eq!(decode(&new), Err(BinaryError::Version(VERSION + 1)));
        assert_eq!(decode_failure(&good()), Err(BinaryError::Kind));
        assert_eq!(decode(b"version: 1\n"), Err(BinaryError::Foreign));
        assert_eq!(decode(b""), Err(BinaryError::Foreign));
    }

    #[test]
    fn a_value_out_of_range_is_refused_although_the_checksum_is_right() {
        let base = builtin::policy();
        let mut weight = base.clone();
        weight.classes[0].cpu_weight.value = 0;
        let mut origin = base.clone();
        origin.classes[3].oom.origin.source = 900;
        let mut share = base.clone();
        share.hints.memory_high.value = Amount::Permille(1001);
        let mut pids = base.clone();
        pids.classes[7].pids_max.value = Some(0);
        let mut wait = base;
        wait.holding.wait_ms.value = wait.holding.round_ms.value + 1;
        let bad = [("weight", weight), ("origin", origin), ("share", share), ("pids", pids), ("wait", wait)];
        for (what, policy) in bad {
            assert_eq!(decode(&encode(&of(policy))), Err(BinaryError::Range), "{what}");
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_seen() {
        let good = good();
        for end in 0..good.len() {
            assert!(decode(&good[..end]).is_err(), "cut at {end}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_unread() {
        let mut large = good();
        large.resize(MOST_BYTES + 1, 0);
        let length = u32::try_from(large.len() - HEADER).unwrap();
        large[12..16].copy_from_slice(&length.to_le_bytes());
        assert_eq!(decode(&large), Err(BinaryError::Length));
    }

    /// A valid header around any body.
    fn sealed(body: &[u8], kind: u16) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes(), &kind.to_le_bytes()].concat();
        bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        let sum = checksum(&bytes);
        bytes[16..24].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(decode(&bytes).is_err());
            // Also behind a right header, where only the content is left to tell.
            let _ = decode(&sealed(&bytes, 1));
            let _ = decode_failure(&sealed(&bytes, 2));
        }

        #[test]
        fn a_changed_body_under_a_right_checksum_gives_no_panic(at in 0usize..10_000, byte in any::<u8>(), cut in 0usize..40) {
            let good = good();
            let mut body = good[HEADER..].to_vec();
            let at = at % body.len();
            body[at] = byte;
            body.truncate(body.len() - cut);
            if let Ok(Compiled { policy, .. }) = decode(&sealed(&body, 1)) {
                prop_assert!(policy.in_range());
            }
        }
    }
}
