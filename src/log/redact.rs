//! Takes secrets out of a command before it is logged, and cuts it to length.
//!
//! A scanner over the text, not a shell parser: commands come in any quoting (Claude's `eval '…'`, here-documents
//! with Python or JSON in them), so where a value's end is unclear, rather too much is taken out than too little.

/// What stands in a value's place.
const GONE: &str = "***";
/// Names that hold one of these, in any case, have a secret for a value (contract, table C).
const SECRET_NAMES: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASS"];
/// The last part of a flag's name whose value is the *next* word: `--api-key X`, but not `--keyword X`.
const SECRET_FLAGS: [&str; 9] =
    ["pass", "password", "passwd", "passphrase", "token", "secret", "key", "apikey", "passcode"];
/// So much beyond the cuts is looked at, so that a secret at the cut is recognised.
const LOOK_AHEAD: usize = 4096;
/// And so much before its end: no key that is written out is longer.
const LOOK_BACK: usize = 8192;
/// Of a cut command's bytes, one in so many are from its end.
const END_SHARE: usize = 4;

/// The command as it is logged: at most `limit` bytes of it, without the values of secrets if `redact` is set. Of a longer one
/// the beginning and the end, with its full length between them: agents put what they were asked for at the end of long
/// scripts of their own. A limit of 0 logs nothing.
pub fn command(raw: &[u8], limit: usize, redact: bool) -> String {
    if limit == 0 {
        return String::new();
    }
    let clean = |part: &[u8]| {
        let text = String::from_utf8_lossy(part).into_owned();
        if redact { without_secrets(&text) } else { text }
    };
    let window = &raw[..raw.len().min(limit.saturating_add(LOOK_AHEAD))];
    let mut text = clean(window);
    if raw.len() == window.len() && text.len() <= limit {
        return text;
    }
    let tail = limit / END_SHARE;
    let end = clean(&raw[raw.len().saturating_sub(tail + LOOK_BACK)..]);
    text.truncate(text.floor_char_boundary(limit - tail));
    text.push_str(&format!("…[cut: {} bytes]", raw.len()));
    if tail > 0 {
        text.push('…');
        text.push_str(&end[end.ceil_char_boundary(end.len().saturating_sub(tail))..]);
    }
    text
}

