//! What of root's powers loading takes: those two, and no others. Found by dropping one after another in the virtual
//! machine (tests/vm/cases/fail_safe.py does it again).

use crate::sys::capability::{Capability, keep_only};
use anyhow::{Context, Result, bail};

const NEEDED: [Capability; 2] = [Capability::Bpf, Capability::Perfmon];

/// Gives up all others, for good: nothing else of this process's work is root's.
pub fn limit() -> Result<()> {
    let lacking = keep_only(&NEEDED).context("capabilities can't be given up")?;
    if !lacking.is_empty() {
        let names: Vec<_> = lacking.iter().map(|it| it.name()).collect();
        bail!("lacking {}: run this as root, on the host", names.join(" and "));
    }
    Ok(())
}
