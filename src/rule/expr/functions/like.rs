//! `LIKE`: `%` is any text, `_` any character, `\` takes the next character as it is.
//!
//! Linear in the text unless `_` is used; case-sensitive; no other wildcard.

/// A compiled pattern: what lies between the `%` signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Like(Vec<Piece>);

/// What must follow without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// This text.
    Literal(String),
    /// These characters; none = any one.
    Characters(Vec<Option<char>>),
}

impl Like {
    /// Compiles a pattern; every text is one. A `\` at the end stands for itself.
    pub fn new(pattern: &str) -> Like {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match c {
                '%' => pieces.push(Piece::of(std::mem::take(&mut piece))),
                '_' => piece.push(None),
                '\\' => piece.push(Some(rest.next().unwrap_or('\\'))),
                _ => piece.push(Some(c)),
            }
        }
        pieces.push(Piece::of(piece));
        Like(pieces)
    }

    /// Whether the whole text is as the pattern says.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return first.after_prefix(text).is_some_and(str::is_empty);
        };
        let Some(mut text) = first.after_prefix(text) else {
            return false;
        };
        for piece in middle {
            // The leftmost place leaves the most for the pieces that follow.
            match piece.after_first(text) {
                Some(after) => text = after,
                None => return false,
            }
        }
        last.ends(text)
    }
}

impl Piece {
    fn of(characters: Vec<Option<char>>) -> Piece {
        match characters.iter().copied().collect::<Option<String>>() {
            Some(literal) => Piece::Literal(literal),
            None => Piece::Characters(characters),
        }
    }

    /// What follows if the text starts with this.
    fn after_prefix<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Piece::Literal(literal) => text.strip_prefix(literal.as_str()),
            Piece::Characters(characters) => {
                let mut rest = text.chars();
                let fits = characters.iter().all(|c| rest.next().is_some_and(|d| c.is_none_or(|c| c == d)));
                fits.then_some(rest.as_str())
            }
        }
    }

    /// What follows the leftmost place where this stands.
    fn after_first<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Piece::Literal(literal) => text.split_once(literal.as_str()).map(|(_, after)| after),
            Piece::Characters(_) => {
                text.char_indices().find_map(|(at, _)| self.after_prefix(text.get(at..)?))
            }
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Piece::Literal(literal) => text.ends_with(literal.as_str()),
            Piece::Characters(characters) => {
                let mut rest = text.chars().rev();
                characters.iter().rev().all(|c| rest.next().is_some_and(|d| c.is_none_or(|c| c == d)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%", "a\nb", true),
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("a%a", "a", false),
            ("a%a", "aa", true),
            ("a_c", "abc", true),
            ("a_c", "a\nc", true),
            ("_", "é", true),
            ("_", "", false),
            ("__", "é", false),
            ("%_x%", "x", false),
            ("%_x%", "yx", true),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("a\\_b", "a_b", true),
            ("a\\_b", "axb", false),
            ("a\\\\b", "a\\b", true),
            ("a\\", "a\\", true),
            ("A", "a", false),
            ("%ab%ab%", "abab", true),
            ("%ab%ab", "ab", false),
            (".*", "x", false),
        ] {
            assert_eq!(Like::new(pattern).matches(text), expected, "{text:?} like {pattern:?}");
        }
    }

    proptest! {
        /// Against a regular expression made of the same pattern.
        #[test]
        fn as_a_regular_expression(pattern in "[ab%_]{0,8}", text in "[ab\n]{0,10}") {
            let regexp = pattern.replace('%', ".*").replace('_', ".");
            let oracle = regex::Regex::new(&format!(r"(?s)\A{regexp}\z")).unwrap();
            prop_assert_eq!(Like::new(&pattern).matches(&text), oracle.is_match(&text));
        }
    }
}
