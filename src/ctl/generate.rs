//! `agentshctl generate`: what install.sh puts under share/, from the same definitions that the program runs on.

use super::{Cli, Outcome};
use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::path::PathBuf;

/// Write manual pages and shell completions into a folder.
#[derive(clap::Args)]
pub struct Args {
    /// The folder; man/ and completions/ are made in it.
    folder: PathBuf,
}

/// Writes them.
pub fn run(args: &Args) -> Result<Outcome> {
    let (man, completions) = (args.folder.join("man/man1"), args.folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    clap_mangen::generate_to(Cli::command(), &man)
        .with_context(|| format!("can't write to {}", man.display()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "agentshctl", &completions)
            .with_context(|| format!("can't write to {}", completions.display()))?;
    }
    Ok(Outcome::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_that_is_shown_has_its_manual_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        run(&Args { folder: folder.path().to_owned() }).unwrap();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = folder.path().join(format!("man/man1/agentshctl-{}.1", command.get_name()));
            assert!(fs::read_to_string(&page).unwrap().contains(".TH"), "{}", page.display());
        }
        for name in ["agentshctl.bash", "_agentshctl", "agentshctl.fish"] {
            assert!(fs::metadata(folder.path().join("completions").join(name)).unwrap().len() > 100);
        }
    }
}
