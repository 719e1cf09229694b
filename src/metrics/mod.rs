//! Numbers for people who run this.
