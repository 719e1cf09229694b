//! NDJSON, gzip and zstd in.
