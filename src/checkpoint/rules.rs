//! The texts of a rule set ↔ one JSON document, kept under the set's hash, so that whoever takes a partition
//! over can judge every offset by the set that was in force there.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Gravity, Source};
use crate::rule::RuleSet;
use crate::rule::content::Content;
use crate::schema::Schema;

/// The version of the document that is written and read.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    format: u32,
    engine: String,
    hash: String,
    rules: Vec<File<'a>>,
    schemas: Vec<File<'a>>,
    lookups: Vec<File<'a>>,
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    path: Cow<'a, str>,
    text: Cow<'a, str>,
}

fn files(sources: &[Source]) -> Vec<File<'_>> {
    sources.iter().map(|source| File { path: (&*source.path).into(), text: (&*source.text).into() }).collect()
}

/// The document of a set.
pub fn encode(hash: u128, content: &Content) -> Vec<u8> {
    let document = Document {
        format: FORMAT,
        engine: env!("CARGO_PKG_VERSION").into(),
        hash: format!("{hash:032x}"),
        rules: files(&content.rules),
        schemas: files(&content.schemas),
        lookups: files(&content.lookups),
    };
    // Texts and numbers: there is nothing that JSON cannot hold.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// What [`encode`] made; else why it cannot be read.
pub fn decode(bytes: &[u8]) -> Result<Content, String> {
    let document: Document<'_> = serde_json::from_slice(bytes)
        .map_err(|error| format!("the stored rule set is no such document: {error}"))?;
    if document.format != FORMAT {
        return Err(format!(
            "the stored rule set has format {}, and this program reads {FORMAT}: start the version that wrote it",
            document.format
        ));
    }
    let sources = |files: Vec<File<'_>>| {
        let source = |file: File<'_>| Source { path: file.path.into_owned(), text: file.text.into_owned() };
        files.into_iter().map(source).collect()
    };
    Ok(Content {
        rules: sources(document.rules),
        schemas: sources(document.schemas),
        lookups: sources(document.lookups),
    })
}

/// Compiles the set again that was kept under a hash, with its streams; else why that is not the same set.
pub fn compile(hash: u128, content: &Content) -> Result<(RuleSet, Vec<Arc<Schema>>), String> {
    let (schemas, loaded) = content.compile();
    let error = |problem: &&Diagnostic| problem.gravity == Gravity::Error;
    if let Some(problem) = loaded.problems.iter().find(error) {
        return Err(format!(
            "the stored rule set {hash:032x} does not compile any more: {}: {}: start the version that wrote it",
            problem.file, problem.message
        ));
    }
    if loaded.rules.hash != hash {
        return Err(format!(
            "the stored rule set {hash:032x} compiles to {:032x} in this version: start the version that wrote it",
            loaded.rules.hash
        ));
    }
    Ok((loaded.rules, schemas))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rule::{lookup, shipped};
    use crate::schema;

    /// The shipped rules and every table there is.
    fn shipped_content() -> Content {
        let sources = |folder: &str| lookup::read(Path::new(folder)).unwrap().sources;
        Content {
            rules: shipped::files().into_iter().map(|file| file.source).collect(),
            schemas: schema::built_in_sources(),
            lookups: sources("testdata/lookups"),
        }
    }

    #[test]
    fn shipped_rules_compile_again_to_the_same_set() {
        let content = shipped_content();
        let (_, loaded) = content.compile();
        assert!(
            loaded.problems.iter().all(|problem| problem.gravity != Gravity::Error),
            "{:?}",
            loaded.problems
        );
        let hash = loaded.rules.hash;
        let back = decode(&encode(hash, &content)).unwrap();
        assert_eq!(back, content);
        let (again, schemas) = compile(hash, &back).unwrap();
        assert_eq!((again.hash, again.rules.len()), (hash, loaded.rules.rules.len()));
        assert_eq!(schemas.len(), content.schemas.len());
        assert!(again.rules.len() > 50);
    }

    #[test]
    fn what_is_another_set_is_told() {
        let mut content = shipped_content();
        content.rules.retain(|file| file.path.contains("/telemetry/"));
        let hash = content.compile().1.rules.hash;
        let said = compile(hash ^ 1, &content).unwrap_err();
        assert!(said.contains("compiles to"), "{said}");
        let telemetry = content.schemas.iter_mut().find(|file| file.path.contains("telemetry")).unwrap();
        telemetry.text += "\nextra_field = { type = \"string\", doc = \"x\" }\n";
        assert!(compile(hash, &content).is_err(), "a changed schema is another set");
        content.rules[1].text += "\nnonsense\n";
        let said = compile(hash, &content).unwrap_err();
        assert!(said.contains("does not compile any more"), "{said}");
        assert!(decode(b"{}").is_err());
        let newer = String::from_utf8(encode(hash, &Content::default())).unwrap().replace(":1,", ":2,");
        assert!(decode(newer.as_bytes()).unwrap_err().contains("format 2"));
    }
}
