use std::path::PathBuf;

use super::*;

fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

/// `UPDATE_SCHEMA=1 cargo test -p tunnel-common schema` rewrites the file.
#[test]
fn the_published_schema_is_current() {
    let path = docs("config.schema.json");
    let current = format!("{:#}\n", crate::config::schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).expect("docs/config.schema.json is writable");
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == current,
        "docs/config.schema.json is stale: run UPDATE_SCHEMA=1 cargo test -p tunnel-common schema"
    );
}

#[test]
fn the_schema_and_the_parser_agree() {
    let schema = jsonschema::draft202012::new(&crate::config::schema()).expect("a schema");
    let allows = |text: &str| {
        let value = serde_json::from_str(text).unwrap_or_default();
        schema.is_valid(&value)
    };
    let good = r#""port":8050,"remoteIP":"https://demo""#;
    for fields in ACCEPTED {
        assert!(allows(&mapping(&format!("{good},{fields}"))), "{fields}");
    }
    for target in TARGETS {
        let text = mapping(&format!(r#""port":8050,"remoteIP":"{target}""#));
        assert!(allows(&text), "{target}");
    }
    for (fields, _, says) in REFUSED {
        let text = mapping(&format!("{good},{fields}"));
        // What is no JSON value (a broken escape) never gets to a schema.
        if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
            assert_eq!(allows(&text), *says == Schema::Accepts, "{fields}");
        }
    }
    for (target, _, says) in REFUSED_TARGETS {
        let text = mapping(&format!(r#""port":8050,"remoteIP":"{target}""#));
        assert_eq!(allows(&text), *says == Schema::Accepts, "{target}");
    }
}

#[test]
fn the_schema_knows_every_port_and_what_is_required() {
    let schema = jsonschema::draft202012::new(&crate::config::schema()).expect("a schema");
    for port in 0..=70_000 {
        let mapping = |port| serde_json::json!({ "port": port, "remoteIP": "http://demo" });
        for mapping in [mapping(port.into()), mapping(serde_json::Value::from(port.to_string()))] {
            let document = serde_json::json!({ "data": [mapping] });
            assert_eq!(schema.is_valid(&document), (1..=65_535).contains(&port), "{document}");
        }
    }
    for text in ["{}", "7", r#"{"data":{}}"#, r#"{"data":[{"port":1}]}"#, r#"{"dta":[]}"#] {
        let value = serde_json::from_str(text).expect("JSON");
        assert!(!schema.is_valid(&value), "{text}");
        assert!(parse(text).is_err(), "{text}");
    }
}

/// The fenced blocks of docs/config.md with this info string.
fn blocks(info: &str) -> Vec<String> {
    let page = std::fs::read_to_string(docs("config.md")).expect("docs/config.md");
    let opening = format!("```{info}\n");
    let blocks = page.split(&opening).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

#[test]
fn the_examples_of_the_page_hold() {
    let good = blocks("json");
    assert!(!good.is_empty());
    for text in good {
        assert_eq!(parse(&text).err(), None, "{text}");
    }
    let (bad, said) = (blocks("json bad"), blocks("text"));
    assert_eq!(bad.len(), said.len());
    for (text, said) in bad.iter().zip(said) {
        let problems = Config::parse(text, Path::new("config.json")).expect_err("mistakes");
        assert_eq!(problems.to_string().trim(), said.trim());
    }
}
