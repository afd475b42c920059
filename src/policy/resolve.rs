//! From a verdict to the knobs of one leaf: class → hooks → overrides → hint → budget. Pure; this is what
//! `agentshctl explain` prints and what the launcher applies.

use super::compiled::{Amount, HIGH_OF_MAX_PERCENT, Knobs, Layer, Origin, Policy, Set};
use super::hint;
pub use super::hint::AppliedHint;
use super::knob::Knob;
use super::units::show_bytes;
use crate::class::Class;

/// Where a value comes from that a hint has set.
pub const HINT: Origin = Origin { source: u16::MAX, line: 0 };

/// What is known of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<'a> {
    /// Its class, an override's already taken into account.
    pub class: Class,
    /// The overrides that match, by their index in [`Policy::overrides`], in any order.
    pub overrides: &'a [u16],
    /// Does it run hooks (git commit, push, rebase, merge …)? Then the hooks' memory counts, and it is as for `run`.
    pub hooks: bool,
    /// `AGENT_RESOURCE_HINT`: the one in the command if it has one, else the environment's.
    pub hint: Option<&'a [u8]>,
    /// The budget of the session in bytes (memory.max of `calls/`), else the nearest finite ancestor's limit, else
    /// MemAvailable at the session's start.
    pub budget: Option<u64>,
}

/// The knobs of one leaf, and how they came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Every share of the budget is already in bytes (or no limit where the budget is unknown).
    pub knobs: Knobs,
    /// The hint, if there was one and it was understood.
    pub hint: Option<AppliedHint>,
    /// What was ignored or cut, a sentence each.
    pub notes: Vec<String>,
}

/// Does what this call gets depend on the budget? Then it has to be read before.
pub fn asks_for_budget(policy: &Policy, request: &Request<'_>) -> bool {
    let shares = |class| {
        let knobs = policy.class(class);
        let amounts = [knobs.memory_high.value, knobs.memory_max.value, knobs.swap_max.value];
        amounts.iter().any(|amount| matches!(amount, Amount::Permille(_)))
    };
    request.hint.is_some()
        || !request.overrides.is_empty()
        || shares(request.class)
        || request.hooks && shares(Class::Run)
}

/// Resolves what the leaf of a call gets. Never fails: what can't be obeyed is noted.
pub fn resolve(policy: &Policy, request: &Request<'_>) -> Resolved {
    let mut notes = Vec::new();
    let mut knobs = policy.class(request.class).clone();
    if request.hooks && request.class == Class::Git {
        let run = policy.class(Class::Run);
        for knob in [Knob::MemoryHigh, Knob::MemoryMax, Knob::SwapMax, Knob::Limits, Knob::Raise] {
            knobs.put(knob, &run.get(knob));
        }
    }
    if !request.overrides.is_empty() {
        overrides(policy, request, &mut knobs, &mut notes);
    }
    for knob in [Knob::MemoryHigh, Knob::MemoryMax, Knob::SwapMax] {
        shares_to_bytes(&mut knobs, knob, request.budget, &mut notes);
    }
    let hint = request.hint.and_then(|text| apply_hint(policy, text, request.budget, &mut knobs, &mut notes));
    high_within_max(&mut knobs, policy, &mut notes);
    Resolved { knobs, hint, notes }
}

/// Of several overrides the last one wins for each knob that it sets; a workspace's only where it is tighter.
#[inline(never)]
fn overrides(policy: &Policy, request: &Request<'_>, knobs: &mut Knobs, notes: &mut Vec<String>) {
    let mut matching: Vec<u16> = request.overrides.to_vec();
    matching.sort_unstable();
    for matched in matching.iter().filter_map(|&index| policy.overrides.get(usize::from(index))) {
        let trusted = policy.layer(matched.origin) != Layer::Workspace;
        for (knob, set) in matched.knobs.iter() {
            let old = knobs.get(knob);
            if trusted || knob.tightens(&old.value, &set.value, request.budget) {
                knobs.put(knob, &set);
            } else {
                notes.push(format!(
                    "{}: {}: {} ignored, a workspace may only tighten and it is {} ({})",
                    policy.place(set.origin),
                    knob.name(),
                    set.value,
                    old.value,
                    policy.place(old.origin)
                ));
            }
        }
    }
}

