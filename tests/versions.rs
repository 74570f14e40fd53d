//! A node and control of different versions, as they meet while a topology is upgraded: one side is
//! the real program, the other says over its connection what that program does not know.

mod program;
use program::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// One end of the connection between a node and control.
struct Connection {
    reading: BufReader<TcpStream>,
    writing: TcpStream,
}

impl Connection {
    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound on reading");
        let writing = stream.try_clone().expect("a second handle");
        Self { reading: BufReader::new(stream), writing }
    }

    /// Control's end of the next connection of a node.
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().expect("a node");
        let mut connection = Self::over(stream);
        let head = connection.head();
        assert!(head.starts_with("GET /v1/follow HTTP/1.1"), "{head}");
        connection.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
             Upgrade: weir-log/1\r\n\r\n",
        );
        connection
    }

    /// A node's end of a connection to control.
    fn open(control: SocketAddr) -> Self {
        let mut connection = Self::over(TcpStream::connect(control).expect("control"));
        connection.write(
            "GET /v1/follow HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
             Upgrade: weir-log/1\r\n\r\n",
        );
        let head = connection.head();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        connection
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.reading.read_line(&mut head).expect("a line"), 0, "{head}");
        }
        head
    }

    fn write(&mut self, text: &str) {
        self.writing.write_all(text.as_bytes()).expect("it takes what is said");
    }

    fn say(&mut self, frame: Value) {
        self.write(&format!("{frame}\n"));
    }

    /// The next frame of this name; others are passed over.
    fn hear(&mut self, name: &str) -> Value {
        loop {
            let mut line = String::new();
            let read = self.reading.read_line(&mut line).expect("a line in time");
            assert_ne!(read, 0, "the connection ended before {name:?}");
            let frame: Value = serde_json::from_str(&line).expect("a line of JSON");
            if frame["frame"] == name {
                return frame;
            }
        }
    }

    /// Whatever else it says, until it closes the connection.
    fn until_closed(mut self) {
        let mut rest = String::new();
        self.reading.read_to_string(&mut rest).expect("it closes in time");
    }

    /// The answer to a question, or the error.
    fn answer(&mut self, ask: u64, what: Value) -> Result<Value, String> {
        self.say(json!({"frame": "ask", "ask": ask, "what": what}));
        let frame = self.hear("answer");
        assert_eq!(frame["ask"], ask);
        serde_json::from_value(frame["result"].clone()).expect("an answer or an error")
    }
}

#[test]
fn an_older_node_follows_a_newer_control() {
    let newer = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = newer.local_addr().expect("an address");
    let config = TextFile::new(
        "older-node",
        &format!(
            "[control]\nurl = \"http://{url}\"\nlease = \"60s\"\n\
             [[site]]\nid = \"shop\"\norigins = [\"http://127.0.0.1:9\"]\n"
        ),
    );
    let _node = Weir::begin_to_serve(&["--config", config.path()]);
    let mut control = Connection::accept(&newer);
    let hello = control.hear("hello");
    assert_eq!(hello["sites"], json!([{"id": "shop", "hosts": ["*"]}]));
    control.say(json!({
        "frame": "welcome", "log": "log", "member": "member", "after": 0, "mark": 0, "keep": false,
        "head": 0, "releases": [], "tier_key": "key", "lease_ms": 60_000, "weather": "fine",
    }));
    assert_eq!(control.hear("applied")["seq"], 0);

    control.say(json!({"frame": "weather", "seq": 1, "clouds": [{"frame": "entry"}]}));
    let unknown = control.answer(1, json!({"question": "weather", "town": "Oslo"}));
    let unknown = unknown.expect_err("it is not known");
    assert!(unknown.contains("cannot read this question"), "{unknown}");
    assert!(unknown.contains("unknown variant `weather`"), "{unknown}");
    let changed = control.answer(2, json!({"question": "explain", "urls": ["/a"]}));
    assert!(changed.expect_err("it has changed").contains("missing field `url`"));

    // The connection is the same, and the node goes on.
    let known = json!({"question": "stored_urls", "most": 1, "sites": [], "weather": "fine"});
    assert_eq!(control.answer(3, known), Ok(json!([])));
    control.say(json!({
        "frame": "entry", "seq": 1, "mark": 5, "change": {
            "change": "purge", "seq": 1, "targets": [{"kind": "all"}], "site": null,
            "soft": false, "versions": false, "weather": "fine",
        },
    }));
    assert_eq!(control.hear("applied")["seq"], 1);
    newer.set_nonblocking(true).expect("it need not wait");
    let again = newer.accept().expect_err("a second connection");
    assert_eq!(again.kind(), ErrorKind::WouldBlock);
}

