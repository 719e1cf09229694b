//! SQL text → checked tree, with every problem and its place.
