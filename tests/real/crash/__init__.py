"""Processes, brokers and sinks that die, and what came of it: nothing lost, nothing doubled."""
