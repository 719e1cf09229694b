//! A rule file as it was typed, with the place of everything.
