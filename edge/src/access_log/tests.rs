#![allow(clippy::unwrap_used)]

use super::writer::{Batch, Output};
use super::*;
use crate::source::Source;
use http::{HeaderValue, Request, StatusCode};
use serde_json::Value;
use std::fs;
use std::time::{Instant, SystemTime};
use weir_rules::outcome::{Handling, Outcome};
use weir_rules::trace_context::TraceContext;

/// A file for one test, removed after it.
struct LogFile(PathBuf);

impl LogFile {
    fn new(test: &str) -> LogFile {
        let name = format!("weir-access-log-{}-{test}", std::process::id());
        LogFile(std::env::temp_dir().join(name))
    }

    fn start(&self, form: weir_config::AccessLog, queue: usize) -> AccessLog {
        AccessLog::start(form, Some(self.0.clone()), queue).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap().lines().map(str::to_owned).collect()
    }

    fn objects(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn logged(target: &str) -> LoggedRequest {
    let request = Request::get(target)
        .header("Host", "example.com")
        .header("User-Agent", "curl/8")
        .body(())
        .unwrap();
    let trace = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let mut head = RequestHead::of(&request, "192.0.2.7:4711".parse().unwrap(), true, trace);
    head.time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_123);
    let mut record = RequestRecord::new(Instant::now());
    record.key_hash = Some(0xabc);
    record.outcome = Outcome {
        handling: Handling::UriMiss,
        fwd_status: Some(StatusCode::OK),
        ttl: Some(60),
        stored: true,
        ..Outcome::default()
    };
    record.source = Some(Arc::new(Source {
        pool: None,
        member: "http://10.0.1.1:8080".into(),
        is_parent: true,
        waited: Duration::from_micros(1500),
        cache_status: ["origin-cache; hit", "parent-eu; fwd=uri-miss; detail=\"a\""]
            .map(HeaderValue::from_static)
            .into(),
    }));
    record.bytes_out = 1024;
    record.first_byte = Duration::from_micros(1600);
    record.total = Duration::from_micros(2007);
    LoggedRequest { head, record, site: Some("shop".into()) }
}

#[test]
fn json_has_every_field_that_applies_and_leaves_out_the_others() {
    let file = LogFile::new("json");
    let log = file.start(weir_config::AccessLog::Json, 10);
    assert!(log.is_on());
    log.record(logged("/a?b"));
    drop(log);
    let written = serde_json::json!({
        "time": "2001-09-09T01:46:40.123Z", "peer": "192.0.2.7", "method": "GET",
        "host": "example.com", "target": "/a?b", "protocol": "HTTP/1.1", "status": 200,
        "bytes": 1024, "site": "shop", "cache": "uri-miss", "fwd_status": 200, "ttl": 60,
        "stored": true, "collapsed": false,
        "upstream": "http://10.0.1.1:8080", "upstream_tier": "parent",
        "tiers": ["origin-cache; hit", "parent-eu; fwd=uri-miss; detail=\"a\""],
        "upstream_ms": 1.5, "first_byte_ms": 1.6, "total_ms": 2.007, "user_agent": "curl/8",
        "key": "00000000000000000000000000000abc",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
    });
    assert_eq!(file.objects(), [written]);
}

#[test]
fn combined_is_the_usual_format() {
    let file = LogFile::new("combined");
    let log = file.start(weir_config::AccessLog::Combined, 10);
    log.record(logged("/a?b"));
    drop(log);
    let line = "192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] \"GET /a?b HTTP/1.1\" 200 1024 \
                \"-\" \"curl/8\"";
    assert_eq!(file.lines(), [line]);
}

#[test]
fn no_client_can_forge_a_line_or_a_member() {
    let attack = "x\"} \n{\"status\":500}\r\u{85}\u{2028}\x1b[31m\\\" 200\0\x7f";
    let forged = || {
        let mut logged = logged("/");
        logged.head.method = "GE\nT".into();
        logged.head.host = attack.into();
        logged.head.target = attack.into();
        logged.head.user_agent = Some(attack.as_bytes().into());
        logged.head.referer = Some(b"\xff\xfe\n\"".as_slice().into());
        logged.record.source = Some(Arc::new(Source {
            pool: None,
            member: "http://10.0.0.1".into(),
            is_parent: false,
            waited: Duration::ZERO,
            cache_status: [HeaderValue::from_bytes(b"a\"}\xff\x85").unwrap()].into(),
        }));
        logged
    };
    let file = LogFile::new("forged-json");
    let log = file.start(weir_config::AccessLog::Json, 10);
    log.record(forged());
    drop(log);
    let raw = fs::read_to_string(&file.0).unwrap();
    let controls = raw.chars().filter(|c| c.is_control() || *c == '\u{2028}').count();
    assert_eq!(controls, 1, "the end of the one line, in {raw:?}");
    let written = &file.objects()[0];
    assert_eq!(
        (&written["status"], &written["target"], &written["user_agent"]),
        (&200.into(), &attack.into(), &attack.into())
    );
    let tiers = serde_json::json!(["a\"}\u{fffd}\u{fffd}"]);
    assert_eq!((&written["referer"], &written["tiers"]), (&"\u{fffd}\u{fffd}\n\"".into(), &tiers));

    let file = LogFile::new("forged-combined");
    let log = file.start(weir_config::AccessLog::Combined, 10);
    log.record(forged());
    drop(log);
    let line = &file.lines()[0];
    assert_eq!(fs::read(&file.0).unwrap().len(), line.len() + 1, "one line");
    assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
    assert_eq!(line.matches('"').count(), 6, "{line}");
    assert!(line.contains(r#""GE\x0AT x\x22} \x0A{\x22status\x22:500}\x0D\xC2\x85"#), "{line}");
}

/// A log whose writer has not begun: what is queued stays queued.
fn idle(queue: usize) -> (AccessLog, LogQueue) {
    let (sender, receiver) = sync_channel(queue);
    let log = AccessLog { queue: Some(sender), status: Arc::default(), writer: Mutex::new(None) };
    (log, receiver)
}

#[test]
fn an_overflow_never_blocks_and_is_reported() {
    let file = LogFile::new("overflow");
    let (log, queue) = idle(3);
    for n in 0..10 {
        log.record(logged(&format!("/{n}")));
    }
    assert_eq!(log.dropped(), 7);
    let status = log.status.clone();
    drop(log);
    writer::run(&queue, &status, LogFormat::Json, Output::open(Some(file.0.clone())).unwrap());
    let written = file.objects();
    let targets: Vec<&Value> = written.iter().filter_map(|line| line.get("target")).collect();
    assert_eq!(targets, ["/0", "/1", "/2"]);
    let gaps: Vec<&Value> = written.iter().filter_map(|line| line.get("dropped_lines")).collect();
    assert_eq!(gaps, [7]);
}

#[test]
fn a_failing_write_is_counted_and_reported_later() {
    let file = LogFile::new("failing");
    fs::write(&file.0, "").unwrap();
    // Opened for reading only: every write fails.
    let unwritable = fs::File::open(&file.0).unwrap();
    let mut output = Output::File { file: unwritable, path: file.0.clone() };
    let status = LogStatus::default();
    let mut batch = Batch::new();
    for target in ["/lost", "/too"] {
        batch.take(LogMessage::Line(Box::new(logged(target))), LogFormat::Json);
    }
    assert!(!batch.write(&mut output, &status));
    assert_eq!(status.dropped.load(Ordering::Relaxed), 2);

    let (log, queue) = idle(3);
    log.status.dropped.store(2, Ordering::Relaxed);
    log.record(logged("/kept"));
    log.reopen();
    let status = log.status.clone();
    drop(log);
    writer::run(&queue, &status, LogFormat::Json, output);
    let written = file.objects();
    assert_eq!((&written[0]["target"], &written[1]["dropped_lines"]), (&"/kept".into(), &2.into()));
}

#[test]
fn a_rotated_file_is_reopened() {
    let (file, rotated) = (LogFile::new("rotate"), LogFile::new("rotated"));
    let (log, queue) = idle(10);
    let output = Output::open(Some(file.0.clone())).unwrap();
    let status = log.status.clone();
    fs::rename(&file.0, &rotated.0).unwrap();
    log.reopen();
    log.record(logged("/after"));
    drop(log);
    writer::run(&queue, &status, LogFormat::Json, output);
    assert_eq!(file.objects()[0]["target"], "/after");
    assert!(rotated.lines().is_empty());
}

#[test]
fn a_file_that_cannot_be_reopened_leaves_the_old_one() {
    let file = LogFile::new("gone");
    let folder = file.0.with_extension("folder");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("log");
    let (log, queue) = idle(10);
    let output = Output::open(Some(path.clone())).unwrap();
    fs::rename(&path, &file.0).unwrap();
    fs::remove_dir(&folder).unwrap();
    let status = log.status.clone();
    log.reopen();
    log.record(logged("/still"));
    drop(log);
    writer::run(&queue, &status, LogFormat::Json, output);
    assert_eq!(file.objects()[0]["target"], "/still");
}

#[test]
fn a_log_that_is_off_takes_nothing_and_an_error_names_its_path() {
    let log =
        AccessLog::start(weir_config::AccessLog::Off, Some("/does/not/exist".into()), 1).unwrap();
    assert!(!log.is_on());
    log.record(logged("/"));
    log.reopen();
    assert_eq!(log.dropped(), 0);
    let path = Some(PathBuf::from("/does/not/exist"));
    let error = AccessLog::start(weir_config::AccessLog::Json, path, 1).unwrap_err();
    assert!(error.to_string().contains("log.path /does/not/exist: "), "{error}");
}
