//! Any text may be a config.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tunnel_common::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse(text, Path::new("config.json")) {
        Ok(config) => {
            for condition in config.conditions() {
                let route = config.route(condition).expect("it is listed");
                assert_eq!(&route.condition, condition);
            }
        }
        Err(problems) => {
            assert!(problems.count() > 0);
            for problem in problems.iter() {
                assert!(!problem.to_string().contains('\n'), "{problem}");
            }
        }
    }
});
