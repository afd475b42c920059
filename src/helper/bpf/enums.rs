//! What the running kernel's BTF says of it: the values of its enums, which differ between kernels, and what it has.

use anyhow::{Context, Result, anyhow};
use libbpf_rs::btf::{Btf, types};

/// The running kernel's BTF.
pub struct Enums<'a>(Btf<'a>);

impl Enums<'_> {
    /// Reads /sys/kernel/btf/vmlinux.
    pub fn of_kernel() -> Result<Self> {
        Btf::from_vmlinux().map(Enums).context("this kernel has no BTF (/sys/kernel/btf/vmlinux)")
    }

    /// Whether the kernel has a function of this name that a program can be attached to.
    pub fn has_function(&self, name: &str) -> bool {
        self.0.type_by_name::<types::Func<'_>>(name).is_some()
    }

    /// Whether the kernel has a tracepoint of this name whose arguments a program may read.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.0.type_by_name::<types::Typedef<'_>>(&format!("btf_trace_{name}")).is_some()
    }

    /// The value of `name` in the enum `of`; an error if this kernel has no such thing.
    pub fn value(&self, of: &str, name: &str) -> Result<u64> {
        let wide = self.0.type_by_name::<types::Enum64<'_>>(of).and_then(|values| {
            values.iter().find(|it| it.name.is_some_and(|found| found == name)).map(|it| it.value as u64)
        });
        let narrow = || {
            self.0.type_by_name::<types::Enum<'_>>(of).and_then(|values| {
                values.iter().find(|it| it.name.is_some_and(|found| found == name)).map(|it| it.value as u64)
            })
        };
        wide.or_else(narrow).ok_or_else(|| anyhow!("this kernel has no {name} (in enum {of})"))
    }
}