/// What an entry says may not be passed over: it may be about what may be served.
#[test]
fn an_older_node_leaves_a_control_whose_entry_it_cannot_read() {
    let newer = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = newer.local_addr().expect("an address");
    let text = format!(
        "[control]\nurl = \"http://{url}\"\n\
         [[site]]\nid = \"shop\"\norigins = [\"http://127.0.0.1:9\"]\n"
    );
    let config = TextFile::new("older-node-entry", &text);
    let _node = Weir::begin_to_serve(&["--config", config.path()]);
    let mut control = Connection::accept(&newer);
    control.hear("hello");
    control.say(json!({
        "frame": "welcome", "log": "log", "member": "member", "after": 0, "mark": 0, "keep": false,
        "head": 0, "releases": [], "tier_key": "key", "lease_ms": 60_000,
    }));
    assert_eq!(control.hear("applied")["seq"], 0);
    control.say(json!({
        "frame": "entry", "seq": 1, "mark": 5, "change": {"change": "weather", "seq": 1},
    }));
    control.until_closed();
    // It comes back, and has not applied it.
    let standing = Connection::accept(&newer).hear("hello")["standing"].clone();
    assert_eq!(standing["applied"], 0, "{standing}");
}

#[test]
fn a_newer_node_follows_an_older_control() {
    let (data, config) = (Folder::new("versions"), "older-control");
    let config = TextFile::new(config, &format!("[control]\ndata = {:?}\n", data.path()));
    let control = Weir::control_at("127.0.0.1:0", &config);
    let mut node = Connection::open(control.admin);
    node.say(json!({
        "frame": "hello", "name": "newer", "tier": "edge", "region": "eu", "listen": "127.0.0.1:80",
        "instance": "i", "version": "99.0.0", "weather": "fine",
        "standing": {"log": null, "member": null, "applied": 0, "mark": 0},
    }));
    node.hear("welcome");

    node.say(json!({"frame": "weather", "seq": 7, "clouds": [{"frame": "leave"}]}));
    let purged = control.json("POST /v1/purges", r#"{"all": true, "wait_ms": 0}"#);
    assert_eq!(purged.status, 202, "{}", purged.body);
    let seq = node.hear("entry")["seq"].clone();
    node.say(json!({"frame": "weather"}));
    node.say(json!({"frame": "applied", "seq": seq, "weather": "fine"}));
    let path = format!("GET /v1/purges/{}", purged.json()["id"].as_str().expect("an id"));
    let purge = || control.json(&path, "").json();
    until("the purge is completed", purge, |purge| purge["status"] == "completed");
    // It does not report its sites, so it may have any.
    let any = control.json("POST /v1/purges", r#"{"all": true, "site": "any", "wait_ms": 0}"#);
    assert_eq!(any.status, 202, "{}", any.body);
    let known = control.json("GET /v1/nodes/newer", "").json();
    assert_eq!((&known["state"], &known["version"]), (&json!("connected"), &json!("99.0.0")));

    // What it tells of its disk store is read as far as it is known; an older node tells of none.
    let disk = || control.json("GET /v1/stats", "").json()["by_node"][0]["disk"].clone();
    node.say(json!({"frame": "alive", "disk": {"stored": 7, "set_aside": 1, "weather": "fine"}}));
    let told = until("its disk is told", disk, |disk| disk["stored"] == 7);
    assert_eq!((&told["set_aside"], &told["hits"]), (&json!(1), &json!(0)), "{told}");
    node.say(json!({"frame": "alive", "requests": 3}));
    until("there is none", disk, Value::is_null);

    // A node that cannot read a question says so, and stays.
    let at = control.admin;
    let asked = std::thread::spawn(move || {
        try_exchange(at, "GET /v1/popular", &[("Host", "localhost")], "").expect("an answer")
    });
    let ask = node.hear("ask")["ask"].clone();
    node.say(json!({"frame": "answer", "ask": ask, "result": {"Err": "cannot read this"}}));
    let asked = asked.join().expect("an answer");
    assert_eq!(
        (asked.status, &asked.json()["nodes"][0]["error"]),
        (200, &json!("cannot read this"))
    );
    assert_eq!(control.json("GET /v1/nodes/newer", "").json()["state"], "connected");
}