fn shares_to_bytes(knobs: &mut Knobs, knob: Knob, budget: Option<u64>, notes: &mut Vec<String>) {
    let field = match knob {
        Knob::MemoryHigh => &mut knobs.memory_high,
        Knob::MemoryMax => &mut knobs.memory_max,
        _ => &mut knobs.swap_max,
    };
    if let Amount::Permille(_) = field.value {
        let share = field.value;
        field.value = match share.bytes(budget) {
            Some(bytes) => Amount::Bytes(bytes),
            None => {
                notes.push(format!("{}: {share} of an unknown budget is no limit", knob.name()));
                Amount::Max
            }
        };
    }
}

#[inline(never)]
fn apply_hint(
    policy: &Policy,
    text: &[u8],
    budget: Option<u64>,
    knobs: &mut Knobs,
    notes: &mut Vec<String>,
) -> Option<AppliedHint> {
    if !policy.hints.enabled.value {
        notes.push(format!("hint ignored: switched off at {}", policy.place(policy.hints.enabled.origin)));
        return None;
    }
    let wish = hint::read(text, &policy.hints);
    notes.extend(wish.notes);
    if wish.text.is_empty() {
        return None;
    }
    let mut applied = AppliedHint { text: wish.text, memory: None, cpu_weight: wish.cpu_weight, cut: false };
    if let Some(weight) = wish.cpu_weight {
        knobs.cpu_weight = Set { value: weight, origin: HINT };
    }
    let bytes = wish.memory.and_then(|amount| amount.bytes(budget));
    if let (Some(share @ Amount::Permille(_)), None) = (wish.memory, bytes) {
        notes.push(format!("hint changes no memory limit: {share} of an unknown budget"));
    }
    if let Some(bytes) = bytes {
        let most = budget.unwrap_or(u64::MAX);
        let granted = bytes.min(most);
        applied.cut = bytes > most;
        applied.memory = Some(granted);
        if applied.cut {
            notes.push(format!(
                "hint asks for {}, the session's budget is {}",
                show_bytes(bytes),
                show_bytes(most)
            ));
        }
        knobs.memory_high = Set { value: Amount::Bytes(granted), origin: HINT };
        // A limit that would kill before it slows is moved up with the wish; one that leaves room stays.
        let roomy = (u128::from(granted) * 100 / u128::from(HIGH_OF_MAX_PERCENT)).min(u128::from(most));
        let roomy = u64::try_from(roomy).unwrap_or(most);
        if matches!(knobs.memory_max.value, Amount::Bytes(max) if max < roomy) {
            knobs.memory_max = Set { value: Amount::Bytes(roomy), origin: HINT };
        }
    }
    Some(applied)
}

/// A high above max would never slow anything: it follows max down. (Within a file that is an error; it comes from
/// an override that states the one upon a class that states the other.)
fn high_within_max(knobs: &mut Knobs, policy: &Policy, notes: &mut Vec<String>) {
    let Amount::Bytes(max) = knobs.memory_max.value else { return };
    let above = match knobs.memory_high.value {
        Amount::Bytes(high) => high > max,
        // No high at all is a choice; it isn't turned into one.
        Amount::Max | Amount::Permille(_) => false,
    };
    if above {
        let follows = knobs.memory_max.value.high_below();
        notes.push(format!(
            "memory.high {} ({}) lowered to {follows}, as memory.max is {} ({})",
            knobs.memory_high.value,
            policy.place(knobs.memory_high.origin),
            knobs.memory_max.value,
            policy.place(knobs.memory_max.origin)
        ));
        knobs.memory_high = Set { value: follows, origin: knobs.memory_max.origin };
    }
}
