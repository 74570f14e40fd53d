//! The request fields that have let one client choose what a cache stores for the others.

/// Request fields that have poisoned caches because origins believe them and keys do not hold
/// them; weir sets them itself or removes them before the upstream sees them.
pub const POISONOUS: &[&str] = &[
    // The path, given a second time: frameworks route by it, while the key holds the real one.
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-envoy-original-path",
    // A path prefix: ends up in links, redirects and script addresses of the page.
    "x-forwarded-prefix",
    "x-script-name",
    // The host, given a second time: links, redirects and password mails are made from it. weir
    // sets X-Forwarded-Host and Forwarded from the host that is in the key.
    "x-forwarded-host",
    "x-forwarded-server",
    "x-original-host",
    "x-host",
    "x-http-host-override",
    "forwarded",
    // The port: ends up in absolute links and redirects, which then lead nowhere.
    "x-forwarded-port",
    // The scheme: "http" provokes a redirect to itself, which stored is an endless loop. weir sets
    // X-Forwarded-Proto.
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-url-scheme",
    "front-end-https",
    "cloudfront-forwarded-proto",
    // The method: a GET in the key that is a POST or a DELETE to the framework.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    // Who asks: pages, limits and access rules that depend on the address. weir sets
    // X-Forwarded-For and X-Real-IP from the connection or a trusted proxy.
    "x-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "client-ip",
    "true-client-ip",
    // CGI puts it into HTTP_PROXY: the origin's own requests then go through the attacker (httpoxy).
    "proxy",
    // Marks a framework's inner requests: skips its middleware, and with it the login.
    "x-middleware-subrequest",
    // Asks a framework for an empty prefetch answer under the URL of the real one.
    "x-middleware-prefetch",
    // A framework's word between its own processes: chooses status and page of the answer.
    "x-invoke-status",
    "x-invoke-path",
    "x-invoke-query",
    // Not here: X-Nextjs-Data. Browsers send it in earnest, and middleware redirects depend on it.
];
