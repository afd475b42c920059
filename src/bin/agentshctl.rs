//! The operator's tool: explains, checks and starts what the launcher enforces.

fn main() -> std::process::ExitCode {
    agentsh::ctl::main()
}
