//! The page: headers, caching, compression, and the `public` folder.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;

use crate::harness::web_server::{WebServer, start_web_server};

#[tokio::test]
async fn page_has_its_security_headers() {
    let server = start_web_server(|_| {}).await;
    for path in ["/", "/r/kitchen", "/r/%E5%8F%B0%E6%89%80", "/r/kitchen/", "/r/a?relay=1"] {
        let reply = server.get(path, &[]).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-cache");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
        let policy = reply.header("content-security-policy");
        for part in [
            "default-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "media-src 'self' blob:",
        ] {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe"));
        let permissions = reply.header("permissions-policy");
        assert!(permissions.contains("camera=(self), microphone=(self), display-capture=(self)"));
        assert_eq!(reply.header("strict-transport-security"), "", "not without a domain");
        assert!(reply.text().starts_with("<!doctype html>"));
    }
}

#[tokio::test]
async fn domain_sends_hsts() {
    let server = start_web_server(|config| config.domain = Some("box.example".into())).await;
    assert_eq!(server.get("/", &[]).await.header("strict-transport-security"), "max-age=31536000");
    let plain = server.request_plain("GET / HTTP/1.1", &["Host: box.example"]).await;
    assert_eq!(plain.header("strict-transport-security"), "", "RFC 6797 §7.2");
}

#[tokio::test]
async fn unknown_paths_return_404() {
    let server = start_web_server(|_| {}).await;
    for path in ["/tests", "/test.jso", "/nothing", "/r/", "/r/a/b", "/R/a", "/index.htm", "//", "/ws/x"] {
        let reply = server.get(path, &[]).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("There is nothing here."));
        assert!(!reply.header("content-security-policy").is_empty());
    }
    let post = server.request("POST / HTTP/1.1", &["Host: a", "Content-Length: 0"]).await;
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn no_path_escapes_the_public_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (public, outside) = (folder.path().join("public"), folder.path().join("secret.txt"));
    fs::create_dir_all(public.join("deep")).unwrap();
    fs::write(public.join("index.html"), "<!doctype html>mine").unwrap();
    fs::write(public.join("deep/a.js"), "export {}").unwrap();
    fs::write(public.join(".hidden"), "hidden").unwrap();
    fs::write(public.join("naïve plan.txt"), "a plan").unwrap();
    fs::write(&outside, "outside").unwrap();
    std::os::unix::fs::symlink(&outside, public.join("link.txt")).unwrap();
    let server = start_web_server(|config| config.public = Some(public)).await;
    assert_eq!(server.get("/", &[]).await.text(), "<!doctype html>mine");
    let script = server.get("/deep/a.js", &[]).await;
    assert_eq!((script.status, script.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert_eq!(server.get("/na%C3%AFve%20plan.txt", &[]).await.text(), "a plan");
    for path in [
        "/na%FFve%20plan.txt",
        "/%2ehidden",
        "/../secret.txt",
        "/deep/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/.%00./secret.txt",
        "//etc/passwd",
        "/link.txt",
        "/.hidden",
        "/deep",
        "/deep/",
        "/./index.html",
    ] {
        assert_eq!(server.get(path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn matching_etag_returns_304() {
    let server = start_web_server(|_| {}).await;
    let first = server.get("/", &[]).await;
    let etag = first.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
        let reply = server.get("/", &[&format!("If-None-Match: {known}")]).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
        assert_eq!(reply.header("etag"), etag);
    }
    let other = server.get("/", &["If-None-Match: \"other\""]).await;
    assert_eq!(other.status, 200);
    let compressed = server.get("/", &["Accept-Encoding: br", &format!("If-None-Match: {etag}")]).await;
    assert_eq!(compressed.status, 200, "each encoding has its own ETag");
}

#[tokio::test]
async fn page_is_compressed_by_accept_encoding() {
    let server = start_web_server(|_| {}).await;
    let plain = server.get("/", &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    let brotli = server.get("/", &["Accept-Encoding: gzip, deflate, br, zstd"]).await;
    assert_eq!(brotli.header("content-encoding"), "br");
    let mut decompressed = Vec::new();
    brotli::Decompressor::new(&*brotli.body, 4096).read_to_end(&mut decompressed).unwrap();
    assert_eq!(decompressed, plain.body);
    let gzip = server.get("/", &["Accept-Encoding: gzip, br;q=0"]).await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    decompressed.clear();
    flate2::read::GzDecoder::new(&*gzip.body).read_to_end(&mut decompressed).unwrap();
    assert_eq!(decompressed, plain.body);
    assert_ne!(brotli.header("etag"), gzip.header("etag"));
    let head = server.request("HEAD / HTTP/1.1", &["Host: a"]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
}

#[tokio::test]
async fn scripts_and_styles_are_served_without_comments() {
    let server = start_web_server(|_| {}).await;
    for path in ["/lib/qr-code.js", "/locales/zh.js", "/assets/style.css"] {
        let source = fs::read_to_string(format!("{}/public{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let served = server.get(path, &[]).await.text().to_owned();
        assert!(source.len() > served.len(), "{path}");
        for (number, (original, sent)) in source.lines().map(str::trim).zip(served.lines()).enumerate() {
            assert!(sent == original || sent.is_empty(), "{path}:{number}: {sent}");
            assert!(!sent.starts_with("//") && !sent.starts_with("/*"), "{path}:{number}: {sent}");
        }
        assert_eq!(source.lines().count(), served.lines().count(), "{path}: lines keep their numbers");
    }
}

#[tokio::test]
async fn service_worker_of_an_earlier_app_is_unregistered() {
    let public = tempfile::tempdir().unwrap();
    fs::write(public.path().join("index.html"), "<!doctype html>mine").unwrap();
    fs::write(public.path().join("sw.js"), "// custom").unwrap();
    let embedded = start_web_server(|_| {}).await;
    let folder = start_web_server(|config| config.public = Some(public.path().to_owned())).await;
    let headers = ["Service-Worker: script"];
    for (server, path) in
        [(&embedded, "/sw.js"), (&embedded, "/"), (&embedded, "/app/main.js"), (&folder, "/js/sw.js")]
    {
        let reply = server.get(path, &headers).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "text/javascript; charset=utf-8"));
        assert_eq!(
            (reply.header("cache-control"), reply.header("service-worker-allowed")),
            ("no-store", "/")
        );
        assert!(
            reply.text().contains("registration.unregister()") && reply.text().contains("navigate"),
            "{path}"
        );
    }
    assert_eq!(folder.get("/sw.js", &headers).await.text(), "// custom");
    assert_eq!(embedded.get("/sw.js", &[]).await.status, 404);
}

/// The path of the main script, as the page of `server` names it.
async fn script_path(server: &WebServer) -> String {
    let html = server.get("/", &[]).await.text().to_owned();
    let (_, script) = html.split_once("src=\"/v-").unwrap();
    format!("/v-{}", script.split('"').next().unwrap())
}

#[tokio::test]
async fn files_with_the_version_are_kept_for_good() {
    let server = start_web_server(|_| {}).await;
    let script = script_path(&server).await;
    let (version, name) = script[3..].split_once('/').unwrap();
    let current = server.get(&script, &["Accept-Encoding: br"]).await;
    assert_eq!((current.status, current.header("content-encoding")), (200, "br"));
    assert_eq!(current.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(current.header("vary"), "Accept-Encoding");
    let plain = server.get(&format!("/{name}"), &["Accept-Encoding: br"]).await;
    assert_eq!((plain.header("cache-control"), &plain.body), ("no-cache", &current.body));
    let earlier = server.get(&format!("/v-0123456789ab/{name}"), &["Accept-Encoding: br"]).await;
    assert_eq!((earlier.header("cache-control"), &earlier.body), ("no-cache", &current.body));
    for path in [
        format!("/v-{version}/"),
        format!("/v-{version}/index.html"),
        format!("/v-{version}/index.zh.html"),
        format!("/v-{version}/r/kitchen"),
        format!("/v-{version}/nothing.js"),
        format!("/v-{version}/v-{version}/{name}"),
        format!("/v-0123/{name}"),
    ] {
        let reply = server.get(&path, &[]).await;
        assert_eq!((reply.status, reply.header("cache-control")), (404, ""), "{path}");
    }
}

#[tokio::test]
async fn page_comes_in_the_language_of_the_browser() {
    let server = start_web_server(|_| {}).await;
    let mut etags = Vec::new();
    for (accepted, tag) in
        [("en-GB,en;q=0.9", "en"), ("fr, zh-CN;q=0.5", "zh-CN"), ("zh-TW, en", "zh-Hant"), ("fr", "en")]
    {
        for path in ["/", "/r/kitchen", "/test"] {
            let reply = server.get(path, &[&format!("Accept-Language: {accepted}")]).await;
            assert!(reply.text().contains(&format!("<html lang=\"{tag}\">")), "{path} {accepted}");
            assert!(reply.text().contains("<script type=\"application/json\" id=\"words\""), "{path}");
            let vary: Vec<&str> =
                reply.headers.iter().filter(|(name, _)| name == "vary").map(|(_, value)| &**value).collect();
            assert_eq!(vary, ["Accept-Encoding", "Accept-Language"]);
            etags.push((path, tag, reply.header("etag").to_owned()));
        }
    }
    let distinct: BTreeSet<_> =
        etags.iter().filter(|(path, ..)| *path == "/").map(|(.., etag)| etag).collect();
    assert_eq!(distinct.len(), 3, "each language has its own ETag");
    let known = format!("If-None-Match: {}", etags[0].2);
    assert_eq!(server.get("/", &[&known, "Accept-Language: en"]).await.status, 304);
    assert_eq!(server.get("/", &[&known, "Accept-Language: zh"]).await.status, 200);
}

#[tokio::test]
async fn folder_is_served_as_it_is() {
    let public = tempfile::tempdir().unwrap();
    fs::write(public.path().join("index.html"), "<!doctype html>mine").unwrap();
    fs::write(public.path().join("index.zh.html"), "<!doctype html>a file").unwrap();
    let server = start_web_server(|config| config.public = Some(public.path().to_owned())).await;
    let reply = server.get("/", &["Accept-Language: zh"]).await;
    assert_eq!((reply.text(), reply.header("vary")), ("<!doctype html>mine", "Accept-Encoding"));
    assert_eq!(server.get("/index.zh.html", &[]).await.text(), "<!doctype html>a file");
    assert_eq!(server.get("/v-0123456789ab/index.zh.html", &[]).await.status, 404);
}
