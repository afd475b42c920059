//! Table B of the contract: which invocation is done how. It reads like the table, and is tested against it.

use super::identity::Identity;
use super::invocation::Form;
use crate::classify::Kind;

/// How an invocation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// In a leaf, with us watching over it.
    Supervised,
    /// By becoming the real program in our own place; with the reason where the log is to have one.
    InPlace(Option<&'static str>),
}

/// What can be known without reading the command.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Started by a setuid program.
    pub secure: bool,
    /// AGENTSH_OFF=1.
    pub off: bool,
    /// Already inside of a call.
    pub nested: bool,
}

/// The rows that need no look at the command, so that the most executed code of all stays short. None: go on with
/// [`by_form`].
pub fn at_once(now: Circumstances) -> Option<Done> {
    match now {
        Circumstances { secure: true, .. } => Some(Done::InPlace(None)),
        Circumstances { off: true, .. } => Some(Done::InPlace(None)),
        Circumstances { nested: true, .. } => Some(Done::InPlace(None)),
        _ => None,
    }
}

/// The rows about how we were called.
pub fn by_form(identity: &Identity, form: &Form) -> Done {
    match (identity, form) {
        (Identity::Applet, _) => Done::InPlace(None),
        (Identity::Shim(_), _) => Done::Supervised,
        (_, Form::Command { job_control: false, .. }) => Done::Supervised,
        (_, Form::Command { job_control: true, .. }) => Done::InPlace(Some("job control of its own")),
        (_, Form::Script { job_control: false, .. }) => Done::Supervised,
        (_, Form::Script { job_control: true, .. }) => Done::InPlace(Some("job control of its own")),
        (_, Form::Stdin | Form::NoExecution | Form::Unknown) => Done::InPlace(None),
    }
}

/// The rows about what the command is.
pub fn by_kind(kind: Kind) -> Done {
    match kind {
        Kind::Agent => Done::InPlace(Some("an agent")),
        Kind::Multiplexer => Done::InPlace(Some("a terminal multiplexer")),
        Kind::Interactive => Done::InPlace(Some("an interactive shell")),
        Kind::Command | Kind::Probe | Kind::Snapshot => Done::Supervised,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Circumstances = Circumstances { secure: false, off: false, nested: false };

    #[test]
    fn nothing_is_looked_at_where_it_can_not_matter() {
        for now in [
            Circumstances { secure: true, ..FREE },
            Circumstances { off: true, ..FREE },
            Circumstances { nested: true, ..FREE },
        ] {
            assert_eq!(at_once(now), Some(Done::InPlace(None)), "{now:?}");
        }
        assert_eq!(at_once(FREE), None);
    }

    #[test]
    fn commands_scripts_and_shims_are_supervised_and_the_rest_is_done_in_place() {
        let bash = Identity::Shell("bash");
        let command = |job_control| Form::Command { text: b"ls", job_control };
        assert_eq!(by_form(&bash, &command(false)), Done::Supervised);
        assert!(matches!(by_form(&bash, &command(true)), Done::InPlace(Some(_))));
        let script = Form::Script { argv: vec![b"x.sh"], job_control: false };
        assert_eq!(by_form(&bash, &script), Done::Supervised);
        for form in [Form::Stdin, Form::NoExecution, Form::Unknown] {
            assert_eq!(by_form(&bash, &form), Done::InPlace(None));
        }
        assert_eq!(by_form(&Identity::Shim(b"npm".to_vec()), &Form::Unknown), Done::Supervised);
        assert_eq!(by_form(&Identity::Applet, &command(false)), Done::InPlace(None));
    }

    #[test]
    fn agents_multiplexers_and_interactive_shells_get_no_leaf() {
        for kind in [Kind::Agent, Kind::Multiplexer, Kind::Interactive] {
            assert!(matches!(by_kind(kind), Done::InPlace(Some(_))));
        }
        for kind in [Kind::Command, Kind::Probe, Kind::Snapshot] {
            assert_eq!(by_kind(kind), Done::Supervised);
        }
    }
}
