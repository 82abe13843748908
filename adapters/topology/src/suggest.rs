//! "Did you mean": the nearest of a few known words.

/// Longer words are typed by nobody; the bound keeps the comparison cheap.
const MAX_CHARS: usize = 80;

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    if word.len() > MAX_CHARS {
        return None;
    }
    let folded = fold(word);
    let candidates: Vec<&str> =
        candidates.into_iter().filter(|candidate| candidate.len() <= MAX_CHARS).collect();
    let near = candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| {
            let longer = folded.chars().count().max(candidate.chars().count());
            *distance <= (longer / 3).max(1) && *distance < longer
        })
        .min_by_key(|(distance, _)| *distance);
    near.map(|(_, candidate)| *candidate).or_else(|| begun(&folded, &candidates))
}

/// Whether a word is so near that it is surely what was meant, and not only perhaps.
pub(crate) fn is_slip(word: &str, meant: &str) -> bool {
    strsim::damerau_levenshtein(&fold(word), &fold(meant)) <= 2
}

/// The only candidate that begins so: words are cut short, too.
fn begun<'c>(folded: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let mut begin = candidates.iter().filter(|candidate| fold(candidate).starts_with(folded));
    let only = begin.next().filter(|_| folded.len() >= 3)?;
    begin.next().is_none().then_some(*only)
}

/// Case and the kind of dash are the commonest slips; they cost nothing.
fn fold(word: &str) -> String {
    word.chars().map(|c| if c == '-' || c == ' ' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// `a`, `b` or `c`, each in backquotes.
pub(crate) fn list(words: &[&str]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            text.push_str(if index + 1 == words.len() { " or " } else { ", " });
        }
        text.push('`');
        text.push_str(word);
        text.push('`');
    }
    text
}
