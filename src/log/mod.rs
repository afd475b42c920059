//! The call log and what the agent is told: one JSON line for each tool call ([`record`], written by
//! [`writer`] with one write(2)), secrets taken out ([`redact`]), and the few sentences on stderr when the
//! environment had to act ([`feedback`]).
//!
//! Everything here is reached by the launcher, so it links no serde_json, returns errors as values and never
//! panics: a call whose record can't be written ends exactly like one whose record was.

pub mod feedback;
pub mod json;
pub mod record;
pub mod redact;
pub mod timestamp;
pub mod writer;

pub use record::Record;
pub use writer::{LogError, Rotation};
