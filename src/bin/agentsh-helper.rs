//! The privileged helper.

fn main() -> std::process::ExitCode {
    agentsh::helper::main()
}
