//! Files laid one upon the other: built-in, the operator's, the workspace's.

use super::compiled::HIGH_OF_MAX_PERCENT;
use super::compiled::{Amount, Layer, Limits, Origin, Override, Partial, Policy, Set, Source};
use super::document::{Assignment, Document, Target, Trust};
use super::knob::Knob;
use super::problem::{Mark, Problem, Problems, any_error};
use super::setting::Setting;
use crate::class::Class;

/// Lays a file upon a policy. If an error is among the problems, the policy is unchanged.
///
/// A file of [`Layer::Workspace`] moves each knob only towards tighter ([`Knob::tightens`]); what would loosen is
/// left out, with a warning.
pub fn lay(policy: &mut Policy, document: &Document, source: Source) -> Vec<Problem> {
    let Ok(index) = u16::try_from(policy.sources.len()) else { return Vec::new() };
    let path = source.path.clone();
    let base = policy.clone();
    let mut laid = Laying {
        base: &base,
        trust: if source.layer == Layer::Workspace { Trust::Workspace } else { Trust::Operator },
        index,
        policy: policy.clone(),
        problems: Problems::of(&path),
        document,
    };
    laid.policy.sources.push(source);
    laid.classes();
    laid.overrides();
    laid.settings();
    let Laying { policy: new, problems, .. } = laid;
    let problems = problems.into_list();
    if !any_error(&problems) {
        *policy = new;
    }
    problems
}

/// The built-in policy: nothing lies below it.
///
/// # Errors
/// What is wrong with it.
pub fn builtin(document: &Document) -> Result<Policy, Vec<Problem>> {
    let mut policy = super::unlimited::policy();
    let source = policy.sources.remove(0);
    let problems = lay(&mut policy, document, source);
    if problems.is_empty() { Ok(policy) } else { Err(problems) }
}

struct Laying<'a> {
    /// What lies below; a workspace is held against it, and not against its own `all:`.
    base: &'a Policy,
    trust: Trust,
    index: u16,
    policy: Policy,
    problems: Problems<'a>,
    document: &'a Document,
}