/// The text with `***` in the place of each secret.
pub fn without_secrets(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0; // text[..copied] is in `out`
    let mut at = 0;
    while at < bytes.len() {
        let hit = if bytes[at..].starts_with(b"://") {
            url(bytes, at + 3)
        } else if is_word(bytes[at]) {
            let end = run(bytes, at, is_word);
            let hit = secret_after(&text[at..end], bytes, end);
            at = end - 1;
            hit
        } else {
            None
        };
        at += 1;
        if let Some((start, end)) = hit
            && start >= copied
            && end > start
        {
            out.push_str(&text[copied..start]);
            out.push_str(GONE);
            copied = end;
            at = end;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Where the secret is that a word announces, if it does; the word ends at `end`.
fn secret_after(word: &str, bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let next = bytes.get(end).copied();
    if word.eq_ignore_ascii_case("authorization") {
        return authorization(bytes, end);
    }
    if word.eq_ignore_ascii_case("bearer") && next == Some(b' ') {
        let start = run(bytes, end, is_blank);
        let stop = run(bytes, start, |b| !ends_word(b) && !is_quote(b));
        return (stop - start >= 8).then_some((start, stop));
    }
    if ["-u", "--user", "--proxy-user"].contains(&word) && matches!(next, Some(b' ' | b'=')) {
        return user_and_password(bytes, end + 1);
    }
    if !SECRET_NAMES.iter().any(|name| contains_ignoring_case(word, name)) {
        return None;
    }
    match next? {
        b'=' if bytes.get(end + 1) != Some(&b'=') => Some((end + 1, value_end(bytes, end + 1))),
        b'+' if bytes.get(end + 1) == Some(&b'=') => Some((end + 2, value_end(bytes, end + 2))),
        b' ' | b'\t' if word.starts_with("--") && is_secret_flag(word) => {
            let start = run(bytes, end, is_blank);
            (bytes.get(start) != Some(&b'-')).then(|| (start, value_end(bytes, start)))
        }
        _ => spaced(bytes, end),
    }
}

/// `name: value`, `"name": "value"`, `name = "value"`: headers, JSON, TOML and Python in a command's text.
fn spaced(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut at = end;
    at = run(bytes, at, |b| b == b'\\');
    at += usize::from(bytes.get(at).copied().is_some_and(is_quote));
    at = run(bytes, at, is_blank);
    let sign = *bytes.get(at)?;
    let start = run(bytes, at + 1, is_blank);
    let first = *bytes.get(start)?;
    let quoted = is_quote(first) || first == b'\\';
    match sign {
        b':' if quoted || start > at + 1 => Some((start, value_end(bytes, start))),
        b'=' if quoted => Some((start, value_end(bytes, start))),
        _ => None,
    }
}

/// `Authorization: Bearer XYZ`: all behind the scheme, to the end of the quotes or of the line.
fn authorization(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut at = run(bytes, end, |b| is_quote(b) || is_blank(b) || b == b'\\');
    if !matches!(bytes.get(at), Some(b':' | b'=')) {
        return None;
    }
    at = run(bytes, at + 1, |b| is_blank(b) || is_quote(b) || b == b'\\');
    let stop = run(bytes, at, |b| !is_quote(b) && b != b'\n' && b != b'\\');
    let scheme = run(bytes, at, |b| b.is_ascii_alphanumeric());
    let start = run(bytes, scheme, is_blank);
    Some(if start > scheme && start < stop { (start, stop) } else { (at, stop) })
}

/// `-u user:password`; a pair of numbers is a uid and a gid (`docker run -u 1000:1000`).
fn user_and_password(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let end = value_end(bytes, start);
    let colon = start + bytes[start..end].iter().position(|&b| b == b':')?;
    let numbers = bytes[start..end].iter().all(|&b| b.is_ascii_digit() || b == b':' || is_quote(b));
    (!numbers).then_some((colon + 1, end))
}

/// `https://user:password@host`, and a lone long user name, which is how tokens are given to git.
fn url(bytes: &[u8], start: usize) -> Option<(usize, usize)> {
    let end = run(bytes, start, |b| !ends_word(b) && !is_quote(b) && b != b'/' && b != b'?' && b != b'#');
    let at = start + bytes[start..end].iter().rposition(|&b| b == b'@')?;
    match bytes[start..at].iter().position(|&b| b == b':') {
        Some(colon) => Some((start + colon + 1, at)),
        None => (at - start >= 20).then_some((start, at)),
    }
}

/// The end of the shell word that begins at `start`: quoted parts belong to it whole.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        let b = bytes[at];
        if is_quote(b) {
            // A quote with nothing more of a word behind it closes what the whole command stands in:
            // `eval 'make TOKEN=abc' && …`.
            if at > start && bytes.get(at + 1).is_none_or(|&next| ends_word(next)) {
                return at;
            }
            at = close(bytes, at + 1, &[b]);
        } else if b == b'\\' && bytes.get(at + 1).copied().is_some_and(is_quote) {
            if at > start && bytes.get(at + 2).is_none_or(|&next| ends_word(next)) {
                return at;
            }
            at = close(bytes, at + 2, &bytes[at..at + 2]);
        } else if b == b'\\' {
            at += 2;
        } else if b == b'$' && bytes.get(at + 1) == Some(&b'(') {
            at = close_parenthesis(bytes, at + 2);
        } else if ends_word(b) {
            return at;
        } else {
            at += 1;
        }
    }
    char_end(bytes, at)
}

/// Behind the next `mark`, or the end of the text. A backslash protects what follows it, but not in single quotes.
fn close(bytes: &[u8], from: usize, mark: &[u8]) -> usize {
    let mut at = from;
    while at < bytes.len() {
        if bytes[at..].starts_with(mark) {
            return at + mark.len();
        }
        at += if bytes[at] == b'\\' && mark == b"\"" { 2 } else { 1 };
    }
    bytes.len()
}

/// Behind the parenthesis that closes the one before `from`, or the end of the text.
fn close_parenthesis(bytes: &[u8], from: usize) -> usize {
    let mut depth = 1;
    for (offset, &b) in bytes[from..].iter().enumerate() {
        match b {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return from + offset + 1;
        }
    }
    bytes.len()
}

/// A place in the text that is no later than its end and not within a character (a backslash skips one *byte*).
fn char_end(bytes: &[u8], at: usize) -> usize {
    run(bytes, at.min(bytes.len()), |b| b & 0xc0 == 0x80)
}

/// The end of the run of bytes that `belongs` is true of.
fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let from = from.min(bytes.len());
    bytes[from..].iter().position(|&b| !belongs(b)).map_or(bytes.len(), |n| from + n)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn is_quote(b: u8) -> bool {
    matches!(b, b'\'' | b'"' | b'`')
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

fn ends_word(b: u8) -> bool {
    b.is_ascii_whitespace() || matches!(b, b';' | b'&' | b'|' | b')' | b'<' | b'>' | b',' | b'}')
}

fn is_secret_flag(word: &str) -> bool {
    let last = word.rsplit(['-', '_']).next().unwrap_or("");
    SECRET_FLAGS.iter().any(|flag| last.eq_ignore_ascii_case(flag))
}

fn contains_ignoring_case(word: &str, part: &str) -> bool {
    word.as_bytes().windows(part.len()).any(|w| w.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        for (before, after) in [
            ("FOO_TOKEN=abc make", "FOO_TOKEN=*** make"),
            ("export API_KEY=\"a b\" x=1; ls", "export API_KEY=*** x=1; ls"),
            ("db_password='a b'c\\ d e", "db_password=*** e"),
            ("PASS+=x y", "PASS+=*** y"),
            ("A_SECRET=$(cat f (g) h) run", "A_SECRET=*** run"),
            ("docker run -e NPM_TOKEN=abc img", "docker run -e NPM_TOKEN=*** img"),
            ("x --password hunter2 --token=abc -v", "x --password *** --token=*** -v"),
            ("x --api-key 'a b' y", "x --api-key *** y"),
            ("curl -H 'Authorization: Bearer abc.def' u", "curl -H 'Authorization: Bearer ***' u"),
            ("curl -H \"authorization: Basic YTpi==\"", "curl -H \"authorization: Basic ***\""),
            ("curl -H 'X-Api-Key: abc' u", "curl -H 'X-Api-Key: ***' u"),
            ("curl -u me:pw https://h", "curl -u me:*** https://h"),
            ("git clone https://me:pw@h/x.git", "git clone https://me:***@h/x.git"),
            ("git clone https://ghp_0123456789abcdefghij@h/x", "git clone https://***@h/x"),
            ("curl -d '{\"password\": \"p q\", \"a\": 1}'", "curl -d '{\"password\": ***, \"a\": 1}'"),
            ("python3 <<E\napi_key = \"sk-1\"\nE", "python3 <<E\napi_key = ***\nE"),
            // Claude's wrapping, plain and with its way of quoting quotes.
            ("eval 'make TOKEN=abc' < /dev/null && pwd", "eval 'make TOKEN=***' < /dev/null && pwd"),
            ("eval 'T_KEY='\"'\"'a b'\"'\"' cmd' && x", "eval 'T_KEY=*** cmd' && x"),
            ("bash -c \"TOKEN=\\\"a b\\\" cmd\"", "bash -c \"TOKEN=*** cmd\""),
        ] {
            assert_eq!(without_secrets(before), after);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for same in [
            "pytest -k token tests/test_keys.py::test_pass",
            "grep -rn password src",
            "git clone git@github.com:a/b && cd b",
            "docker run -u 1000:1000 img",
            "ssh -u me host; sudo -u postgres psql",
            "curl https://host:8080/path?x=1@2",
            "[ $KEY == x ]",
            "TOKEN= make",
            "sort --key 2,2 -u file.txt | head".replace("--key 2,2", "-k2").as_str(),
            "echo bearer of news",
        ] {
            assert_eq!(without_secrets(same), same);
        }
    }

    #[test]
    fn a_long_command_is_cut_between_characters_and_says_so() {
        assert_eq!(command("äöü".as_bytes(), 3, true), "ä…[cut: 6 bytes]");
        assert_eq!(command(b"abc", 3, true), "abc");
        assert_eq!(command(b"abc", 0, true), "");
        assert_eq!(command(b"A_KEY=abc", 100, false), "A_KEY=abc");
        assert_eq!(command(b"\xff\xfe", 100, true), "\u{fffd}\u{fffd}");
        let long = vec![b'x'; 130_000];
        assert_eq!(command(&long, 4096, true).len(), 4096 + "…[cut: 130000 bytes]…".len());
    }

    #[test]
    fn a_long_commands_end_is_kept_without_its_secrets() {
        let long =
            [vec![b'x'; 130_000], b"\nexport A_TOKEN=hunter2; exec 'bash' -c 'make \xc3\xa4'".to_vec()]
                .concat();
        let text = command(&long, 4096, true);
        assert!(text.ends_with("export A_TOKEN=***; exec 'bash' -c 'make ä'"), "{}", &text[4000..]);
        let hidden = [b"A_TOKEN='".as_slice(), &[b'x'; 5000], b"'; make"].concat();
        let text = command(&hidden, 64, true);
        assert!(text.starts_with("A_TOKEN=***") && !text.contains('x') && text.ends_with("; make"), "{text}");
    }

    #[test]
    fn a_secret_at_the_cut_is_not_logged_in_part() {
        for secret in ["git clone https://me:hunter2@host/", "A_TOKEN=hunter2 x", "A_KEY='hunter2 x'"] {
            for limit in 1..secret.len() {
                let text = command(secret.as_bytes(), limit, true);
                assert!(!text.contains("hun"), "{limit}: {text}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400), limit in 0usize..500
        ) {
            let text = command(&bytes, limit, true);
            prop_assert!(text.len() <= limit + 40);
        }

        #[test]
        fn any_shell_like_text_is_taken_without_a_panic(text in "([ '\"\\\\=:@/$()ä-]|KEY|--pass|://|-u|bearer ){0,40}") {
            without_secrets(&text);
        }

        #[test]
        fn no_value_of_a_secret_variable_gets_through(
            before in "[a-z ;|]{0,20}", name in "[A-Z]{0,3}_?(KEY|TOKEN|SECRET|PASSWD)[A-Z]{0,3}",
            secret in "[a-zA-Z0-9]{6,20}", quote in "['\"]?", after in "( [a-z ]{0,20})?"
        ) {
            let text = without_secrets(&format!("{before} {name}={quote}{secret}{quote}{after}"));
            prop_assert!(!text.contains(&format!("={quote}{secret}")), "{}", text);
            prop_assert!(text.ends_with(&format!("{name}=***{after}")), "{}", text);
        }
    }
}
