//! The documents of CloudFront's invalidations: one is read, three are written. Pure, and strict in
//! reading: no document type, so no entities but XML's own; only the elements that are known.

use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;

/// The namespace of what is written. What is read may be in any.
const NAMESPACE: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// What is to be invalidated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// CallerReference.
    pub(crate) reference: String,
    /// Paths and tags, as they were written.
    pub(crate) items: Vec<String>,
}

/// Why a text is no [`Batch`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not XML, or not an InvalidationBatch.
    Malformed(String),
    /// Quantity is not the number of items.
    Quantity {
        /// As it is written.
        named: String,
        /// How many there are.
        counted: usize,
    },
    /// More items than are taken.
    TooMany,
}

/// The elements of an InvalidationBatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Batch,
    Reference,
    Paths,
    Quantity,
    Items,
    Path,
}

impl Element {
    /// The one with this name in `parent`.
    fn within(parent: Option<Self>, name: &str) -> Option<Self> {
        match (parent, name) {
            (None, "InvalidationBatch") => Some(Self::Batch),
            (Some(Self::Batch), "CallerReference") => Some(Self::Reference),
            (Some(Self::Batch), "Paths") => Some(Self::Paths),
            (Some(Self::Paths), "Quantity") => Some(Self::Quantity),
            (Some(Self::Paths), "Items") => Some(Self::Items),
            (Some(Self::Items), "Path") => Some(Self::Path),
            _ => None,
        }
    }

    /// Whether it has text, and no elements.
    fn is_text(self) -> bool {
        matches!(self, Self::Reference | Self::Quantity | Self::Path)
    }
}

impl Batch {
    /// Reads an InvalidationBatch of at most `most` items.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(body: &[u8], most: usize) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut reading = Reading::default();
        loop {
            let event = reader.read_event().map_err(|error| malformed(&error.to_string()))?;
            match event {
                Event::Start(start) => reading.begin(start.local_name().as_ref())?,
                // The reader has compared the names.
                Event::End(_) => reading.end(most)?,
                Event::Text(text) => reading.text(&text)?,
                Event::CData(text) => reading.text(&text)?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref();
                    match character.map_err(|error| malformed(&error.to_string()))? {
                        Some(character) => reading.text(character.encode_utf8(&mut [0; 4]))?,
                        None => reading.text(entity(&reference)?)?,
                    }
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Empty(_) => return Err(malformed("it has an element that is not known")),
                Event::DocType(_) => return Err(malformed("it has a document type")),
                Event::Eof => return reading.finish(),
            }
        }
    }
}

/// What an entity stands for: only XML's own are known.
fn entity(name: &str) -> Result<&'static str, Fault> {
    resolve_predefined_entity(name)
        .ok_or_else(|| malformed("it has an entity that XML does not define"))
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    open: Vec<Element>,
    seen: Vec<Element>,
    text: String,
    reference: Option<String>,
    quantity: Option<String>,
    items: Vec<String>,
}

impl Reading {
    fn begin(&mut self, name: &str) -> Result<(), Fault> {
        let parent = self.open.last().copied();
        let element = Element::within(parent, name).ok_or_else(|| {
            let name: String = name.chars().take(100).collect();
            malformed(&format!("element {name:?} is not accepted here"))
        })?;
        // Each but Path stands once, so there is one Items too, and one root.
        if element != Element::Path {
            if self.seen.contains(&element) {
                return Err(malformed(&format!("{element:?} is there twice")));
            }
            self.seen.push(element);
        }
        self.open.push(element);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        if self.open.last().is_some_and(|element| element.is_text()) {
            self.text.push_str(text);
            return Ok(());
        }
        if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Ok(());
        }
        Err(malformed("it has text between its elements"))
    }

    fn end(&mut self, most: usize) -> Result<(), Fault> {
        let text = std::mem::take(&mut self.text);
        match self.open.pop() {
            Some(Element::Reference) => self.reference = Some(text),
            Some(Element::Quantity) => self.quantity = Some(text),
            Some(Element::Path) if self.items.len() == most => return Err(Fault::TooMany),
            Some(Element::Path) => self.items.push(text),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Batch, Fault> {
        let missing = |name: &str| malformed(&format!("{name} is missing"));
        if !self.open.is_empty() {
            return Err(malformed("it ends before its elements do"));
        }
        if self.seen.is_empty() {
            return Err(missing("InvalidationBatch"));
        }
        let reference = self.reference.ok_or_else(|| missing("CallerReference"))?;
        let quantity = self.quantity.ok_or_else(|| missing("Quantity"))?;
        let counted = self.items.len();
        if quantity.trim().parse() != Ok(counted) {
            let named = quantity.trim().chars().take(100).collect();
            return Err(Fault::Quantity { named, counted });
        }
        Ok(Batch { reference, items: self.items })
    }
}

fn malformed(why: &str) -> Fault {
    Fault::Malformed(format!("the body is not an InvalidationBatch: {why}"))
}

/// What is told of an invalidation.
pub(crate) struct Invalidation<'a> {
    /// Id.
    pub(crate) id: &'a str,
    /// Status.
    pub(crate) completed: bool,
    /// CreateTime.
    pub(crate) created: String,
    /// Left out of a listing.
    pub(crate) batch: Option<&'a Batch>,
}