impl Laying<'_> {
    fn origin(&self, mark: Mark) -> Origin {
        Origin { source: self.index, line: mark.line }
    }

    /// `all` first, then what is set for a class.
    fn classes(&mut self) {
        let document = self.document;
        let for_all = document.assignments.iter().filter(|a| matches!(a.target, Target::All(_)));
        let for_one = document.assignments.iter().filter(|a| matches!(a.target, Target::Class(..)));
        let mut touched: Vec<(Class, &Assignment)> = Vec::new();
        for assignment in for_all.chain(for_one) {
            let (classes, knob) = match assignment.target {
                Target::All(knob) => (Class::LEAVES.to_vec(), knob),
                Target::Class(class, knob) => (vec![class], knob),
                _ => continue,
            };
            let mut refused: Vec<String> = Vec::new();
            for class in classes {
                match self.class_knob(class, knob, assignment) {
                    Ok(()) => touched.push((class, assignment)),
                    Err(current) => refused.push(format!("{class} {current}")),
                }
            }
            if !refused.is_empty() {
                self.problems.warn(
                    assignment.mark,
                    format!(
                        "{}: {} ignored; a workspace may only tighten, and in force is: {}",
                        knob.name(),
                        assignment.value,
                        refused.join(", ")
                    ),
                );
            }
        }
        for class in Class::LEAVES {
            let of_class = |knob| {
                let set = |(c, a): &&(Class, &Assignment)| *c == class && knob_of(a.target) == Some(knob);
                touched.iter().filter(set).map(|(_, a)| a.mark).next_back()
            };
            self.high_and_max(class, of_class(Knob::MemoryHigh), of_class(Knob::MemoryMax));
        }
    }

    /// Sets a class's knob; the value in force and its place if this layer may not.
    fn class_knob(&mut self, class: Class, knob: Knob, assignment: &Assignment) -> Result<(), String> {
        let new = Set { value: assignment.value.clone(), origin: self.origin(assignment.mark) };
        let old = self.base.classes[class as usize].get(knob);
        if self.trust == Trust::Workspace && !knob.tightens(&old.value, &new.value, None) {
            return Err(format!("{} ({})", old.value, self.base.place(old.origin)));
        }
        self.policy.classes[class as usize].put(knob, &new);
        Ok(())
    }

    /// memory.high against memory.max, where this file has set one of them.
    fn high_and_max(&mut self, class: Class, high_mark: Option<Mark>, max_mark: Option<Mark>) {
        let Some(mark) = high_mark.or(max_mark) else { return };
        let knobs = &self.policy.classes[class as usize];
        let (high, max) = (knobs.memory_high, knobs.memory_max);
        if compared(high.value, max.value, 100) {
            if high_mark.is_none() {
                // Only max is stated here: the high of a layer below follows it down.
                let follows = Set { value: max.value.high_below(), origin: max.origin };
                self.policy.classes[class as usize].memory_high = follows;
                return;
            }
            self.problems.error(
                mark,
                format!(
                    "class {class}: memory.high {} ({}) is above memory.max {} ({}); lower the one or raise the other",
                    high.value,
                    self.policy.place(high.origin),
                    max.value,
                    self.policy.place(max.origin)
                ),
            );
        } else if knobs.limits.value == Limits::Contended
            && compared(high.value, max.value, HIGH_OF_MAX_PERCENT)
        {
            self.problems.warn(
                mark,
                format!(
                    "class {class}: memory.high {} is more than {HIGH_OF_MAX_PERCENT}% of memory.max {}: it would be killed \
                     before it could be slowed",
                    high.value, max.value
                ),
            );
        }
    }

    fn overrides(&mut self) {
        let mut all = vec![Partial::default(); self.document.overrides.len()];
        for assignment in &self.document.assignments {
            if let Target::Override(index, knob) = assignment.target {
                let origin = self.origin(assignment.mark);
                all[index].put(knob, &Set { value: assignment.value.clone(), origin });
            }
        }
        for (index, (head, knobs)) in self.document.overrides.iter().zip(all).enumerate() {
            if let (Some(high), Some(max)) = (knobs.memory_high, knobs.memory_max)
                && compared(high.value, max.value, 100)
            {
                let mark = Mark { line: high.origin.line, column: self.column(index, Knob::MemoryHigh) };
                self.problems.error(
                    mark,
                    format!(
                        "memory.high {} is above memory.max {} (line {}); lower the one or raise the other",
                        high.value, max.value, max.origin.line
                    ),
                );
            }
            let class = head.class.map(|(value, mark)| Set { value, origin: self.origin(mark) });
            let origin = self.origin(head.mark);
            self.policy.overrides.push(Override { pattern: head.pattern.clone(), origin, class, knobs });
        }
        if self.policy.overrides.len() > usize::from(u16::MAX) {
            self.problems
                .error(Mark { line: 1, column: 1 }, "more than 65535 overrides in all files together");
        }
    }

    fn column(&self, index: usize, knob: Knob) -> u32 {
        let target = Target::Override(index, knob);
        self.document.assignments.iter().find(|a| a.target == target).map_or(1, |a| a.mark.column)
    }

    fn settings(&mut self) {
        for assignment in &self.document.assignments {
            if let Target::Setting(setting) = assignment.target {
                let set = Set { value: assignment.value.clone(), origin: self.origin(assignment.mark) };
                self.policy.set(setting, &set);
            }
        }
        self.times_of_holding();
    }

    /// tick, wait and round against each other, where this file has set one of them.
    fn times_of_holding(&mut self) {
        let is_time = |target| {
            use Setting::{HoldingRound, HoldingTick, HoldingWait};
            matches!(target, Target::Setting(HoldingTick | HoldingWait | HoldingRound))
        };
        let mark = self.document.assignments.iter().rfind(|it| is_time(it.target)).map(|it| it.mark);
        if let (Some(mark), Some(fault)) = (mark, self.policy.holding.fault()) {
            self.problems.error(mark, format!("holding: {fault}"));
        }
    }
}

fn knob_of(target: Target) -> Option<Knob> {
    match target {
        Target::All(knob) | Target::Class(_, knob) | Target::Override(_, knob) => Some(knob),
        Target::Setting(_) => None,
    }
}

/// Is `high` more than so many percent of `max`? No if one isn't finite, or they are of different kinds.
fn compared(high: Amount, max: Amount, percent: u64) -> bool {
    let more = |high: u64, max: u64| u128::from(high) * 100 > u128::from(max) * u128::from(percent);
    match (high, max) {
        (Amount::Bytes(high), Amount::Bytes(max)) => more(high, max),
        (Amount::Permille(high), Amount::Permille(max)) => more(high.into(), max.into()),
        _ => false,
    }
}
