//! Settings, checks, consumer and producer: the only home of rdkafka.
