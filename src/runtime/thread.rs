//! The thread that executes a worker's actions against Kafka.
