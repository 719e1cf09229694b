//! Relative paths start at the configuration's folder.

use std::path::{Path, PathBuf};

use super::Config;
use crate::sink::SinkConfig;

/// Makes every path of a configuration one that does not depend on where the program runs.
pub(super) fn start_at(folder: &Path, config: &mut Config) {
    config.rules = folder.join(&config.rules);
    let url = &mut config.checkpoints.url;
    if !url.contains(':') {
        *url = folder.join(&*url).display().to_string();
    }
    let tls = config.kafka.tls.iter_mut();
    let mut all: Vec<&mut Option<PathBuf>> = vec![&mut config.schemas];
    all.extend(tls.flat_map(|tls| [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file]));
    for sink in config.sinks.values_mut() {
        match sink {
            SinkConfig::Stdout(_) => {}
            SinkConfig::File(file) => file.path = folder.join(&file.path),
            SinkConfig::Opensearch(sink) | SinkConfig::Elasticsearch(sink) => {
                all.extend([&mut sink.ca_file, &mut sink.cert_file, &mut sink.key_file]);
            }
            SinkConfig::Splunk(sink) => {
                all.extend([&mut sink.ca_file, &mut sink.cert_file, &mut sink.key_file]);
            }
        }
    }
    all.into_iter().flatten().for_each(|path| *path = folder.join(&*path));
}
