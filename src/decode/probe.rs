//! The event time of a record, without building it: what a file without envelopes is ordered by.
