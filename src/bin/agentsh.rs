//! `agentsh`: runs in the place of the shell. Everything it does is in [`agentsh::launcher`].
#![no_main]

use agentsh::sys::allocator::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

agentsh::c_main!(agentsh::launcher::main);
