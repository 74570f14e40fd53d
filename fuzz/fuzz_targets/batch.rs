//! CloudFront's InvalidationBatch: any bytes are one, or a fault; one that is written is read again.
#![no_main]

#[path = "../../control/src/dialects/cloudfront/xml.rs"]
#[allow(dead_code, reason = "the target uses its part")]
mod xml;

const MOST: usize = 100;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let Ok(batch) = xml::Batch::parse(body, MOST) else { return };
    assert!(batch.items.len() <= MOST);
    let told = xml::Invalidation {
        id: &batch.reference,
        completed: true,
        created: String::new(),
        batch: Some(&batch),
    };
    let document = told.document();
    let (_, rest) = document.split_once("<InvalidationBatch>").expect("it is there");
    let (inner, _) = rest.split_once("</Invalidation>").expect("it is there");
    let again = xml::Batch::parse(format!("<InvalidationBatch>{inner}").as_bytes(), MOST);
    assert_eq!(again.map(|again| again.items.len()), Ok(batch.items.len()));
    let _ = xml::list(&batch.reference, MOST, true, &[told]);
    let _ = xml::error(false, "InvalidArgument", &batch.reference);
});
