//! The configuration: any text is a configuration, or a list of mistakes.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Err(mistakes) = weir_config::Config::from_toml(text) {
        assert!(!mistakes.to_string().is_empty(), "refused without a word");
    }
});
