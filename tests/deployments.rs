//! The files by which weir is deployed, held against the program: docker-compose.yml, systemd's units
//! and those for Kubernetes.

mod program;

use program::{Control, Folder, TextFile, Weir, run};
use serde_json::{Value, json};
use std::path::Path;
use weir_origin_sim::{Origin, reply};

const COMPOSE: &str = include_str!("../docker-compose.yml");
const CONTROL: &str = include_str!("../deploy/compose/control.toml");
const PARENT: &str = include_str!("../deploy/compose/parent.toml");
const EDGE: &str = include_str!("../deploy/compose/edge.toml");
const KUBERNETES: &str = "deploy/kubernetes/base/config";

/// The configuration of one of compose's containers, with what the engine would give it put in:
/// volumes, names of other containers, variables.
fn here(name: &str, text: &str, folder: &Folder, control: &str, parent: &str) -> TextFile {
    // The engine makes the directory of a volume.
    let volume = format!("{}/{name}", folder.path());
    std::fs::create_dir(&volume).expect("a directory");
    let text = text
        .replace("/var/lib/weir", &volume)
        .replace("/run/weir/tokens", &format!("{}/tokens", folder.path()))
        .replace("/run/weir/operator", &format!("{}/operator", folder.path()))
        .replace("http://control:9090", control)
        .replace("http://parent-eu:8080", parent)
        .replace("access = \"json\"", "access = \"off\"")
        .replace("[node]", &format!("[node]\nname = \"{name}\"\nregion = \"eu\"\nworkers = 1"));
    TextFile::new(&format!("compose-{name}.toml"), &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_compose_starts_makes_its_tokens_and_answers_through_both_tiers() {
    let origin = Origin::builder().route("/a", reply("hello").max_age(60)).start().await;
    let folder = Folder::new("compose");
    let control = Weir::control_at("127.0.0.1:0", &here("control", CONTROL, &folder, "", ""));
    let url = control.control();
    let serve =
        |config: &TextFile| Weir::serve(&["--config", config.path(), "--origin", &origin.url()]);
    let parent = serve(&here("parent-eu", PARENT, &folder, &url, ""));
    let near = format!("http://{}", parent.listen);
    let edge = serve(&here("edge-eu-west", EDGE, &folder, &url, &near));
    for node in [&parent, &edge] {
        node.until_ready();
        assert_eq!(node.run(&["healthcheck"]).status, Some(0));
    }
    assert_eq!((edge.get("/a").body.as_str(), edge.get("/a").status), ("hello", 200));
    assert_eq!(origin.fetches("/a"), 1);
    let missed = |weir: &Weir, token: &str, tier: &str| {
        let bearer = format!("Bearer {}", secret(&folder, token));
        let fields = [("Host", "weir"), ("Authorization", bearer.as_str())];
        let metrics = weir.call("GET /metrics", &fields, "").body;
        let line =
            format!("weir_requests_total{{site=\"default\",tier=\"{tier}\",cache=\"uri-miss\"}} 1");
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    };
    missed(&parent, "metrics", "parent");
    missed(&edge, "metrics", "edge");
    for name in ["parent-eu", "edge-eu-west"] {
        let spool = format!("{}/{name}/spool", folder.path());
        assert!(Path::new(&spool).is_dir(), "{spool}");
        let journal = format!("{}/{name}/disk/journal", folder.path());
        assert!(Path::new(&journal).is_file(), "{journal}");
    }

    // As within the container of control: no address and no token has to be given.
    let file = format!("{}/operator/operator", folder.path());
    let variables = [("WEIR_CONTROL", url.as_str()), ("WEIR_TOKEN_FILE", file.as_str())];
    let purged = run(&["purge", "/a", "--json"], &variables);
    assert_eq!(purged.status, Some(0), "{}", purged.err);
    let purged: Value = serde_json::from_str(&purged.out).expect("it is JSON");
    let told = |name| json!({"name": name, "state": "applied", "matched": 1});
    let nodes = purged["nodes"].as_array().expect("a list").iter();
    let nodes: Vec<_> = nodes
        .map(|node| {
            json!({"name": node["name"], "state": node["state"], "matched": node["matched"]})
        })
        .collect();
    assert_eq!(nodes, [told("edge-eu-west"), told("parent-eu")]);
    assert_eq!(edge.get("/a").status, 200);
    assert_eq!(origin.fetches("/a"), 2);

    // Each token can what it is for, and no more.
    let call = |token: &str, line: &str, body: &str| {
        let bearer = format!("Bearer {}", secret(&folder, token));
        let fields = [
            ("Host", "weir"),
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        control.call(line, &fields, body).status
    };
    let purge = r#"{"paths": ["/a"]}"#;
    assert_eq!(call("metrics", "POST /v1/purges", purge), 403);
    assert_eq!(call("node", "POST /v1/purges", purge), 403);
    assert_eq!(call("metrics", "GET /v1/nodes", ""), 403);
    assert_eq!(call("metrics", "GET /metrics", ""), 200);
    assert_eq!(call("node", "GET /v1/nodes", ""), 403);
    assert_eq!(control.json("GET /v1/nodes", "").status, 401);
}

/// The edges of compose, with what WEIR_VIA=parents sets for each of them; and those of Kubernetes.
#[test]
fn edges_follow_control_through_the_parents_of_compose_and_of_kubernetes() {
    let variable = "WEIR_CONTROL__VIA";
    assert!(COMPOSE.contains("\nx-via: &via \"${WEIR_VIA:-control}\"\n"));
    let edges = COMPOSE.lines().filter(|line| line.contains("WEIR_NODE__NAME: edge-"));
    let set = |line: &&str| line.ends_with(&format!(", {variable}: *via}}"));
    assert_eq!((edges.clone().count(), edges.filter(set).count()), (4, 4));
    let overlay = read("deploy/kubernetes/relays/kustomization.yaml");
    assert!(overlay.contains(&format!("value: {{ name: {variable}, value: parents }}")));

    let folder = Folder::new("compose-relays");
    let control = here("control-relays", CONTROL, &folder, "", "");
    let control = Weir::control_at("127.0.0.1:0", &control);
    let url = control.control();
    let config = here("parent-relays", PARENT, &folder, &url, "");
    let parent = Weir::serve(&["--config", config.path()]);
    parent.until_ready();
    let near = format!("http://{}", parent.listen);
    for (name, via) in [("edge-one", "parents"), ("edge-two", "control")] {
        let config = here(name, EDGE, &folder, &url, &near);
        let edge = Weir::serve_with(&["--config", config.path()], &[(variable, via)]);
        edge.until_ready();
        let operator = format!("Bearer {}", secret(&folder, "../operator/operator"));
        let fields = [("Host", "weir"), ("Authorization", operator.as_str())];
        let told = || control.call(&format!("GET /v1/nodes/{name}"), &fields, "").json();
        let expected = if via == "control" { Value::Null } else { json!("parent-relays") };
        let is_there = |told: &Value| told["state"] == "connected" && told["via"] == expected;
        program::until("control to see it there", told, is_there);
    }
}

/// An edge as Kubernetes runs it: its process crashes, then its pod is gone.
#[test]
fn a_process_of_a_pod_has_its_name_again_and_a_pod_that_is_gone_holds_up_no_purge() {
    let (folder, control) = (Folder::new("pods"), Control::with("pod-control", "lease = \"2s\""));
    let token = TextFile::new("node", program::NODE_TOKEN);
    let config = |name: &str| {
        // What the cluster would give it; the lease is shorter than a test's patience.
        let text = read(&format!("{KUBERNETES}/edge.toml"))
            .replace("/var/lib/weir", &format!("{}/{name}", folder.path()))
            .replace("/var/cache/weir", &format!("{}/{name}-spool", folder.path()))
            .replace("http://weir-control:9090", &control.url())
            .replace("/run/weir/tokens/node", token.path())
            .replace("secret_file = \"/run/weir/tokens/metrics\"", "secret = \"mmmmmmmmmmmmmmmm\"")
            .replace("[control]", "[control]\nlease = \"2s\"")
            .replace("[node]", &format!("[node]\nname = \"{name}\"\nworkers = 1"));
        TextFile::new("pod.toml", &text)
    };
    let (config, other) = (config("edge-a"), config("edge-b"));
    let serve = |config: &TextFile| Weir::serve(&["--config", config.path()]);
    let pod = serve(&config);
    pod.until_ready();
    pod.kill();
    let (pod, stays) = (serve(&config), serve(&other));
    pod.until_ready();
    stays.until_ready();
    pod.kill();
    let purge = control.purge(&json!({"all": true, "wait_ms": 0})).json();
    assert_eq!(purge["status"], "in_progress", "{purge}");
    let told = control.until_completed(&purge["id"]);
    assert_eq!(told["nodes"][0]["state"], "lease_over", "{told}");
    assert_eq!(told["nodes"][1]["state"], "applied", "{told}");
    let nodes = || control.call("GET /v1/nodes", "").json()["nodes"].clone();
    let nodes = program::until("one is left", nodes, |nodes| nodes.get(1).is_none());
    assert_eq!(nodes[0]["name"], "edge-b");
}

/// Each shipped node keeps its secret where it can write.
#[test]
fn every_node_keeps_its_secret_in_its_volume() {
    for config in ["deploy/compose/edge.toml", "deploy/compose/parent.toml"] {
        assert!(read(config).contains("\nstate = \"/var/lib/weir/state\"\n"), "{config}");
    }
    for config in ["edge.toml", "parent.toml"] {
        let config = read(&format!("{KUBERNETES}/{config}"));
        assert!(config.contains("\nstate = \"/var/lib/weir/state\"\n"), "{config}");
    }
    let unit = include_str!("../deploy/systemd/weir.service");
    assert!(unit.lines().any(|line| line == "Environment=WEIR_NODE__STATE=/var/lib/weir"));
}

fn secret(folder: &Folder, token: &str) -> String {
    let file = format!("{}/tokens/{token}", folder.path());
    std::fs::read_to_string(file).expect("control made it").trim_end().to_owned()
}

#[test]
fn edges_and_parents_of_compose_agree_on_sites_and_tokens() {
    let from = |text: &'static str, what: &str| text.split_once(what).expect(what).1;
    assert_eq!(from(EDGE, "[[site]]"), from(PARENT, "[[site]]"));
    for region in ["eu", "us"] {
        let url = format!("url = \"http://parent-{region}:8080\", region = \"{region}\"");
        assert!(EDGE.contains(&url), "{url}");
        let parent = format!("WEIR_NODE__NAME: parent-{region}, WEIR_NODE__REGION: {region}");
        assert!(COMPOSE.contains(&parent), "{parent}");
    }
}

#[test]
fn nobody_is_killed_while_a_node_drains() {
    for node in [EDGE, PARENT] {
        let drain = seconds_after(node, "drain = \"");
        assert!(seconds_after(COMPOSE, "stop_grace_period: ") > drain, "docker-compose.yml");
    }
    let sample = include_str!("../deploy/node.toml");
    let unit = include_str!("../deploy/systemd/weir.service");
    assert!(seconds_after(unit, "TimeoutStopSec=") > seconds_after(sample, "drain = \""));
    for (pod, config) in [("edge", "edge.toml"), ("parent", "parent.toml")] {
        let pod = read(&format!("deploy/kubernetes/base/{pod}.yaml"));
        let config = read(&format!("{KUBERNETES}/{config}"));
        let before = seconds_after(&pod, "sleep: { seconds: ");
        let grace = seconds_after(&pod, "terminationGracePeriodSeconds: ");
        assert!(grace > before + seconds_after(&config, "drain = \""));
    }
}

/// systemd follows an upgrade, and the sockets that it may hold are those of the configuration.
#[test]
fn systemd_knows_the_main_process_and_the_addresses() {
    for unit in ["weir.service", "weir-control.service"] {
        let unit = read(&format!("deploy/systemd/{unit}"));
        assert!(unit.contains("\nType=notify\nNotifyAccess=main\n"), "{unit}");
    }
    assert!(read("deploy/systemd/weir.service").contains("\nEnvironment=WEIR_NODE__STATE="));
    let sockets = read("deploy/systemd/weir.socket");
    let config = weir_config::Config::for_origin("http://127.0.0.1:9").expect("a configuration");
    for address in [config.node.listen, config.node.admin] {
        assert!(sockets.contains(&format!("\nListenStream={address}\n")), "{address}");
    }
}

/// What a node keeps for its next start, and what waits for slow clients, is in files.
#[test]
fn every_node_has_a_writable_place_of_its_own() {
    const STATE: &str = "/var/lib/weir";
    // Compose: a volume for each, which takes over the owner of the image's directory.
    let image = read("deploy/Dockerfile");
    assert!(image.contains(&format!("COPY --chown=65532:65532 dist/.gitkeep {STATE}/\n")));
    let (_, volumes) = COMPOSE.split_once("\nvolumes:\n").expect("volumes");
    let nodes = ["parent-eu", "parent-us", "edge-eu-west", "edge-eu-north", "edge-us-east"];
    for name in nodes.into_iter().chain(["edge-asia-se"]) {
        let (tier, _) = name.split_once('-').expect("a tier");
        let (_, service) = COMPOSE.split_once(&format!("\n  {name}:\n")).expect(name);
        let (service, _) = service.split_once("\n\n").expect("an end");
        let mounts = format!("volumes: [*{tier}-config, *tokens, \"{name}:{STATE}\"]");
        assert!(service.contains(&mounts), "{name}: {service}");
        assert!(volumes.lines().any(|line| line == format!("  {name}:")), "{volumes}");
    }
    for (tier, config) in [("edge", EDGE), ("parent", PARENT)] {
        for name in ["spool", "disk"] {
            let path = format!("\n[{name}]\n");
            let (_, table) = config.split_once(&path).expect("the table");
            let (_, path) = table.split_once("\npath = ").expect("its path");
            assert!(path.starts_with(&format!("\"{STATE}/{name}\"\n")), "{tier}: {path}");
        }
        // Kubernetes: what is mounted belongs to the node's group, and has room for the spool.
        let pod = read(&format!("deploy/kubernetes/base/{tier}.yaml"));
        let config = read(&format!("{KUBERNETES}/{tier}.toml"));
        for line in [
            "fsGroup: 65532",
            "- { name: state, mountPath: /var/lib/weir }",
            "- { name: spool, mountPath: /var/cache/weir }",
        ] {
            assert!(pod.lines().any(|found| found.trim() == line), "{tier}: {line}");
        }
        assert!(config.contains("\npath = \"/var/cache/weir\"\n"), "{tier}");
        let spool = config.split_once("[spool]").expect("a spool").1;
        let volume = pod.split_once("- name: spool\n").expect("its volume").1;
        let (volume, spool) = (size_after(volume, "sizeLimit: "), size_after(spool, "size = \""));
        assert!(volume > spool, "{tier}");
        assert!(size_after(&pod, "ephemeral-storage: ") >= volume, "{tier}");
    }
    // An edge's name is its pod's, a parent's is its own: what it keeps goes with it.
    assert!(
        read("deploy/kubernetes/base/edge.yaml").contains("- name: state\n          emptyDir: ")
    );
    let parent = read("deploy/kubernetes/base/parent.yaml");
    let claims = parent.split_once("volumeClaimTemplates:\n").expect("claims").1;
    assert!(claims.contains("- metadata: { name: state }"), "{claims}");
    let claim = claims.split_once("- metadata: { name: disk }\n").expect("a claim").1;
    assert!(parent.contains("\n            - { name: disk, mountPath: /var/cache/weir-disk }\n"));
    let config = read(&format!("{KUBERNETES}/parent.toml"));
    let disk = config.split_once("\n[disk]\n").expect("a disk").1;
    assert!(disk.contains("\npath = \"/var/cache/weir-disk\"\n"), "{disk}");
    assert!(size_after(claim, "storage: ") > size_after(disk, "\nsize = \""));
    // systemd: the unit makes both, and names the spool.
    let unit = include_str!("../deploy/systemd/weir.service");
    for line in [
        "StateDirectory=weir",
        "StateDirectoryMode=0700",
        "CacheDirectory=weir",
        "CacheDirectoryMode=0700",
        "Environment=WEIR_SPOOL__PATH=/var/cache/weir",
        "#Environment=WEIR_DISK__PATH=/var/cache/weir/disk",
        "#Environment=WEIR_DISK__SIZE=8GiB",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}

/// What docs/tuning.md has a node need beside memory.size and memory.connections: for the program, and for each
/// connection to an origin or a parent.
const PROGRAM: u64 = 64 << 20;
const UPSTREAM: u64 = 24 << 10;

#[test]
fn what_a_node_needs_fits_into_its_limit() {
    let tuning = read("docs/tuning.md");
    for row in [
        format!("| the program | {} MiB |", PROGRAM >> 20),
        format!(
            "| each connection to an origin or a parent, `limits.origin_connections` | {} KiB |",
            UPSTREAM >> 10
        ),
    ] {
        assert!(tuning.contains(&row), "docs/tuning.md: {row}");
    }
    let sample = include_str!("../deploy/node.toml");
    let kubernetes = |name: &str| read(&format!("{KUBERNETES}/{name}.toml"));
    let pod = |name: &str| read(&format!("deploy/kubernetes/base/{name}.yaml"));
    let unit = include_str!("../deploy/systemd/weir.service");
    let anchor = |name: &str| COMPOSE.split_once(name).expect(name).1.to_owned();
    for (place, config, limits, key) in [
        ("compose, edge", EDGE, anchor("\nx-edge:"), "mem_limit: "),
        ("compose, parent", PARENT, anchor("\nx-parent:"), "mem_limit: "),
        ("pod, edge", &kubernetes("edge"), pod("edge"), "limits: { memory: "),
        ("pod, parent", &kubernetes("parent"), pod("parent"), "limits: { memory: "),
        ("systemd", sample, unit.to_owned(), "MemoryMax="),
    ] {
        let limit = size_after(&limits, key);
        let needed = needed(config, sample, limit);
        assert!(limit >= needed, "{place}: {} MiB needed of {}", needed >> 20, limit >> 20);
        assert!(limit < needed + (1 << 30), "{place}: {} MiB are enough", needed >> 20);
    }
    // A pod that gets less than its limit is the first to be evicted.
    for name in ["edge", "parent"] {
        let pod = pod(name);
        let requests = pod.split_once("requests: { ").expect("requests").1;
        assert_eq!(size_after(requests, "memory: "), size_after(&pod, "limits: { memory: "));
    }
}

/// What a node with this configuration may need within this limit; `sample` has the defaults.
fn needed(config: &str, sample: &str, limit: u64) -> u64 {
    let line = |text: &str, key: &str| {
        let lines = text.lines().map(|line| line.trim_start_matches('#'));
        lines.into_iter().find(|line| line.starts_with(key)).map(|line| format!("{line}\n"))
    };
    let value = |key: &str| {
        let found = line(config, key).or_else(|| line(sample, key));
        size_after(&found.unwrap_or_else(|| panic!("no {key:?}")), key)
    };
    let parents = config.lines().filter(|line| {
        line.trim_start().starts_with("{ url = ") || line.trim_start().starts_with("\"http")
    });
    // Each of the files has one site with one origin.
    let upstreams = 1 + parents.count() as u64;
    let size = value("size = \"");
    let (_, memory) = config.split_once("\n[memory]\n").expect("[memory]");
    let memory = memory.split("\n[").next().unwrap_or_default();
    let connections = line(memory, "connections = \"")
        .map(|line| size_after(&line, "connections = \""))
        // The default: half of what is left.
        .unwrap_or((limit - size - PROGRAM) / 2);
    // disk.queue and disk.window with their defaults, and the index for responses of 16 KiB.
    let disk = config
        .split_once("\n[disk]\n")
        .map_or(0, |(_, disk)| (68 << 20) + size_after(disk, "\nsize = \"") / (16 << 10) * 40);
    size + connections + PROGRAM + disk + upstreams * value("origin_connections = ") * UPSTREAM
}

/// The number of bytes that stands after `what`, with whichever unit.
fn size_after(text: &str, what: &str) -> u64 {
    let number = u64::from(number_after(text, what));
    let (_, rest) = text.split_once(what).expect("found before");
    let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    match unit.chars().next() {
        Some('k' | 'K') => number << 10,
        Some('m' | 'M') => number << 20,
        Some('g' | 'G') => number << 30,
        _ => number,
    }
}

#[test]
fn every_configuration_is_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["deploy", "deploy/compose", KUBERNETES] {
        let files = std::fs::read_dir(root.join(folder)).expect(folder);
        let files: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
        let configs = files.iter().filter(|file| file.extension().is_some_and(|e| e == "toml"));
        let mut checked = 0;
        for config in configs {
            let text = std::fs::read_to_string(config).expect("it can be read");
            // A secret that the place itself gives is not here.
            let secret = TextFile::new("deployed-secret", "0123456789abcdef\n");
            let mut other = 0;
            let text: String = text
                .lines()
                .map(|line| match line.split_once("_file = ") {
                    Some((key, _)) => {
                        other += 1;
                        let file = format!("{}-{other}", secret.path());
                        std::fs::write(&file, format!("0123456789abcdef{other}")).expect("written");
                        format!("{key}_file = {file:?}\n")
                    }
                    None => format!("{line}\n"),
                })
                .collect();
            let copy = TextFile::new("deployed.toml", &text);
            // What differs from process to process is set where each is started.
            let shares_log = text.contains("log = \"etcd\"");
            let advertised = [("WEIR_CONTROL__ETCD__ADVERTISE", "http://control-1:9090")];
            let ran = run(&["check", copy.path()], if shares_log { &advertised } else { &[] });
            for n in 1..=other {
                std::fs::remove_file(format!("{}-{n}", secret.path())).expect("it was written");
            }
            assert_eq!(ran.status, Some(0), "{}: {}", config.display(), ran.err);
            checked += 1;
        }
        assert!(checked >= 2, "{folder}");
    }
}

/// What a compromised node could show: to join, and to read metrics.
#[test]
fn operators_tokens_are_controls_alone() {
    let pods = ["edge.toml", "parent.toml"].map(|name| read(&format!("{KUBERNETES}/{name}")));
    for config in [EDGE, PARENT].into_iter().chain(pods.iter().map(String::as_str)) {
        let files: Vec<_> = config.lines().filter(|line| line.contains("_file = ")).collect();
        let tokens = "/run/weir/tokens";
        let expected = [
            format!("token_file = \"{tokens}/node\""),
            format!("secret_file = \"{tokens}/metrics\""),
        ];
        assert_eq!(files, expected);
        assert!(
            config.contains("scopes = [\"metrics\"]") && !config.contains("operator"),
            "{config}"
        );
    }
    // Compose: the token's volume, file and variable are control's.
    let (before, services) = COMPOSE.split_once("\nservices:\n").expect("services");
    let (control, others) = services.split_once("\n  parent-eu:\n").expect("a parent");
    let (others, _) = others.split_once("\nvolumes:\n").expect("volumes");
    assert!(control.contains("/run/weir/operator\"") && control.contains("WEIR_TOKEN: "));
    // That of further processes of control is for them alone.
    let shared = before.split_once("\nx-shared-control:").expect("control that shares its log").1;
    let (shared, _) = shared.split_once("\n\n").expect("its end");
    assert!(!others.contains("*shared-control"), "{others}");
    let before = before.replace(shared, "");
    let anchors = before.lines().filter(|line| !line.starts_with('#'));
    for line in anchors.chain(others.lines()) {
        for part in ["/run/weir/operator", "WEIR_TOKEN:", "WEIR_TOKEN_FILE"] {
            assert!(!line.contains(part), "{line}");
        }
    }
    for pod in ["edge", "parent"] {
        let pod = read(&format!("deploy/kubernetes/base/{pod}.yaml"));
        let items = "items: [{ key: node, path: node }, { key: metrics, path: metrics }]";
        assert!(pod.contains(items) && !pod.contains("tokens/operator"), "{pod}");
    }
    // systemd: what is copied to nodes is named, and is not the operator's.
    let unit = include_str!("../deploy/systemd/weir.service");
    assert!(unit.contains("gets the token \"node\" and no operator's"));
}

#[test]
fn no_secret_stands_in_a_file_that_is_kept() {
    let configs = [CONTROL, EDGE, PARENT].map(str::to_owned);
    let pods = ["control.toml", "edge.toml", "parent.toml"];
    let pods = pods.map(|name| read(&format!("{KUBERNETES}/{name}")));
    for config in configs.iter().chain(&pods) {
        assert!(!config.contains("secret = ") && !config.contains("token = "), "{config}");
    }
    assert!(COMPOSE.contains("WEIR_TOKEN: \"${WEIR_TOKEN:-}\""));
}

/// A file of this repository.
fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The number of seconds that stands after `what`.
fn seconds_after(text: &str, what: &str) -> u32 {
    number_after(text, what)
}

fn number_after(text: &str, what: &str) -> u32 {
    let (_, rest) = text.split_once(what).unwrap_or_else(|| panic!("no {what:?}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number after {what:?}"))
}
