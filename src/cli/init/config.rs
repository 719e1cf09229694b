//! The configuration that `init` writes.

/// A commented configuration for one stream. `exchange`: its first rule needs all partitions together.
pub fn text(stream: &str, topic: Option<&str>, brokers: Option<&str>, exchange: bool) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let known = brokers.is_some();
    let brokers = quoted(brokers.unwrap_or("localhost:9092"));
    let brokers_note =
        if known { "host:port, several with commas" } else { "not known from a file: put yours here" };
    let topic_note = match topic {
        Some(topic) => format!("# Stream {stream} reads topic {topic}: schemas/{stream}.toml says so."),
        None => format!("# Stream {stream}: its topic stands in schemas/{stream}.toml."),
    };
    let unplaced = if exchange {
        "unplaced = \"skip\"            # a rule that needs several partitions together is left out, and said\n"
    } else {
        "unplaced = \"refuse\"          # to start with a rule that needs several partitions together; or \"skip\" it\n"
    };
    format!(
        "# Configuration of `fleetwarden run -c fleetwarden.toml`. Unknown keys are errors, all told at once.\n\
         # ${{env:NAME}} is an environment variable, ${{file:PATH}} the contents of a file: secrets belong there.\n\
         \n\
         rules   = \"rules\"\n\
         schemas = \"schemas\"\n\
         \n\
         [kafka]\n\
         brokers  = {brokers}  # {brokers_note}\n\
         group    = \"fleetwarden\"     # processes of one group share the partitions\n\
         start    = \"earliest\"        # where the group has committed nothing; or \"latest\"\n\
         {unplaced}\
         # [kafka.settings]           # any librdkafka setting, such as\n\
         # \"security.protocol\" = \"sasl_ssl\"\n\
         # \"sasl.password\"     = \"${{env:KAFKA_PASSWORD}}\"\n\
         \n\
         {topic_note}\n\
         # [streams.{stream}]\n\
         # topic = \"another.topic\"\n\
         \n\
         [sinks.screen]\n\
         type = \"stdout\"             # one JSON line an alert; others: opensearch, elasticsearch, splunk, file\n\
         \n\
         # [sinks.siem]\n\
         # type     = \"opensearch\"\n\
         # url      = \"https://opensearch:9200\"\n\
         # user     = \"fleetwarden\"\n\
         # password = \"${{env:OPENSEARCH_PASSWORD}}\"\n"
    )
}
