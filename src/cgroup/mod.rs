//! Cgroup v2: where a call's leaf is made, with what limits, and what is done about it while it runs.
//!
//! In a call's order: [`own`] says whether this process is in a leaf already; [`place`] finds the session; [`limits`] makes
//! numbers of the policy's knobs; [`claim`] gives a [`leaf`]; while the call runs its [`governor`] acts on what the pure
//! [`control`] law decides; [`usage`] tells what it took. Nothing here panics, waits for others or reads whole directories
//! on the way to a command's start; whatever the kernel doesn't offer is left out and named.

pub mod admission;
pub mod ahead;
pub mod around;
pub mod beneath;
pub mod brake;
pub mod claim;
pub mod control;
pub mod delegate;
pub mod depends;
pub mod dir;
pub mod error;
pub mod files;
pub mod forks;
pub mod governor;
pub mod idle;
pub mod kill;
pub mod leaf;
pub mod leftover;
pub mod limits;
pub mod lock;
pub mod mark;
pub mod meminfo;
pub mod mount;
pub mod news;
pub mod oom;
pub mod own;
pub mod pace;
pub mod parse;
pub mod path;
pub mod peers;
pub mod place;
pub mod pool;
pub mod recent;
pub mod reserve;
pub mod room;
pub mod sample;
pub mod scheduler;
pub mod session;
pub mod start;
pub mod strain;
pub mod sweep;
pub mod terms;
pub mod usage;

pub use error::Error;
pub use governor::{Governor, Verdict};
pub use leaf::{Leaf, Released};
pub use limits::LeafLimits;
pub use own::in_leaf;
pub use place::{Env, Place, Session, locate};
pub use usage::{LimitOwner, Usage};
