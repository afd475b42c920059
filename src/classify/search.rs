//! Looks for bytes in long texts, many at a time.

/// So many bytes are looked at together: the compiler makes a few vector instructions of them.
const TOGETHER: usize = 32;

/// Where the first byte of this sort stands; the length if there is none.
#[inline]
pub(super) fn find(text: &[u8], sort: impl Fn(u8) -> bool) -> usize {
    let (blocks, _) = text.as_chunks::<TOGETHER>();
    let holds = |block: &&[u8; TOGETHER]| block.iter().fold(0, |any, &b| any | u8::from(sort(b))) == 0;
    let skipped = blocks.iter().take_while(holds).count() * TOGETHER;
    let found = text[skipped..].iter().position(|&b| sort(b));
    found.map_or(text.len(), |near| skipped + near)
}

/// Where the first such byte stands; the length if there is none.
pub(super) fn find_byte(text: &[u8], byte: u8) -> usize {
    find(text, |b| b == byte)
}

/// Words are mostly shorter than this; longer ones are worth looking at many bytes together.
const SHORT: usize = 24;

/// So many bytes mean themselves within a word.
pub(super) fn plain(text: &[u8]) -> usize {
    let plain = |text: &[u8]| text.iter().take_while(|&&b| PLAIN[b as usize]).count();
    let mut at = plain(&text[..text.len().min(SHORT)]);
    while at >= SHORT && text.get(at).is_some_and(|&b| PLAIN[b as usize]) {
        // All that is special and a little more, in few comparisons.
        let rest = &text[at..];
        let skipped = find(rest, |b| {
            (b <= b')') | (b';'..=b'>').contains(&b) | (b == b'\\') | (b == b'`') | (b == b'|')
        });
        let near = &rest[skipped..rest.len().min(skipped + SHORT)];
        at += skipped + plain(near);
    }
    at
}

/// The bytes that mean themselves within a word.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let special = b" \t\r\n;&|()<>\\'\"$`";
    let mut i = 0;
    while i < special.len() {
        plain[special[i] as usize] = false;
        i += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_found_wherever_it_stands() {
        for length in 0..150 {
            let mut text = vec![b'a'; length];
            assert_eq!(find_byte(&text, b'x'), length);
            for place in 0..length {
                text[place..].fill(b'x');
                assert_eq!(find_byte(&text, b'x'), place);
                assert_eq!(find(&text, |b| b == b'y' || b == b'x'), place);
                text.fill(b'a');
            }
        }
    }

    #[test]
    fn words_end_at_what_is_special_and_nowhere_else() {
        for byte in 0..=255 {
            for place in 0..100 {
                let text = [&vec![b'a'; place][..], &[byte], b"aaa;"].concat();
                let end = if PLAIN[byte as usize] { place + 4 } else { place };
                assert_eq!(plain(&text), end, "{byte} at {place}");
            }
        }
    }
}