impl Invalidation<'_> {
    /// The document of one.
    pub(crate) fn document(&self) -> String {
        let inner = self.inner();
        format!("{DECLARATION}<Invalidation xmlns=\"{NAMESPACE}\">{inner}</Invalidation>")
    }

    fn inner(&self) -> String {
        let status = if self.completed { "Completed" } else { "InProgress" };
        let (id, created) = (written(self.id), &self.created);
        let batch = self.batch.map(batch).unwrap_or_default();
        format!("<Id>{id}</Id><Status>{status}</Status><CreateTime>{created}</CreateTime>{batch}")
    }
}

fn batch(batch: &Batch) -> String {
    let (quantity, reference) = (batch.items.len(), written(&batch.reference));
    let items: String =
        batch.items.iter().map(|item| format!("<Path>{}</Path>", written(item))).collect();
    format!(
        "<InvalidationBatch><Paths><Quantity>{quantity}</Quantity><Items>{items}</Items></Paths>\
         <CallerReference>{reference}</CallerReference></InvalidationBatch>"
    )
}

/// The document of a listing that began at `marker` and has more to come, or not.
pub(crate) fn list(marker: &str, most: usize, more: bool, told: &[Invalidation<'_>]) -> String {
    let quantity = told.len();
    let next = told
        .last()
        .filter(|_| more)
        .map_or_else(String::new, |last| format!("<NextMarker>{}</NextMarker>", written(last.id)));
    let items: String = told
        .iter()
        .map(|told| format!("<InvalidationSummary>{}</InvalidationSummary>", told.inner()))
        .collect();
    let marker = written(marker);
    format!(
        "{DECLARATION}<InvalidationList xmlns=\"{NAMESPACE}\"><Marker>{marker}</Marker>{next}\
         <MaxItems>{most}</MaxItems><IsTruncated>{more}</IsTruncated>\
         <Quantity>{quantity}</Quantity><Items>{items}</Items></InvalidationList>"
    )
}

/// The document of a refusal.
pub(crate) fn error(ours: bool, code: &str, message: &str) -> String {
    let fault = if ours { "Receiver" } else { "Sender" };
    let (code, message) = (written(code), written(message));
    format!(
        "{DECLARATION}<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{fault}</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    )
}

/// A text as XML has it. What XML 1.0 cannot hold at all is replaced.
fn written(text: &str) -> String {
    let legal = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        c => c >= ' ',
    };
    let text: String = text.chars().map(|c| if legal(c) { c } else { '\u{fffd}' }).collect();
    escape(text.as_str()).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MOST: usize = 3;

    fn wrapped(inner: &str) -> String {
        format!("<InvalidationBatch xmlns=\"{NAMESPACE}\">{inner}</InvalidationBatch>")
    }

    fn of(reference: &str, items: &[&str]) -> Batch {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        Batch { reference: reference.into(), items }
    }

    fn refused(body: &str) -> String {
        match Batch::parse(body.as_bytes(), MOST).unwrap_err() {
            Fault::Malformed(why) => why,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn batches_are_read_as_clients_write_them() {
        let paths = "<Paths><Quantity>2</Quantity><Items><Path>/a&amp;b/*</Path>\
                     <Path>/\u{e9}%20&#x20;x&#233;</Path></Items></Paths>";
        let reference = "<CallerReference>r&lt;1</CallerReference>";
        let expected = of("r<1", &["/a&b/*", "/\u{e9}%20 x\u{e9}"]);
        for body in [
            wrapped(&format!("{paths}{reference}")),
            wrapped(&format!("\n {reference}\n {paths}\n")),
            format!("{DECLARATION}<!-- by hand -->{}\n", wrapped(&format!("{paths}{reference}"))),
            format!("\u{feff}{}", wrapped(&format!("{paths}{reference}"))),
        ] {
            assert_eq!(Batch::parse(body.as_bytes(), MOST).as_ref(), Ok(&expected), "{body}");
        }
        let prefixed = "<c:InvalidationBatch xmlns:c=\"x\"><c:CallerReference><![CDATA[<r>]]>\
             </c:CallerReference><c:Paths><c:Quantity> 0 </c:Quantity><c:Items/></c:Paths>\
             </c:InvalidationBatch>";
        assert_eq!(Batch::parse(prefixed.as_bytes(), MOST), Ok(of("<r>", &[])));
    }

    #[test]
    fn what_is_no_batch_is_refused_with_why() {
        let reference = "<CallerReference>r</CallerReference>";
        let paths = "<Paths><Quantity>1</Quantity><Items><Path>/a</Path></Items></Paths>";
        let good = wrapped(&format!("{paths}{reference}"));
        for (body, part) in [
            (String::new(), "InvalidationBatch is missing"),
            ("{\"paths\": []}".into(), "text between"),
            ("<Invalidation/>".into(), "element \"Invalidation\" is not accepted"),
            (good[..good.len() - 3].into(), "InvalidationBatch"),
            (format!("{good}<InvalidationBatch/>"), "twice"),
            (format!("{good}x"), "text between"),
            (format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{good}"), "a document type"),
            (good.replace(">r<", ">&b;<"), "an entity"),
            (good.replace(">r<", ">&#0;<"), "InvalidationBatch"),
            (good.replace(">r<", ">&#xD800;<"), "InvalidationBatch"),
            (good.replace(">r<", "><b>r</b><"), "element \"b\" is not accepted"),
            (good.replace("</Path>", ""), "InvalidationBatch"),
            (wrapped(&format!("{paths}{reference}{reference}")), "Reference is there twice"),
            (wrapped(paths), "CallerReference is missing"),
            (wrapped(reference), "Quantity is missing"),
            (good.replace(">1<", ">2<"), "named: \"2\", counted: 1"),
            (good.replace(">1<", ">one<"), "named: \"one\""),
            (good.replace(">1<", ">-1<"), "named: \"-1\""),
            (good.replace("<Path>/a</Path>", &"<Path>/a</Path>".repeat(MOST + 1)), "TooMany"),
        ] {
            let why = refused(&body);
            assert!(why.contains(part), "{body}: {why}");
        }
        let bytes = Batch::parse(b"<InvalidationBatch>\xff", MOST);
        assert!(matches!(bytes, Err(Fault::Malformed(why)) if why.contains("UTF-8")));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let sent = of("r<&\">'", &["/a&b?c=<d>", "/\u{fffe}\u{7}"]);
        let document = Invalidation {
            id: "x-1",
            completed: false,
            created: "2026-11-21T20:15:00.042Z".into(),
            batch: Some(&sent),
        }
        .document();
        assert!(document.contains("<Id>x-1</Id><Status>InProgress</Status>"));
        let start = document.find("<InvalidationBatch>").unwrap();
        let end = document.find("</Invalidation>").unwrap();
        let again = Batch::parse(&document.as_bytes()[start..end], MOST).unwrap();
        assert_eq!(again, of("r<&\">'", &["/a&b?c=<d>", "/\u{fffd}\u{fffd}"]));
    }

    #[test]
    fn a_listing_says_where_to_go_on() {
        let told = |id| Invalidation { id, completed: true, created: "t".into(), batch: None };
        let whole = list("", 100, false, &[told("b"), told("a")]);
        assert!(whole.contains("<Marker></Marker><MaxItems>100</MaxItems>"));
        assert!(whole.contains("<IsTruncated>false</IsTruncated><Quantity>2</Quantity>"));
        assert!(whole.contains(
            "<InvalidationSummary><Id>b</Id><Status>Completed</Status>\
             <CreateTime>t</CreateTime></InvalidationSummary>"
        ));
        let part = list("x&", 1, true, &[told("b")]);
        assert!(part.contains("<Marker>x&amp;</Marker><NextMarker>b</NextMarker>"));
    }

    #[test]
    fn a_refusal_names_whose_fault_it_is() {
        let text = error(false, "InvalidArgument", "a<b");
        assert!(text.contains("<Type>Sender</Type><Code>InvalidArgument</Code>"));
        assert!(text.contains("<Message>a&lt;b</Message>"));
        assert!(error(true, "InternalFailure", "").contains("<Type>Receiver</Type>"));
    }
}
