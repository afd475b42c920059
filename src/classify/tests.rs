//! What the classifier says of whole commands.

use super::*;

fn of(command: &str) -> Class {
    classify(command.as_bytes(), &Context { rules: &[] }).class
}

#[test]
fn the_heaviest_part_of_a_compound_command_wins() {
    assert_eq!(of("git stash && python -m pytest tests && git stash pop"), Class::Test);
    assert_eq!(of("cd /tmp && rm -rf x && git clone https://example.org/x"), Class::Git);
}
